"""Every command line that the pages show is one that the program takes, in the form that is the documented one."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from ivif.callbacks.run_record import RECORD_KEY
from ivif.commands.data.command import _parser as data_parser
from ivif.commands.demo.command import _parser as demo_parser
from ivif.commands.export import _parser as export_parser
from ivif.commands.fuse import _parser as fuse_parser
from ivif.commands.merge import _parser as merge_parser
from ivif.commands.models.command import _parser as models_parser
from ivif.commands.parsing.command_line import CommandLine, rewrite
from ivif.commands.report.command import _parser as report_parser
from ivif.commands.study.command import _parser as study_parser
from ivif.commands.train.lightning_cli import SuiteCLI
from ivif.configs import CONFIGS
from tests.inputs import ROOT, brings
from tests.test_docs import PAGES

LONG: Final = re.compile(r"--(?:model|data)\.init_args\b")
SHOWN: Final = ("*.md", "docs/*.md", "*/README.md", "*/*/README.md", "notebooks/*.ipynb", "configs/**/*.yaml")
CODE: Final = ("commands", "callbacks", "datamodules", "lightning_modules", "models", "losses", "metrics", "scripts")
FOLLOWED: Final = ("fit", "validate", "test", "predict", "data", "report", "fuse", "demo", "export", "models", "study")
_PLAIN: Final = {
    "fuse": fuse_parser,
    "demo": demo_parser,
    "export": export_parser,
    "models": models_parser,
    "study": study_parser,
}
_LINE: Final = re.compile(rf"(?:main\.py|ivif) +((?:{'|'.join(FOLLOWED)}) (?:[^\n`#]|\\\n)+)")
_LEFT_OUT: Final = re.compile(r"\.\.\.|my_methods|\[--|<|^data prompts(?!.*--data)")
"""Lines of which a part is left out, or that name a package of the reader's own."""


def _lines(page: Path) -> Iterator[str]:
    for found in _LINE.findall(page.read_text(encoding="utf-8").replace("\\\n", " ")):
        line = re.sub(r"(\s|\\n|\")+$", "", found.replace("\\n", " ")).split("  #")[0]
        if not _LEFT_OUT.search(re.sub(r'"[^"]*"', "", line)) and line.count('"') % 2 == 0:
            yield line


LINES: Final = sorted({(str(page.relative_to(ROOT)), line) for page in PAGES for line in _lines(page)})


class _BuiltError(Exception):
    def __init__(self, parser: Any) -> None:
        self.parser = parser


@cache
def _parser(command: str) -> Any:
    """The parser of one of Lightning's commands, of which nothing else is built."""

    def stop(_: Any, parser: Any, args: Any) -> None:
        raise _BuiltError(parser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SuiteCLI, "parse_arguments", stop)
        with pytest.raises(_BuiltError) as built:
            SuiteCLI.from_arguments(CommandLine([command]))
    return built.value.parser


def _run(folder: Path, method: str) -> Path:
    """The folder of a run of a method, with what a command line reads of it."""
    (folder / "checkpoints").mkdir()
    config = (CONFIGS / f"{method}.yaml").read_text(encoding="utf-8")
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    torch.save({RECORD_KEY: {"config": config}}, folder / "checkpoints" / "last.ckpt")
    return folder


def test_there_are_lines_of_every_command() -> None:
    assert {line.split()[0] for _, line in LINES} >= {"fit", "test", "predict", "data", "report"}
    assert len(LINES) > 25


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_documented_line_is_taken(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = _run(tmp_path, "promptfusion" if "promptfusion" in page else "mgfusion")
    place = shlex.quote(str(run))
    text = line.replace("RUN_FOLDER", place).replace("CKPT", f"{place}/checkpoints/last.ckpt")
    text = re.sub(r"\bRUN/", lambda _: f"{place}/", text.replace("download NAME", "download roadscene"))
    words = shlex.split(text)
    parser: Any
    if words[0] == "data":
        parser, words = data_parser(reads=True), rewrite(words[1:]).arguments
    elif words[0] == "report":
        parser, words = report_parser(reads="--data" in words), rewrite(words[1:]).arguments
    elif words[:2] == ["predict", "merge"]:
        parser, words = merge_parser(reads=True), rewrite(words[2:]).arguments
    elif words[0] in _PLAIN:
        parser, words = _PLAIN[words[0]](reads=True), rewrite(words[1:]).arguments
    else:
        parser, words = _parser(words[0]), rewrite(words).arguments
    parser.parse_args(words)


@brings("options", "any command line of these pages", "works", "a test parses each")
@pytest.mark.parametrize("pattern", SHOWN)
def test_no_page_advises_a_long_form(pattern: str) -> None:
    found = {
        str(path.relative_to(ROOT)): LONG.findall(path.read_text(encoding="utf-8"))
        for path in ROOT.glob(pattern)
        if path.name != "inputs.md" and not path.is_relative_to(ROOT / "tests")
    }
    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize("room", CODE)
def test_no_message_advises_a_long_form(room: str) -> None:
    parsing = ROOT / "commands" / "parsing"  # which takes the long form too
    files = [path for end in ("py", "sh", "sbatch") for path in (ROOT / room).rglob(f"*.{end}")]
    found = {str(path.relative_to(ROOT)): LONG.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {path: words for path, words in found.items() if words and not (ROOT / path).is_relative_to(parsing)} == {}
