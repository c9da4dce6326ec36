"""The schemes on problems whose optima are known: those that must find them do, and those that must not do not."""

from dataclasses import replace

import pytest
import torch

from ivif.bilevel.toy import (
    VALUE_FUNCTION,
    as_methods_set_it,
    many_solutions,
    sine,
    solve,
    solve_as_singleton,
    toy_config,
)


def test_the_optima_are_those_of_the_papers() -> None:
    assert many_solutions().optimum == 0
    assert (sine(1).optimum_x, sine(1).optimum_y[0]) == pytest.approx((2.35619, 4.35619), abs=1e-5)
    assert sine(1).optimum == pytest.approx(0.25375, abs=1e-5)
    assert (sine(2).optimum_x, *sine(2).optimum_y) == pytest.approx((2.47493, 4.23746, 4.23746), abs=1e-5)
    assert sine(2).optimum == pytest.approx(0.33833, abs=1e-5)


def test_the_value_function_finds_the_optimum_among_many_solutions() -> None:
    assert solve(many_solutions(), VALUE_FUNCTION).distance <= 0.02


@pytest.mark.slow
def test_the_value_function_finds_the_optimum_of_the_sine() -> None:
    result = solve(sine(1), VALUE_FUNCTION)
    assert result.distance <= 0.02
    assert result.lower == pytest.approx(-1.0, abs=1e-3)  # the gap f - f* has closed
    assert torch.isfinite(result.path).all()


@pytest.mark.slow
def test_the_value_function_finds_the_optimum_of_two_dimensions() -> None:
    assert solve(sine(2), VALUE_FUNCTION).distance <= 0.02


@pytest.mark.slow
def test_the_quadratic_hinge_gets_there_more_slowly() -> None:
    hinge = replace(VALUE_FUNCTION.penalty, kind="hinge", maximum=200.0, weight_range=(0.0, 200.0))
    slow = solve(many_solutions(), replace(VALUE_FUNCTION, penalty=hinge))
    assert 0.02 < slow.distance < 0.15


def test_a_scheme_that_takes_the_lower_solution_for_unique_stays_half_way() -> None:
    result = solve_as_singleton(many_solutions())
    assert result.x.item() == pytest.approx(0.5, abs=0.005)
    assert result.y[1].item() == 0.0


@pytest.mark.parametrize("scheme", ["separate", "alternate"])
def test_turns_never_leave_the_first_lower_solution(scheme: str) -> None:
    result = solve(many_solutions(), toy_config(scheme), 300)
    assert result.x.item() == pytest.approx(0.0, abs=0.02)
    assert result.distance >= 0.98


def test_joint_training_does_not_hold_the_lower_level() -> None:
    result = solve(sine(1), toy_config("joint"), 1000)
    assert result.upper < sine(1).optimum - 0.1  # better for F than any lower solution allows
    assert result.lower > -0.95  # and no lower solution: their f is -1


def test_starting_with_a_strong_penalty_ends_on_another_branch() -> None:
    strong = replace(VALUE_FUNCTION.penalty, start=5.0, growth=0.0, maximum=5.0)
    result = solve(sine(1), replace(VALUE_FUNCTION, penalty=strong), 400)
    assert result.distance > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "of_a", "of_b"),
    [(10.0, (0.0, 0.05), (2.9, 3.0)), (1.0, (0.0, 0.05), (0.05, 0.1))],
)
def test_what_the_numbers_of_the_methods_reach_here(
    start: float, of_a: tuple[float, float], of_b: tuple[float, float]
) -> None:
    config = as_methods_set_it(start)
    for problem, (least, most) in ((many_solutions(), of_a), (sine(1), of_b)):
        assert least < solve(problem, config).distance < most
