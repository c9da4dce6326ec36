"""Files that name classes: a stranger's class is refused before anything of it is imported, wherever it is named."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import torch

from ivif.commands.cli import main
from ivif.contracts.class_paths import PLUGINS_VARIABLE, allowed_class_path, plugins
from ivif.lightning_modules.detection_sources import FusionCheckpointError, load_fusion
from tests.commands.runs import SCENES, newest_run, tiny_run
from tests.refusals import accepted, refused

FIT: Final = ("fit", "--config=mgfusion.yaml", *SCENES, "--model.init_args.clip=random-tiny")
NOTES: Final = "data.M3FD.notes"
"""A Python file in a dataset's folder, which lies where Python looks for modules."""

_POPEN: Final = "{class_path: subprocess.Popen, init_args: {args: [touch, EXECUTED]}}"
_DDP: Final = "lightning.pytorch.strategies.DDPStrategy"


def _ddp(argument: str, value: str) -> str:
    return f"trainer: {{strategy: {{class_path: {_DDP}, init_args: {{{argument}: {value}}}}}}}\n"


CONFIGS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "a program for an argument of any type": (_ddp("ddp_comm_state", _POPEN), ("subprocess.Popen",)),
    "one in a list": (_ddp("ddp_comm_state", f"[[{_POPEN}]]"), ("subprocess.Popen",)),
    "one in a mapping": (_ddp("ddp_comm_state", f"{{a: {_POPEN}}}"), ("subprocess.Popen",)),
    "a function": (_ddp("ddp_comm_hook", "os.system"), ("os.system",)),
    "a function behind a module of ours": (
        _ddp("ddp_comm_hook", "ivif.commands.cli.shlex.join"),
        ("ivif.commands.cli.shlex",),
    ),
    "one behind a package of ours": (_ddp("ddp_comm_hook", "ivif.callbacks.wandb_run.os.system"), ("system", "Python")),
    "a function of ours": (
        _ddp("ddp_comm_hook", "ivif.callbacks.images.save_atomically"),
        ("strategy", "ivif.callbacks.images.save_atomically", "function"),
    ),
    "a callback that calls functions": (
        "trainer: {callbacks: [{class_path: LambdaCallback, init_args: {on_fit_start: os.system}}]}\n",
        ("callback class of your own",),
    ),
    "the same by its path": (
        "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.lambda_function.LambdaCallback}]}\n",
        ("callback class of your own",),
    ),
    "a method": (f"model: {{class_path: {NOTES}.Task}}\n", (f"{NOTES}.Task", f"{PLUGINS_VARIABLE}={NOTES}")),
    "a method by its name alone": (f"model: {NOTES}.Task\n", (f"{NOTES}.Task", f"{PLUGINS_VARIABLE}={NOTES}")),
    "data": (f"data: {{class_path: {NOTES}.Task}}\n", (f"{PLUGINS_VARIABLE}={NOTES}",)),
    "a callback": (f"trainer: {{callbacks: [{{class_path: {NOTES}.Task}}]}}\n", (f"{PLUGINS_VARIABLE}={NOTES}",)),
    "a callback by its name alone": (f"trainer: {{callbacks: [{NOTES}.Task]}}\n", (f"{PLUGINS_VARIABLE}={NOTES}",)),
    "a plugin": (f"trainer: {{plugins: [{{class_path: {NOTES}.Task}}]}}\n", (f"{PLUGINS_VARIABLE}={NOTES}",)),
    "a profiler": (f"trainer: {{profiler: {{class_path: {NOTES}.Task}}}}\n", (f"{PLUGINS_VARIABLE}={NOTES}",)),
    "a logger": (f"trainer: {{logger: {{class_path: {NOTES}.Task}}}}\n", (f"{PLUGINS_VARIABLE}={NOTES}",)),
    "the parser itself": ("model: {class_path: jsonargparse.set_parsing_settings}\n", ("part of Python",)),
    "W&B's own logger": (
        "trainer: {logger: {class_path: lightning.pytorch.loggers.WandbLogger}}\n",
        ("another host", "--wandb online"),
    ),
    "MLflow's": (
        "trainer: {logger: [{class_path: MLFlowLogger, init_args: {tracking_uri: 'http://127.0.0.1:1'}}]}\n",
        ("another host",),
    ),
}
"""Name -> content of a configuration, and what the message must say."""


@pytest.fixture(autouse=True)
def dataset(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A dataset with a Python file in it, and the folder above it among those that modules are looked for in."""
    folder = place / "data" / "M3FD"
    folder.mkdir(parents=True)
    code = "from pathlib import Path\n\nPath('EXECUTED').touch()\n\n\nclass Task:\n    pass\n"
    (folder / "notes.py").write_text(code)
    monkeypatch.syspath_prepend(place)
    yield
    assert not (place / "EXECUTED").exists(), "code was run"
    assert NOTES not in sys.modules


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_name_no_strangers_class(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, words = CONFIGS[name]
    (place / "given.yaml").write_text(content)
    refused([*FIT, "--trainer.fast_dev_run=1", "--config=given.yaml"], capsys, *words)


@pytest.mark.parametrize("end", ["--print_config", "--trainer.fast_dev_run=1"])
@pytest.mark.parametrize("form", ["config", "data", "model", "logger", "option", "class_path", "help"])
def test_every_way_to_the_parser_is_the_same(
    form: str, end: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "whole.yaml").write_text(f"model: {{class_path: {NOTES}.Task}}\n")
    (place / "part.yaml").write_text(f"class_path: {NOTES}.Task\n")
    (place / "list.yaml").write_text(f"- class_path: {NOTES}.Task\n")
    (place / "above.yaml").write_text("data: part.yaml\n")
    given = {
        "config": "--config=above.yaml",
        "data": "--data=part.yaml",
        "model": "--model=part.yaml",
        "logger": "--trainer.logger=list.yaml",
        "option": f"--model={NOTES}.Task",
        "class_path": f"--model.class_path={NOTES}.Task",
        "help": f"--model.help={NOTES}.Task",
    }
    refused([*FIT, given[form], end], capsys, f"{NOTES}.Task", f"{PLUGINS_VARIABLE}={NOTES}")


def test_other_commands_are_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "part.yaml").write_text(f"class_path: {NOTES}.Task\n")
    for command in ("validate", "test", "predict", "data check"):
        refused([*command.split(), "--data=part.yaml"], capsys, f"{PLUGINS_VARIABLE}={NOTES}")


def test_run_folders_are_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = place / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "last.ckpt").touch()
    (run / "config.yaml").write_text(_ddp("ddp_comm_state", _POPEN))
    for arguments in (["fit", "--resume=run"], ["test", "--config=run/config.yaml", "--allow_random_weights"]):
        refused(arguments, capsys, "subprocess.Popen")


def test_a_package_that_the_user_names_trains_resumes_and_fuses(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "foreign_methods").mkdir()
    (place / "foreign_methods" / "own.py").write_text(
        "from ivif.lightning_modules.mgfusion import MGFusionTask\n\n\nclass OwnTask(MGFusionTask):\n    pass\n"
    )
    line = tiny_run("fit", place / "runs", "--model=foreign_methods.own.OwnTask", "--images.images_per_dataset=0")
    refused(line, capsys, f"{PLUGINS_VARIABLE}=foreign_methods.own")
    monkeypatch.setenv(PLUGINS_VARIABLE, "another_one,foreign_methods")
    accepted(line, capsys)
    run = newest_run(place / "runs")
    accepted(["fit", f"--resume={run}", "--trainer.max_epochs=2"], capsys)
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert type(load_fusion(checkpoint)[0]).__name__ == "OwnTask"
    monkeypatch.delenv(PLUGINS_VARIABLE)
    with pytest.raises(FusionCheckpointError, match=rf"{PLUGINS_VARIABLE}=foreign_methods\.own$"):
        load_fusion(checkpoint)


@pytest.mark.parametrize("name", [f"{NOTES}.Task", "subprocess.Popen", "lightning.pytorch.callbacks.LambdaCallback"])
def test_checkpoints_name_no_strangers_class(name: str, place: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": {}, "task": name}, place / "given.ckpt")
    with pytest.raises(FusionCheckpointError, match=name):
        load_fusion(place / "given.ckpt")


@pytest.mark.parametrize("named", ["subprocess", "os.path", "jsonargparse", "a-b", "../x", "builtins.eval"])
def test_not_everything_can_be_allowed(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS_VARIABLE, named)
    with pytest.raises(ValueError, match=rf"{PLUGINS_VARIABLE} has '{named}'"):
        plugins()
    assert main([*FIT, "--print_config"]) == 1


def test_an_installed_package_allows_itself_and_no_part_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivif.contracts.class_paths.packages", lambda: ("tiny_fusion", "subprocess", "jsonargparse"))
    assert allowed_class_path("tiny_fusion.task.TinyTask")
    assert not any(map(allowed_class_path, ("subprocess.Popen", "jsonargparse.set_parsing_settings", "tiny_fusion2.A")))


def test_the_most_specific_entry_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS_VARIABLE, "one.two:three, lightning.pytorch.loggers.mlflow")
    named = ("one.two.Task", "three.Task", "lightning.pytorch.callbacks.EarlyStopping", _DDP)
    assert all(allowed_class_path(path) for path in named)
    assert allowed_class_path("lightning.pytorch.loggers.mlflow.MLFlowLogger")
    beside = ("one.Task", "one.twofold.Task", "threefold.Task", "models2.A", "lightning.pytorch.loggers.MLFlowLogger")
    others = ("ivif.commands.cli.main", "torch.load", "lightning.Trainer", "Task", "")
    assert not any(allowed_class_path(path) for path in (*beside, *others))
