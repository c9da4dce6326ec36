"""The script by which a shell completes command lines."""

import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from ivif.commands import completion
from ivif.commands.cli import main
from tests.inputs import brings
from tests.refusals import refused

TRY: Final = """
source {script}
COMP_WORDS=({line}); COMP_CWORD={last}; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}
_shtab_ivif ivif "${{COMP_WORDS[{last}]}}" ""
echo "${{COMPREPLY[@]}}"
"""


@brings("options", "`ivif --print_completion bash` without shtab", "refused", "the package to install is said")
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(completion, "find_spec", lambda _: None)
    refused(["--print_completion", "bash"], capsys, "is not installed: pip install shtab")


@pytest.mark.skipif(find_spec("shtab") is None, reason="shtab is not installed")
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@brings("options", "`ivif --print_completion bash`", "works", "commands, options and those of methods are completed")
def test_bash_completes_commands_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["--print_completion", "nosh"], capsys, "there is no script for this shell")
    with pytest.raises(SystemExit, match="0"):
        main(["--print_completion", "bash"])
    script = tmp_path / "ivif.sh"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    for words, completed in (
        (["ivif", "re"], ["report"]),
        (["ivif", "fit", "--trainer.max_s"], ["--trainer.max_steps"]),
        (["ivif", "test", "--model.loss.int"], ["--model.loss.intensity"]),
        (["ivif", "data", "man"], ["manifests"]),
    ):
        line = TRY.format(script=shlex.quote(str(script)), line=" ".join(words), last=len(words) - 1)
        found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert found.stdout.split() == completed
