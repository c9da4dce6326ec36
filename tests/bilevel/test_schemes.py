"""The table of schemes: what each says of itself is what it does, and installed packages add theirs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ivif.bilevel import SCHEMES, Backward, BilevelConfig, Descent, Level, Objective, Problem, build_solver
from ivif.bilevel.schemes import scheme_names
from ivif.contracts import plugins
from tests.bilevel.foreign_scheme import TradeSolver, installed
from tests.bilevel.players import Players

EVERY_STEP = BilevelConfig(lower_steps=2, value_steps=1, unit="step", warmup=0, synchronise_every=0)
TRADE = replace(EVERY_STEP, scheme="joint", upper_weight=0.25, lower_weight=0.75)


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """The foreign scheme is installed."""
    monkeypatch.setattr(plugins, "installed", installed)


class _Watched(Descent):
    """Remembers, for each backward pass, whose losses it goes through and who follows."""

    def __init__(self, levels: Sequence[Level]) -> None:
        super().__init__(levels)
        self.passes: list[tuple[list[str], list[str]]] = []

    def gather(self, objective: Objective, batch: Any, backward: Backward, observed: bool = True) -> list[Tensor]:
        self.passes.append(([level.name for level, _ in objective.losses], [one.name for one in objective.active]))
        return super().gather(objective, batch, backward, observed)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_holds_what_it_says(scheme: str) -> None:
    players = Players()
    problem = players.problem()
    watched = _Watched(problem.descent.levels)
    solver = build_solver(replace(problem, lower_sees_upper=True, descent=watched), replace(EVERY_STEP, scheme=scheme))
    players.run(solver, 10)
    of_upper = [(losses, active) for losses, active in watched.passes if "upper" in losses]
    assert solver.upper_reaches_lower == any("lower" in active for _, active in of_upper)
    assert solver.lower_graphs == max(losses.count("lower") for losses, _ in of_upper)
    assert solver.needs_value == any("value" in active for _, active in watched.passes)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_a_scheme_that_needs_the_value_network_asks_for_it(scheme: str) -> None:
    problem = Players().problem()
    alone = Problem(problem.upper, problem.lower)
    config = replace(EVERY_STEP, scheme=scheme)
    if not config.solver_class.needs_value:
        assert build_solver(alone, config).problem is alone
        return
    with pytest.raises(ValueError, match=r"problem\.value is None"):
        build_solver(alone, config)


def test_every_number_of_a_scheme_can_be_set() -> None:
    for scheme in SCHEMES:
        config = BilevelConfig(scheme=scheme, lower_steps=7, cosine_every=5)
        settings = config.settings()
        assert {name: getattr(config, name) for name in vars(settings)} == vars(settings)
        assert (settings.scheme, settings.lower_steps, settings.cosine_every) == (scheme, 7, 5)


@pytest.mark.usefixtures("foreign")
def test_a_foreign_scheme_trains_as_its_options_say() -> None:
    ours, theirs = Players(), Players()
    ours.run(ours.solver(TRADE), 3)
    solver = theirs.solver(replace(EVERY_STEP, scheme="trade", options={"share": 0.25, "name": "sold"}))
    assert isinstance(solver, TradeSolver)
    assert set(theirs.run(solver, 3)[0]) == {"sold_loss"}
    assert solver.config.lower_steps == 2
    for key, value in ours.state().items():
        assert torch.equal(value, theirs.state()[key]), key


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scheme": "both"}, "'both'; known: separate, joint, alternate, value_function, rank1, trade, odd, lost"),
        ({"scheme": "trade"}, "do not fit the scheme 'trade': .* 'share'"),
        ({"scheme": "trade", "options": {"share": 2}}, r"bilevel\.options\.share is 2\.0; it must lie"),
        ({"scheme": "trade", "options": {"share": "much"}}, r"bilevel\.options\.share is 'much'; it must be a number"),
        ({"scheme": "trade", "options": {"shares": 0.5}}, "has 'shares' for 'trade': the scheme takes share, name"),
        ({"scheme": "joint", "options": {"share": 0.5}}, "has 'share' for 'joint': the scheme takes none"),
        ({"scheme": "joint", "options": {"upper_weight": 0.5}}, r"set bilevel\.upper_weight"),
        ({"scheme": "odd"}, r"'odd' of an installed package is no subclass of ivif\.bilevel\.Solver"),
        ({"scheme": "lost"}, "'lost' of the installed package .* cannot be imported"),
    ],
)
def test_what_a_foreign_scheme_does_not_take_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(EVERY_STEP, **change)


@pytest.mark.usefixtures("foreign")
def test_ours_come_before_schemes_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = installed(plugins.SCHEMES)["trade"]
    monkeypatch.setattr(plugins, "installed", lambda _: {"joint": entry})
    assert scheme_names() == tuple(SCHEMES)
    assert BilevelConfig(scheme="joint").solver_class is SCHEMES["joint"]
