"""One number seeds everything that a run draws."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer, seed_everything

from ivif.callbacks.throughput import Throughput
from ivif.commands.cli import main
from ivif.contracts.seeds import mix_seed, run_seed
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from tests.commands.runs import tiny_run


def _first_batch(run: int, own: int | None = None) -> tuple[list[str], torch.Tensor]:
    seed_everything(run, verbose=False)
    module = SyntheticDataModule(
        train_length=8,
        evaluation_length=2,
        size=(48, 56),
        loading=LoadingConfig(batch_size=8, num_workers=0, seed=own),
        transforms=TransformConfig(crop=16),
    )
    module.setup("fit")
    batch = next(iter(module.train_dataloader()))
    return list(batch["name"]), batch["infrared"]


def test_without_a_seed_it_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert run_seed() == 0


def test_order_and_crops_follow_the_seed_of_the_run() -> None:
    names, crops = _first_batch(0)
    again, same = _first_batch(0)
    others, different = _first_batch(1)
    assert names == again
    assert names != others
    assert torch.equal(crops, same)
    index, other = 0, others.index(names[0])
    assert not torch.equal(crops[index], different[other])


def test_a_seed_of_the_pairs_own_wins() -> None:
    assert _first_batch(0, 5)[0] == _first_batch(1, 5)[0]
    assert _first_batch(0, 5)[0] != _first_batch(0)[0]


def test_what_a_step_draws_follows_the_seed_and_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []

    def draw(self: Throughput, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        torch.manual_seed(99)  # as if something before had drawn another number of times

    def note(self: Throughput, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        drawn.append(torch.rand(()).item())

    monkeypatch.setattr(Throughput, "on_train_batch_start", draw, raising=False)
    monkeypatch.setattr(Throughput, "on_train_batch_end", note)
    for number, seed in enumerate((0, 0, 1)):
        line = tiny_run("fit", tmp_path / str(number), f"--seed_everything={seed}", "--trainer.limit_val_batches=0")
        assert main(line) == 0
    first, again, other = drawn[:2], drawn[2:4], drawn[4:]
    assert first == again
    assert len({*first, *other}) == 4


def test_mixed_seeds_are_spread() -> None:
    seeds = {mix_seed(0, epoch, index) for epoch in range(50) for index in range(50)}
    assert len(seeds) == 2500
    assert mix_seed(0, 1) != mix_seed(1, 0)
