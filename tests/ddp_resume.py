"""Two processes that are stopped, go on, or leave batches out; run by tests of resuming."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from ivif.callbacks.stop_requests import RunStoppedError
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.non_finite import NonFiniteLossError, OnNonFinite
from tests import resuming
from tests.resuming import AskToStop, last, train

TWO: dict[str, Any] = {"devices": 2, "strategy": "ddp_find_unused_parameters_true"}


class OneRank(AskToStop):
    """Only the second process is asked."""

    def _ask(self, trainer: Trainer, where: str) -> None:
        if trainer.global_rank == 1:
            super()._ask(trainer, where)


class SaveRank(Callback):
    """Keeps what each process ended with."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.save(
            (pl_module.state_dict(), pl_module.diagnostics),
            Path(trainer.default_root_dir) / f"rank{trainer.global_rank}.pt",
        )


def poison(monkey: type[MGFusionTask], rank: int, on_non_finite: OnNonFinite) -> None:
    """A process's loss is infinite at its second step."""
    losses = monkey.losses

    def poisoned(self: MGFusionTask, fused: Tensor, batch: Any) -> dict[str, Tensor]:
        terms = losses(self, fused, batch)
        if self.global_rank == rank and self.global_step == 1:
            terms["gradient"] = terms["gradient"] * torch.inf
        return terms

    monkey.losses = poisoned  # type: ignore[method-assign]
    monkey.on_non_finite = on_non_finite


def main(what: str, folder: Path, kind: str, step: int, workers: int) -> None:
    """`whole` trains through; `stop` ends early; `resume` goes on; `skip` leaves a batch out; `break` ends at it."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    callbacks: list[Callback] = [SaveRank()]
    if what in ("skip", "break"):
        poison(MGFusionTask, rank=step, on_non_finite="skip" if what == "skip" else "stop")
    if what not in ("stop", "break"):
        train(folder, kind, callbacks, resume=last(folder) if what == "resume" else None, workers=workers, **TWO)
        return
    try:
        train(folder, kind, [*callbacks, *([OneRank(step)] if what == "stop" else [])], workers=workers, **TWO)
    except (RunStoppedError, NonFiniteLossError) as ended:
        (folder / f"ended{resuming.rank()}").write_text(str(ended), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
