"""Phases of a run: where it stands, and how much of several phases has passed."""

import pytest

from ivif.lightning_modules.phases import PhaseSchedule
from ivif.lightning_modules.promptfusion_config import PhaseConfig

LENGTHS = {"first": 2.0, "skipped": 0.0, "second": 1.0, "third": 5.0}


def test_every_step_belongs_to_the_phase_that_its_lengths_say() -> None:
    schedule = PhaseSchedule(LENGTHS)
    assert schedule.names == ("first", "second", "third")
    phases = [schedule.at(step / 8) for step in range(8)]
    assert [phase.name for phase in phases] == ["first"] * 2 + ["second"] + ["third"] * 5
    assert [phase.number for phase in phases] == [1, 1, 2, 3, 3, 3, 3, 3]
    assert phases[4].fraction == pytest.approx(0.2)
    assert (phases[2].start, phases[2].end) == (0.25, 0.375)
    assert schedule.at(1.0).name == "third"
    assert schedule.at(1.0).fraction == 1.0


@pytest.mark.parametrize("steps", [3, 7, 10, 127])
def test_boundaries_do_not_slip_by_rounding(steps: int) -> None:
    schedule = PhaseSchedule({"one": 1.0, "rest": steps - 1.0})
    names = [schedule.at(step / steps).name for step in range(steps)]
    assert names == ["one"] + ["rest"] * (steps - 1)


def test_shares_of_single_phases_and_of_several() -> None:
    schedule = PhaseSchedule(LENGTHS)
    assert schedule.fraction_of("second", 0.0) == 0.0
    assert schedule.fraction_of("second", 0.3125) == pytest.approx(0.5)
    assert schedule.fraction_of("first", 0.9) == 1.0
    assert schedule.fraction_of("skipped", 0.9) == 0.0
    assert schedule.share_done({"first": 1.0, "third": 0.5}) == pytest.approx(4.5 / 7)
    assert schedule.share_done({"skipped": 1.0}) == 0.0


@pytest.mark.parametrize("lengths", [{}, {"one": 0.0}, {"one": 1.0, "two": -1.0}])
def test_impossible_lengths_are_refused(lengths: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="one must be positive"):
        PhaseSchedule(lengths)


@pytest.mark.parametrize(
    ("prompts", "detector", "expected"),
    [
        (True, True, {"autoencoder": 40.0, "prompts": 4.0, "fusion": 20.0, "detector": 3.0, "bilevel": 60.0}),
        (False, True, {"autoencoder": 40.0, "fusion": 20.0, "detector": 3.0, "bilevel": 60.0}),
        (True, False, {"autoencoder": 40.0, "prompts": 4.0, "fusion": 80.0}),
    ],
)
def test_phases_without_what_they_train_do_not_take_place(
    prompts: bool, detector: bool, expected: dict[str, float]
) -> None:
    assert PhaseConfig().schedule(prompts, detector).lengths == expected


def test_one_phase_alone() -> None:
    assert PhaseConfig(only="prompts").schedule(True, True).names == ("prompts",)
    assert PhaseConfig(only="bilevel").schedule(True, False).names == ("fusion",)
    with pytest.raises(ValueError, match="one must be positive"):
        PhaseConfig(only="prompts").schedule(False, True)
    with pytest.raises(ValueError, match=r"phases\.only is 'p0'"):
        PhaseConfig(only="p0")  # type: ignore[arg-type]
