"""What a checkpoint holds, and what of one is refused before anything is built."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ivif.callbacks.run_record import RECORD_KEY
from ivif.commands.cli import main
from tests.commands.runs import newest_run, tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IVIF_RUN_FOLDER", raising=False)
        assert main(tiny_run("fit", folder, "--wandb=offline")) == 0
    return newest_run(folder)


@pytest.fixture
def state(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return loaded


def test_a_checkpoint_says_what_its_run_ran_with(run: Path, state: dict[str, Any]) -> None:
    record = state[RECORD_KEY]
    assert yaml.safe_load(record["config"]) == yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert record["packages"]["torch"] == torch.__version__.split("+")[0]
    assert record["commit"]
    assert {name: entry["pairs"] for name, entry in record["data"].items()} == {
        "synthetic/train": 4,
        "synthetic/val": 2,
    }
    assert len({entry["sha256"] for entry in record["data"].values()}) == 2
    (offline,) = run.glob("wandb/offline-run-*")
    assert offline.name.endswith(record["wandb_run_id"])
    assert record["batches"] == [2, 1]


def _refusal(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert main(tiny_run("test", tmp_path, f"--ckpt_path={path}", *options)) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert not list(tmp_path.rglob("tables"))
    return message


def _without_a_weight(state: dict[str, Any]) -> None:
    state["state_dict"].pop(next(iter(state["state_dict"])))


def _with_another_weight(state: dict[str, Any]) -> None:
    state["state_dict"]["surplus"] = torch.zeros(1)


def _of_another_method(state: dict[str, Any]) -> None:
    state["task"] = "ivif.lightning_modules.text_to_pixels.TextToPixelsTask"


def _without_weights(state: dict[str, Any]) -> None:
    del state["state_dict"]


def _with_code(state: dict[str, Any]) -> None:
    state["surplus"] = Fraction(1, 2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_without_a_weight, "it lacks network."),
        (_with_another_weight, "unknown surplus"),
        (_of_another_method, "a checkpoint of ivif.lightning_modules.text_to_pixels.TextToPixelsTask"),
        (_without_weights, "no 'state_dict'"),
        (_with_code, "holds code (fractions.Fraction)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], None],
    named: str,
    state: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(state)
    torch.save(state, tmp_path / "changed.ckpt")
    message = _refusal(tmp_path / "changed.ckpt", tmp_path, capsys)
    assert named in message
    assert "nothing" not in message
    assert "beside" not in message


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(
    share: float, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (run / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "short.ckpt").write_bytes(content[: int(share * len(content))])
    message = _refusal(tmp_path / "short.ckpt", tmp_path, capsys)
    assert f"the file is damaged ({int(share * len(content))} bytes" in message


def test_another_file_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text("# Some text")
    message = _refusal(tmp_path / "README.md", tmp_path, capsys)
    assert "README.md: the file is no checkpoint, or a damaged one (11 bytes" in message
    assert "mmap" not in message


def test_a_resumed_run_keeps_its_data(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = "--data.init_args.train_length=6"
    assert main(["fit", "--resume", str(run), "--trainer.max_epochs=2", more]) == 1
    assert "synthetic/train: 4 pairs" in capsys.readouterr().err
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    assert main(tiny_run("fit", tmp_path, checkpoint, "--trainer.max_epochs=2", more)) == 0
    assert torch.load(newest_run(tmp_path) / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 5
