"""What files ask for and only a command line or the environment can allow: uploads, trust, places of files."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from jsonargparse import Namespace

from ivif.commands.errors import UsageError
from ivif.commands.train.consents import mode_of_a_file, settle_consents
from ivif.files.trusted_archives import TRUST_VARIABLE, is_trusted
from tests.commands.runs import SCENES
from tests.refusals import refused

REPOSITORY: Final = Path(__file__).resolve().parents[2]
FIT: Final = ("fit", "--config=mgfusion.yaml", *SCENES)
_space: Any = Namespace  # its constructor has no types


def _config(wandb: str | None = None, **trainer: Any) -> Any:
    clip = _space(weights="archive.pt", trust_archive=True)
    model = _space(class_path="x.Task", init_args=_space(clip=clip))
    return _space(wandb=wandb, model=model, trainer=_space(**trainer))


@pytest.mark.parametrize(
    ("arguments", "variable", "mode"),
    [
        ((), None, "offline"),
        (("--wandb=online",), None, "online"),
        (("--wandb", "online"), None, "online"),
        (("--wandb=online", "--wandb=offline"), None, "offline"),
        (("--config=--wandb=online",), None, "offline"),
        (("--wandb_project=online",), None, "offline"),
        ((), "online", "online"),
        ((), "offline", "offline"),
    ],
)
def test_a_file_does_not_switch_uploads_on(
    arguments: tuple[str, ...], variable: str | None, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", variable) if variable else monkeypatch.delenv("WANDB_MODE")
    config = _config("online")
    settle_consents(["fit", *arguments], config)
    assert config.wandb == mode


def test_it_says_how_to_switch_them_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert mode_of_a_file("online") == "offline"
    assert "--wandb online" in capsys.readouterr().err
    assert [mode_of_a_file(mode) for mode in ("offline", "disabled", None)] == ["offline", "disabled", None]
    assert capsys.readouterr().err == ""


_SETTINGS: Final = """
import sys
from pathlib import Path
from ivif.callbacks.wandb_run import WandbRun
logger = WandbRun()
logger.place(Path("runs/method/run"), "fit")
run = logger.experiment
import wandb
print("FOUND", wandb.setup().settings.base_url, run.settings.base_url, run.settings.entity, run.settings.root_dir)
logger.finalize("success")
"""


@pytest.mark.parametrize("folder", ["wandb", pytest.param(".wandb", marks=pytest.mark.slow)])
def test_settings_of_the_working_folder_are_not_read(folder: str, place: Path) -> None:
    for where in (place, place / "runs/method/run"):
        (where / folder).mkdir(parents=True)
        (where / folder / "settings").write_text("[default]\nbase_url = http://127.0.0.1:9\nentity = stranger\n")
    done = subprocess.run(
        [sys.executable, "-c", _SETTINGS],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "WANDB_CONFIG_DIR": str(place / "own")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (found,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    assert "127.0.0.1" not in found, done.stderr
    assert "stranger" not in found
    assert found.endswith("runs/method/run")


@pytest.mark.parametrize(
    ("arguments", "trusted"),
    [
        ((), False),
        (("--config=trust_archive.yaml",), False),
        (("--model=trust_archive.yaml",), False),
        (("--model.init_args.clip=trust_archive.yaml",), False),
        (("--model.init_args.clip.trust_archive=true",), True),
        (("--model.clip.trust_archive", "true"), True),
        (("--model.init_args.clip={weights: archive.pt, trust_archive: true}",), True),
    ],
)
def test_only_the_command_line_vouches_for_an_archive(arguments: tuple[str, ...], trusted: bool, place: Path) -> None:
    (place / "trust_archive.yaml").touch()
    settle_consents(["fit", *arguments], _config())
    assert is_trusted(place / "archive.pt") is trusted
    assert not is_trusted(place / "another.pt")
    assert (TRUST_VARIABLE in os.environ) is trusted


def test_configurations_and_checkpoints_do_not_open_archives(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save("archive.pt")  # type: ignore[no-untyped-call]
    clip = {"architecture": "tiny", "pretrained": "openai", "weights": "archive.pt", "trust_archive": True}
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: (place / "EXECUTED").touch())
    (place / "given.yaml").write_text(f"model: {{init_args: {{clip: {clip}}}}}\n")
    line = [*FIT, "--config=given.yaml", "--trainer.fast_dev_run=1"]
    refused(line, capsys, "archive.pt is a TorchScript archive", f"{TRUST_VARIABLE}='archive.pt'")

    task = "ivif.lightning_modules.mgfusion.MGFusionTask"
    torch.save({"state_dict": {}, "hyper_parameters": {"clip": clip}, "task": task}, "given.ckpt")
    source = ["--model.init_args.source.kind=checkpoint", "--model.init_args.source.checkpoint=given.ckpt"]
    line = ["fit", "--config=detection.yaml", *SCENES, *source, "--trainer.fast_dev_run=1"]
    refused(line, capsys, "archive.pt is a TorchScript archive")
    assert not (place / "EXECUTED").exists()


PLACES: Final[dict[str, dict[str, Any]]] = {
    "a server": {"callbacks": [_space(init_args=_space(dirpath="ftp://127.0.0.1/x"))]},
    "a chain of file systems": {"logger": _space(init_args=_space(save_dir="simplecache::ftp://127.0.0.1/x"))},
    "an absolute folder": {"profiler": _space(init_args=_space(dirpath="/elsewhere"))},
    "the user's folder": {"profiler": _space(init_args=_space(dirpath="~/elsewhere"))},
    "the folder above": {"logger": [_space(init_args=_space(save_dir="logs", name="../../elsewhere"))]},
    "a path": {"plugins": [{"init_args": {"deep": [Path("/elsewhere")]}}]},
    "a registry": {"model_registry": "someone/project"},
}


@pytest.mark.parametrize("name", PLACES)
def test_files_have_nothing_written_elsewhere(name: str) -> None:
    with pytest.raises(UsageError, match=r"^trainer\.\w+.*command line"):
        settle_consents(["fit", "--config=/elsewhere/~/elsewhere/x.yaml"], _config(**PLACES[name]))


def test_the_command_line_may(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profiler = _space(init_args=_space(dirpath="/elsewhere"))
    settle_consents(["fit", "--trainer.profiler.init_args.dirpath=/elsewhere"], _config(profiler=profiler))
    settle_consents(["fit", "--trainer.profiler.init_args.dirpath", "/elsewhere"], _config(profiler=profiler))
    settle_consents(["fit"], _config(logger=_space(init_args=_space(save_dir="logs")), default_root_dir="/x"))
    settle_consents(["fit"], _config(strategy=_space(init_args=_space(nvme_path="/local_nvme"))))
    (place / "given.yaml").write_text(
        "trainer: {profiler: {class_path: SimpleProfiler, init_args: {dirpath: /nowhere, filename: x}}}\n"
    )
    refused([*FIT, "--config=given.yaml"], capsys, "--trainer.profiler.init_args.dirpath=/nowhere")
