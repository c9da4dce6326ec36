"""A run that is stopped anywhere and resumed is the run that was not stopped: weights, optimisers, logged values."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.callbacks.run_log import read_rows
from ivif.callbacks.stop_requests import RunStoppedError
from tests.resuming import AskToStop, Fail, SimulatedError, differences, last, train

STEPS: dict[str, Any] = {"max_epochs": -1, "max_steps": 10}
"""A run whose length is given in steps: Lightning resumes it by other rules."""


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Undisturbed runs by their settings, made when first asked for."""
    return {"": tmp_path_factory.mktemp("wholes")}


def _whole(wholes: dict[str, Path], kind: str, **options: Any) -> Path:
    name = f"{kind} {options}"
    if name not in wholes:
        wholes[name] = wholes[""] / str(len(wholes))
        train(wholes[name], kind, **options)
    return wholes[name]


@pytest.mark.parametrize(
    ("step", "where", "options"),
    [
        (3, "train", {}),
        (8, "validation", {}),
        (4, "train", STEPS),
        pytest.param(4, "train", {}, marks=pytest.mark.slow),
        pytest.param(6, "validation", {"val_check_interval": 2}, marks=pytest.mark.slow),
        pytest.param(8, "train", STEPS, marks=pytest.mark.slow),
        pytest.param(8, "validation", STEPS, marks=pytest.mark.slow),
        pytest.param(2, "train", {"val_check_interval": 2}, marks=pytest.mark.slow),
        pytest.param(6, "train", {"limit_train_batches": 3}, marks=pytest.mark.slow),
        pytest.param(5, "train", {"limit_train_batches": 3}, marks=pytest.mark.slow),
        pytest.param(8, "validation", {"check_val_every_n_epoch": 2}, marks=pytest.mark.slow),
        pytest.param(
            6, "train", STEPS | {"val_check_interval": 3, "check_val_every_n_epoch": None}, marks=pytest.mark.slow
        ),
        pytest.param(3, "train", {"accumulate_grad_batches": 2}, marks=pytest.mark.slow),
        pytest.param(0, "train", {"accumulate_grad_batches": 2, "val_check_interval": 1}, marks=pytest.mark.slow),
    ],
)
def test_a_stop_between_any_two_batches_changes_nothing(
    step: int, where: str, options: dict[str, Any], wholes: dict[str, Path], tmp_path: Path
) -> None:
    whole = _whole(wholes, "mgfusion", **options)
    with pytest.raises(RunStoppedError) as stopped:
        train(tmp_path, "mgfusion", [AskToStop(step, where)], **options)
    assert stopped.value.checkpoint == str(last(tmp_path))
    train(tmp_path, "mgfusion", resume=last(tmp_path), **options)
    assert differences(whole, tmp_path) == []


@pytest.mark.parametrize(
    "kind",
    [
        "value_function",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("detection", "promptfusion", "text_to_pixels")),
    ],
)
def test_every_task_resumes_exactly(kind: str, wholes: dict[str, Path], tmp_path: Path) -> None:
    whole = _whole(wholes, kind)
    with pytest.raises(RunStoppedError):
        train(tmp_path, kind, [AskToStop(7)])
    train(tmp_path, kind, resume=last(tmp_path))
    assert differences(whole, tmp_path) == []


def test_the_tiny_promptfusion_has_every_phase_and_two_rounds(wholes: dict[str, Path]) -> None:
    rows = read_rows(_whole(wholes, "promptfusion") / "metrics.csv")
    logged = [row for row in rows if row.get("train/phase")]
    assert [float(row["train/phase"]) for row in logged] == [1, 1, 2, 2, 3, 4, 4, 5, 5, 5, 5, 5]
    assert all(row["train/prompts/learning_rate"] for row in logged)
    assert [bool(row["train/prompts/ranking"]) for row in logged[7:]] == [False, True, True, False, True]
    guided = [bool(row["train/lower/prompt"]) for row in logged if row["train/lower/intensity"]]
    assert set(guided) == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize(("step", "where"), [*((step, "train") for step in range(1, 12)), (4, "validation")])
def test_phases_and_rounds_resume_exactly(step: int, where: str, wholes: dict[str, Path], tmp_path: Path) -> None:
    whole = _whole(wholes, "promptfusion")
    with pytest.raises(RunStoppedError):
        train(tmp_path, "promptfusion", [AskToStop(step, where)])
    train(tmp_path, "promptfusion", resume=last(tmp_path))
    assert differences(whole, tmp_path) == []


@pytest.mark.slow
def test_phases_of_a_run_in_steps_resume_exactly(wholes: dict[str, Path], tmp_path: Path) -> None:
    whole = _whole(wholes, "promptfusion", **STEPS)
    with pytest.raises(RunStoppedError):
        train(tmp_path, "promptfusion", [AskToStop(8)], **STEPS)
    train(tmp_path, "promptfusion", resume=last(tmp_path), **STEPS)
    assert differences(whole, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["separate", "joint", "alternate", "rank1"])
@pytest.mark.parametrize("step", [4, 6])
def test_every_scheme_resumes_exactly(scheme: str, step: int, wholes: dict[str, Path], tmp_path: Path) -> None:
    whole = _whole(wholes, scheme)
    with pytest.raises(RunStoppedError):
        train(tmp_path, scheme, [AskToStop(step)])
    train(tmp_path, scheme, resume=last(tmp_path))
    assert differences(whole, tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "every", "fails", "saved"),
    [
        ("mgfusion", 3, 7, 6),
        ("mgfusion", None, 7, 4),
        pytest.param("promptfusion", 3, 11, 9, marks=pytest.mark.slow),
        pytest.param("promptfusion", None, 7, 4, marks=pytest.mark.slow),
    ],
)
def test_an_error_loses_nothing_beyond_the_last_saved_point(
    kind: str, every: int | None, fails: int, saved: int, wholes: dict[str, Path], tmp_path: Path
) -> None:
    whole = _whole(wholes, kind)
    with pytest.raises(SimulatedError):
        train(tmp_path, kind, [Fail(fails)], checkpoint=RunCheckpoint(every_n_train_steps=every))
    assert torch.load(last(tmp_path), weights_only=True)["global_step"] == saved
    train(tmp_path, kind, resume=last(tmp_path), checkpoint=RunCheckpoint(every_n_train_steps=5))
    assert differences(whole, tmp_path) == []


@pytest.mark.slow
def test_an_earlier_epoch_reads_the_stored_results_that_it_read_before(wholes: dict[str, Path], tmp_path: Path) -> None:
    whole = _whole(wholes, "memory")
    with pytest.raises(SimulatedError):
        train(tmp_path, "memory", [Fail(10)], checkpoint=RunCheckpoint(every_n_train_steps=6))
    assert {path.name for path in tmp_path.glob("previous*")} == {"previous", "previous-epoch0000"}
    train(tmp_path, "memory", resume=last(tmp_path))
    assert differences(whole, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mgfusion", "promptfusion"])
def test_workers_change_nothing(kind: str, wholes: dict[str, Path], tmp_path: Path) -> None:
    whole = _whole(wholes, kind)
    with pytest.raises(RunStoppedError):
        train(tmp_path, kind, [AskToStop(5)], workers=2)
    train(tmp_path, kind, resume=last(tmp_path), workers=2)
    assert differences(whole, tmp_path) == []


def test_a_time_limit_is_a_stop_and_not_the_end_of_an_epoch(wholes: dict[str, Path], tmp_path: Path) -> None:
    whole = _whole(wholes, "value_function")
    with pytest.raises(RunStoppedError, match=r"trainer\.max_time"):
        train(tmp_path, "value_function", max_time={"seconds": 0.2}, val_check_interval=1.0)
    train(tmp_path, "value_function", resume=last(tmp_path))
    assert differences(whole, tmp_path) == []
