"""Which loss reaches which parameter, per scheme; what stays as it is; what a resumed solver remembers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ivif.bilevel import (
    SCHEMES,
    BilevelConfig,
    Descent,
    Level,
    LevelLoss,
    PenaltyConfig,
    Problem,
    Progress,
    build_solver,
)
from ivif.bilevel.descent import Objective
from ivif.bilevel.schemes.value_function import ValueFunctionSolver
from tests.bilevel.players import Players, make_batch

EVERY_STEP = BilevelConfig(unit="step", warmup=0, regularization=0.0, lower_steps=1, value_steps=1)


def _gradient(loss: Tensor, players: Players) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(players.fusion.parameters())))


def _same(left: list[Tensor | None], right: list[Tensor]) -> bool:
    return all(a is not None and torch.allclose(a, b, atol=1e-7) for a, b in zip(left, right, strict=True))


def _config(scheme: str) -> BilevelConfig:
    return replace(EVERY_STEP, scheme=scheme)


@pytest.mark.parametrize("scheme", ["separate", "alternate", "rank1"])
def test_the_upper_loss_never_reaches_fusion(scheme: str) -> None:
    players = Players()
    players.run(players.solver(_config(scheme)), 10)
    names = [name for name, _ in players.steps]
    assert set(names) == {"lower", "upper"}
    for name, seen in players.steps:
        other = "upper" if name == "lower" else "lower"
        assert all(gradient is None for gradient in seen[other])
        assert all(gradient is None for gradient in seen["value"])


@pytest.mark.parametrize("scheme", ["separate", "alternate"])
def test_fusion_follows_its_own_loss_alone(scheme: str) -> None:
    players, reference = Players(), Players()
    players.run(players.solver(_config(scheme)), 1)
    assert _same(players.steps[0][1]["lower"], _gradient(reference.lower_loss(make_batch(0)), reference))


def test_separate_trains_one_level_after_the_other() -> None:
    players = Players()
    players.run(players.solver(_config("separate")), 10)
    assert [name for name, _ in players.steps] == ["lower"] * 5 + ["upper"] * 5


def test_a_level_schedule_covers_its_own_part_of_the_run() -> None:
    solver = Players().solver(_config("separate"))
    assert solver.level_fraction("lower", 0.25) == 0.5
    assert solver.level_fraction("upper", 0.75) == 0.5


def test_alternate_by_epochs_takes_turns() -> None:
    players = Players()
    players.run(players.solver(replace(_config("alternate"), unit="epoch")), 8)  # two iterations an epoch
    assert [name for name, _ in players.steps] == ["lower", "lower", "upper", "upper"] * 2


def test_joint_sums_both_losses_in_one_pass() -> None:
    players, reference = Players(), Players()
    players.run(players.solver(replace(_config("joint"), lower_weight=0.25, upper_weight=0.75)), 1)
    batch = make_batch(0)
    total = 0.25 * reference.lower_loss(batch) + 0.75 * reference.upper_loss(batch)
    expected = _gradient(total, reference)
    assert [name for name, _ in players.steps] == ["lower", "upper"]
    assert _same(players.steps[0][1]["lower"], expected)
    alone = _gradient(0.25 * reference.lower_loss(batch), reference)
    assert not _same(players.steps[0][1]["lower"], alone)  # the detector's gradient is in it


@pytest.mark.parametrize("shared", [True, False])
def test_value_function_weighs_the_fusion_loss_by_the_penalty(shared: bool) -> None:
    penalty = PenaltyConfig(kind="hinge", smoothing=0.9, weight_range=(0.5, 50.0))
    players, reference = Players(), Players()
    players.run(players.solver(replace(_config("value_function"), penalty=penalty, share_backward=shared)), 1)
    assert [name for name, _ in players.steps] == ["value", "lower", "upper"]
    if not shared:
        reference.detector.eval()  # only fusion is trained in that step
    batch = make_batch(0)
    total = reference.upper_loss(batch) + 0.5 * reference.lower_loss(batch)  # no gap yet: the least weight
    assert _same(players.steps[1][1]["lower"], _gradient(total, reference))
    value = players.steps[0][1]
    assert all(gradient is None for gradient in [*value["lower"], *value["upper"]])


def test_the_value_network_descends_the_fusion_loss_alone() -> None:
    players, alone = Players(), Players()
    players.run(players.solver(_config("value_function")), 3)
    alone.run(alone.solver(replace(_config("alternate"), upper_steps=1)), 3)
    for mine, theirs in zip(players.value.parameters(), alone.fusion.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-7)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_frozen_parameter_stays_frozen_and_modes_come_back(scheme: str) -> None:
    players = Players()
    before = players.frozen.clone()
    players.run(players.solver(_config(scheme)), 10)
    assert torch.equal(players.frozen, before)
    assert not players.frozen.requires_grad
    assert all(p.requires_grad for p in [*players.fusion.parameters(), *players.value.parameters()])
    assert all(module.training for owner in players.modules.values() for module in owner.modules())


def test_an_upper_step_leaves_every_statistic_of_fusion() -> None:
    players = Players()
    solver = players.solver(_config("separate"))
    players.run(solver, 5)
    before = {key: value for key, value in players.state().items() if key.startswith(("lower", "value"))}
    players.run(solver, 5, start=5)
    after = players.state()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert players.steps[-1][0] == "upper"


@pytest.mark.parametrize("scheme", ["joint", "value_function"])
def test_warming_up_keeps_the_levels_apart(scheme: str) -> None:
    players = Players()
    players.run(players.solver(replace(_config(scheme), warmup=3)), 3)
    assert [name for name, _ in players.steps] == ["lower", "upper"] * 3
    assert all(gradient is None for name, seen in players.steps if name == "upper" for gradient in seen["lower"])


@pytest.mark.parametrize("scheme", ["joint", "alternate", "value_function"])
def test_accumulated_parts_make_the_same_step(scheme: str) -> None:
    whole, parts = Players(), Players()
    for players in (whole, parts):
        for module in players.modules.values():
            module.eval()  # BatchNorm of a part is not that of the whole
    whole.run(whole.solver(_config(scheme)), 4)
    parts.run(parts.solver(replace(_config(scheme), accumulate=2)), 4)
    assert [name for name, _ in whole.steps] == [name for name, _ in parts.steps]
    for key, value in whole.state().items():
        assert torch.allclose(value, parts.state()[key], atol=1e-6), key


def test_counted_parts_are_divided_by_the_count_of_the_whole() -> None:
    weight = torch.nn.Parameter(torch.ones(()))

    def loss(part: Tensor) -> LevelLoss:
        return LevelLoss((weight * part).sum(), count=(part > 1).sum())

    optimizer = torch.optim.SGD([weight])
    level = Level("upper", [weight], loss, optimizer.step, optimizer.zero_grad, torch.nn.Module(), size=len)
    batch = torch.tensor([0.5, 3.0, 4.0, 0.25, 2.0, 6.0, 0.75])
    for cut in ([7], [3, 4], [1, 2, 2, 2]):  # the first of four has nothing to count
        descent = Descent([level], split=lambda whole, _, cut=cut: whole.split(cut), accumulate=2)  # type: ignore[misc]
        (value,) = descent.gather(Objective([(level, 1.0)], [level]), batch, torch.autograd.backward)
        assert weight.grad is not None
        assert weight.grad.item() == pytest.approx(16.5 / 4)
        assert value.item() == pytest.approx(16.5 / 4)


def test_a_resumed_solver_goes_on_as_if_nothing_had_happened() -> None:
    config = replace(_config("value_function"), unit="epoch", synchronise_every=1, warmup=1)
    whole, first = Players(), Players()
    whole.run(whole.solver(config), 10)
    solver = first.solver(config)
    first.run(solver, 5)
    second = Players()
    for name, module in second.modules.items():
        module.load_state_dict(first.modules[name].state_dict())
    resumed = second.solver(config)
    resumed.load_state_dict(solver.state_dict())
    second.run(resumed, 5, start=5)
    for key, value in whole.state().items():
        assert torch.equal(value, second.state()[key]), key


def test_the_penalty_weight_follows_the_gap_within_its_bounds() -> None:
    solver = Players().solver(_config("value_function"))
    assert isinstance(solver, ValueFunctionSolver)
    gaps = torch.tensor([-1.0, 0.0, 0.001, 0.1, 10.0])
    assert torch.allclose(solver.penalty_weight(gaps, 100.0), torch.tensor([0.1, 0.1, 0.1, 10.0, 50.0]))
    assert [solver.strength(k) for k in (0, 1, 100)] == [10.0, 20.0, 200.0]


def test_the_barrier_pushes_harder_the_nearer_its_wall() -> None:
    config = replace(_config("value_function"), penalty=PenaltyConfig(kind="barrier", slack=0.1))
    solver = Players().solver(config)
    assert isinstance(solver, ValueFunctionSolver)
    weights = solver.penalty_weight(torch.tensor([0.0, 0.05, 0.099]), 10.0)
    assert weights.tolist() == pytest.approx([1.0, 2.0, 50.0], rel=1e-3)


@pytest.mark.parametrize("behind", [True, False])
def test_a_value_network_that_fell_behind_starts_again_from_fusion(behind: bool) -> None:
    players = Players()
    solver = players.solver(replace(_config("value_function"), synchronise_every=2))
    players.run(solver, 2)
    assert isinstance(solver, ValueFunctionSolver)
    with torch.no_grad():
        players.value.get_parameter("0.weight").add_(1.0)
    solver.lower_average, solver.value_average = torch.tensor(0.1), torch.tensor(0.2 if behind else 0.05)
    players.run(solver, 1, start=2)
    distance = (players.value.get_parameter("0.weight") - players.fusion.get_parameter("0.weight")).abs().max()
    assert (distance < 0.1) == behind


def test_opposed_levels_have_a_negative_cosine() -> None:
    players = Players()
    solver = players.solver(replace(_config("alternate"), cosine_every=1))
    report = players.run(solver, 1)[0]
    reference = Players()
    batch = make_batch(0)
    reference.detector.eval()
    upper = torch.cat([g.flatten() for g in _gradient(reference.upper_loss(batch), reference)])
    lower = torch.cat([g.flatten() for g in _gradient(reference.lower_loss(batch), reference)])
    expected = torch.nn.functional.cosine_similarity(upper, lower, dim=0)
    assert report["gradient_cosine"].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scheme": "both"}, "bilevel.scheme is 'both'"),
        ({"unit": "hour"}, "bilevel.unit is 'hour'"),
        ({"lower_steps": 0}, "bilevel.lower_steps is 0"),
        ({"lower_share": 1.0}, "bilevel.lower_share"),
        ({"penalty": PenaltyConfig(damping=0.1)}, "share_backward"),
    ],
)
def test_wrong_numbers_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(EVERY_STEP, **change)  # type: ignore[arg-type]


def test_wrong_penalties_are_refused() -> None:
    for change in ({"kind": "soft"}, {"start": 0.0}, {"smoothing": 1.0}, {"weight_range": (2.0, 1.0)}):
        with pytest.raises(ValueError, match="penalty"):
            PenaltyConfig(**change)


@pytest.mark.parametrize(("correction", "expected"), [(0.5, 0.0), (1.0, -1.0)])
def test_rank_one_corrects_by_what_the_lower_level_would_answer(correction: float, expected: float) -> None:
    x, y = (torch.nn.Parameter(torch.tensor([value])) for value in (1.0, 0.5))
    seen: list[float] = []

    def note() -> None:
        seen.append(float(x.grad))  # type: ignore[arg-type]

    def forget() -> None:
        x.grad = y.grad = None

    def lower_loss(_: object) -> LevelLoss:
        return LevelLoss(0.5 * (y - 2.0 * x).square().sum())

    def upper_loss(_: object) -> LevelLoss:
        return LevelLoss((y - 1.0).square().sum() + 0.5 * x.square().sum())

    lower = Level("lower", [y], lower_loss, lambda: None, forget)
    upper = Level("upper", [x], upper_loss, note, forget)
    config = replace(_config("rank1"), correction=correction)
    solver = build_solver(Problem(upper, lower, lower_sees_upper=True), config)
    solver.step(None, torch.autograd.backward, Progress(0, 0, 0.0))
    assert seen == pytest.approx([expected], abs=1e-6)  # F_x = 1, F_y = -1, f_y = -1.5, f_x = 3: 1 - eta 1.5 / 2.25 3
