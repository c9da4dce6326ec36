"""A command that is refused leaves every file as it was, and makes none."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import torch
import yaml

from ivif.commands.cli import main
from ivif.lightning_modules.mgfusion import MGFusionTask
from tests.commands.runs import newest_run, tiny_run
from tests.disks import full_disk
from tests.fakes import write_tno
from tests.inputs import brings
from tests.refusals import accepted, refused, whole

Prepare = Callable[[Path, pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one training, whose log goes on beyond its checkpoint."""
    runs = tmp_path_factory.mktemp("runs")
    assert main(tiny_run("fit", runs)) == 0
    log = newest_run(runs) / "metrics.csv"
    header, *rows = log.read_text(encoding="utf-8").splitlines()
    later = dict.fromkeys(header.split(","), "") | {"step": "7"}
    log.write_text("\n".join([header, *rows, ",".join(later.values()), ""]), encoding="utf-8")
    return runs


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, times included."""
    shutil.copytree(trained, tmp_path / "runs", symlinks=True)
    return newest_run(tmp_path / "runs")


def _nothing(run: Path, patch: pytest.MonkeyPatch) -> None:
    """The option alone is at fault."""


def _no_memory(run: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("ivif.callbacks.memory_guard.free_memory", lambda _: 1)
    patch.setattr("ivif.callbacks.memory_guard.remedies", lambda *_: "Lower it.")  # which takes seconds to find


def _disk_is_full(run: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("os.fsync", full_disk)


def _no_room_for_a_claim(run: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("os.pwrite", lambda descriptor, *_: full_disk(descriptor))


def _half_a_checkpoint(run: Path, patch: pytest.MonkeyPatch) -> None:
    path = run / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])


def _no_checkpoint(run: Path, patch: pytest.MonkeyPatch) -> None:
    (run / "checkpoints" / "last.ckpt").unlink()


def _in_use(run: Path, patch: pytest.MonkeyPatch) -> None:
    (run / ".lock").write_text('{"host": "elsewhere", "pid": 1}')


def _a_link_out(run: Path, patch: pytest.MonkeyPatch) -> None:
    (run / "panels" / "elsewhere").symlink_to("/etc")


RESUMES: Final[dict[str, tuple[Prepare, tuple[str, ...], str]]] = {
    "unknown option": (_nothing, ("--trainer.max_epoch=2",), "max_epoch"),
    "wrong value": (_nothing, ("--trainer.max_epochs=many",), "a whole number"),
    "another network": (_nothing, ("--model.init_args.network.channels=16",), "network"),
    "another encoder": (_nothing, ("--model.init_args.clip=compact",), "random-tiny"),
    "another method": (_nothing, ("--model=ClassicFusionTask",), "MGFusionTask"),
    "changed data": (_nothing, ("--data.init_args.train_length=5",), "4 pairs"),
    "no data": (_nothing, ("--data=msrs.yaml", "--data.init_args.root=nowhere"), "nowhere"),
    "no device": (_nothing, ("--trainer.accelerator=cuda",), "CUDAAccelerator"),
    "a foreign class": (_nothing, ("--trainer.callbacks=os.system",), "os.system"),
    "a dashboard too": (_nothing, ("--wandb=offline", "--data.init_args.train_length=5"), "4 pairs"),
    "a cache that cannot be written": (
        _nothing,
        ("--loading.cache=disk", "--loading.cache_dir=/dev/null/a", "--trainer.max_epochs=2"),
        "cache",
    ),
    "no memory": (_no_memory, (), "GiB"),
    "a full disk": (_disk_is_full, ("--trainer.max_epochs=2",), "metrics.csv"),
    "no room for a claim": (_no_room_for_a_claim, (), "Cannot write the run folder"),
    "half a checkpoint": (_half_a_checkpoint, (), "damaged"),
    "no checkpoint": (_no_checkpoint, (), "is missing"),
    "another process": (_in_use, (), "in use by process 1"),
    "a link out": (_a_link_out, (), "outside of the folder"),
}


@brings("options", "`fit --resume` that is refused, whatever for", "refused", "every file of the run is as it was")
@pytest.mark.parametrize("name", RESUMES)
def test_a_refused_resume_leaves_the_run_untouched(
    name: str, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, options, named = RESUMES[name]
    if "--trainer.accelerator=cuda" in options and torch.cuda.is_available():
        pytest.skip("has the device")
    prepare(run, monkeypatch)
    before = whole(run.parents[1])
    refused(["fit", f"--resume={run}", *options], capsys, named)
    assert whole(run.parents[1]) == before


@brings("options", "`fit --resume` with options that fail in the first batch", "works", "a plain resume goes on")
def test_what_fails_in_the_first_batch_is_not_taken_over(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = (run / "config.yaml").read_text(encoding="utf-8")
    checkpoint = (run / "checkpoints" / "last.ckpt").read_bytes()
    options = ("--trainer.max_epochs=2", "--loading.seed=3")

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(MGFusionTask, "losses", fail)
        refused(["fit", f"--resume={run}", *options], capsys, "no memory left")
    assert (run / "config.yaml").read_text(encoding="utf-8") == config
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == checkpoint
    accepted(["fit", f"--resume={run}", *options], capsys)
    assert yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["loading"]["seed"] == 3
    log = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    column = log[0].split(",").index("step")
    assert max(int(row.split(",")[column]) for row in log[1:]) == 3  # of four steps; the row of step 7 is gone


NEVER_BEGAN: Final[dict[str, tuple[str, Prepare, tuple[str, ...], str]]] = {
    "fit without data": ("fit", _nothing, ("--data.init_args.fused_dir=nowhere",), "nowhere"),
    "fit without memory, on a dashboard": ("fit", _no_memory, ("--trainer.logger=both.yaml",), "GiB"),
    "fit from no checkpoint": ("fit", _nothing, ("--init_from=nowhere.ckpt",), "nowhere.ckpt"),
    "fit on a full disk": ("fit", _disk_is_full, (), "Cannot write"),
    "fit with no room for a claim": ("fit", _no_room_for_a_claim, (), "Cannot write the run folder"),
    "test without weights": ("test", _nothing, (), "--allow_random_weights"),
    "test without memory": ("test", _no_memory, ("--allow_random_weights", "--wandb=offline"), "GiB"),
    "validate without memory": ("validate", _no_memory, ("--allow_random_weights",), "GiB"),
    "predict without memory": ("predict", _no_memory, ("--allow_random_weights",), "GiB"),
    "predict into a folder without memory": (
        "predict",
        _no_memory,
        ("--allow_random_weights", "--output_dir=OUT/deeper"),
        "GiB",
    ),
    "predict into a folder on a full disk": (
        "predict",
        _disk_is_full,
        ("--allow_random_weights", "--output_dir=OUT/deeper"),
        "predictions.json",
    ),
}


@brings(
    "options", "a new run or prediction that is refused, whatever for", "refused", "no folder is left, not even empty"
)
@pytest.mark.parametrize("name", NEVER_BEGAN)
def test_a_refused_start_leaves_no_folder(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command, prepare, options, named = NEVER_BEGAN[name]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    prepare(tmp_path, monkeypatch)
    own = [option.replace("OUT", str(tmp_path / "out")) for option in options]
    refused(tiny_run(command, tmp_path / "new" / "runs", *own), capsys, named)
    assert whole(tmp_path).keys() == {"here"}


def test_an_output_folder_of_others_is_as_it_was_when_predict_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    accepted(
        tiny_run(
            "predict", tmp_path / "runs", f"--output_dir={out}", f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
        ),
        capsys,
    )
    (out / ".left-by-a-killed-process.partial").touch()
    before = whole(tmp_path)
    refused(
        tiny_run("predict", tmp_path / "runs", f"--output_dir={out}", "--allow_random_weights"),
        capsys,
        "made otherwise",
    )
    assert whole(tmp_path) == before


PLAIN: Final[dict[str, tuple[list[str], str]]] = {
    "prompts of no data": (["data", "prompts", "--data=tno.yaml", "--data.root=nowhere"], "nowhere"),
    "prompts without weights": (["data", "prompts", "--data=tno.yaml", "--data.root=TNO", "--by=coca"], "weights"),
    "prompts onto other text": (["data", "prompts", "--data=tno.yaml", "--data.root=TNO", "--out=notes"], "notes"),
    "a check of no data": (["data", "check", "--data=tno.yaml", "--data.root=nowhere"], "nowhere"),
    "scenes that are too small": (["data", "scenes", "--size=[8,8]"], "32 pixels"),
    "scenes below a file": (["data", "scenes", "--out=notes/deeper"], "notes"),
    "scores of no pictures": (
        ["report", "score", "--infrared=TNO/ir", "--visible=TNO/vi", "--fused=nowhere"],
        "nowhere",
    ),
    "scores by no metric": (
        ["report", "score", "--infrared=TNO/ir", "--visible=TNO/vi", "--fused=TNO/vi", "--metrics=beauty"],
        "beauty",
    ),
}


@brings("options", "`data` and `report` commands that are refused", "refused", "write nothing, and leave no folder")
@pytest.mark.parametrize("name", PLAIN)
def test_refused_data_and_report_commands_write_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments, named = PLAIN[name]
    write_tno(tmp_path / "TNO", count=2)
    (tmp_path / "notes").write_text("of the user")
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "HF_HOME", "IVIF_WEIGHTS_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "nothing"))
    before = whole(tmp_path)
    out = [] if any(argument.startswith("--out") for argument in arguments) else ["--out=out/deeper"]
    refused([*arguments, *out], capsys, named)
    assert whole(tmp_path) == before
