"""Manual optimisation around a bilevel solver: what every task with two levels shares."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from datamodules.datasets.batch import Batch, pair_names
from lightning_modules.base import FusionTask
from lightning_modules.bilevel import BilevelConfig, Level, Problem, Progress, Solver, build_solver
from lightning_modules.bilevel.level import copy_values, drop_gradients, training_only
from lightning_modules.logged_steps import logs_this_step
from lightning_modules.optimization import LevelConfig

SOLVER_KEY = "bilevel_solver"
"""Where a checkpoint keeps the solver's own state."""


class BilevelTask(FusionTask):
    """Fusion (lower level) and detection (upper level) trained by a solver of `lightning_modules.bilevel`.

    A method gives `problem` and reports each level's terms through `weighted`. One batch is one iteration, whatever
    number of optimiser steps the scheme makes of it, and `trainer.max_steps` counts iterations. Without an upper level
    (`problem` returns a level, not a problem) the lower one is trained alone.

    Args:
        bilevel: The scheme.
        lower: Optimiser and schedule of fusion.
        upper: Optimiser and schedule of detection.
    """

    def __init__(self, bilevel: BilevelConfig, lower: LevelConfig, upper: LevelConfig) -> None:
        super().__init__(lower.optimizer, lower.schedule)
        self.automatic_optimization = False
        self.bilevel_config = bilevel
        self.level_configs: dict[str, LevelConfig] = {"lower": lower, "upper": upper, "value": lower}
        self._solver: Solver | None = None
        self._solver_state: Mapping[str, Any] | None = None
        self.levels: dict[str, Level] = {}
        self._terms: dict[str, Tensor] = {}
        self.watch_gradients: Callable[[str, torch.optim.Optimizer], None] | None = None
        """Set by a callback; called with a level and its optimiser before its gradients are clipped."""

    training_parts: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of weights that only training needs: copies of the network, a teacher."""

    @abstractmethod
    def level_modules(self) -> Mapping[str, nn.Module]:
        """The trained networks by level: `lower`, and where there are such, `upper` and `value` (a copy of lower)."""

    @abstractmethod
    def level_loss(self, level: str, batch: Any) -> Tensor:
        """The loss of a level on what `level_batch` gave, or on a part of it."""

    @abstractmethod
    def level_batch(self, batch: Batch) -> Any:
        """What the levels' losses take, made once per iteration so that all of them see the same."""

    @abstractmethod
    def split_batch(self, batch: Any, parts: int) -> Sequence[Any]:
        """Cuts what `level_batch` gave into parts, for accumulation."""

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Never asked: each level has its own loss.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("A task with two levels has `level_loss` in place of `losses`.")

    def clipped_parts(self, level: str) -> Sequence[nn.Module]:
        """The modules of a level whose gradients `optimizer.gradient_clip` bounds, each on its own."""
        return [self.level_modules()[level]]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clips a level by its own number; here, because Lightning has just taken float16's scale off its gradients."""
        level = next(name for name, own in self._optimizers.items() if own.optimizer is optimizer)
        if self.watch_gradients is not None:
            self.watch_gradients(level, optimizer)
        if clip := self.level_configs[level].optimizer.gradient_clip:
            for part in self.clipped_parts(level):
                nn.utils.clip_grad_norm_(part.parameters(), clip)

    def after_step(self, level: str) -> None:
        """Called after each optimiser step of a level: codebook statistics, moving averages."""

    @property
    def solver(self) -> Solver:
        """The scheme, built when training starts.

        Raises:
            RuntimeError: If the task trains the lower level alone.
        """
        if self._solver is None:
            raise RuntimeError("There is no solver: the task has no upper level, or training has not started.")
        return self._solver

    def configure_optimizers(self) -> Any:
        """One optimiser per level, in the order of `level_configs`."""
        modules = self.level_modules()
        self._level_names = [name for name in self.level_configs if name in modules]
        return [
            self.level_configs[name].optimizer.build(modules[name].parameters(), self.level_configs[name].schedule.peak)
            for name in self._level_names
        ]

    def on_fit_start(self) -> None:
        """Ties the levels to their optimisers."""
        found = self.optimizers()
        optimizers = found if isinstance(found, list) else [found]
        self._optimizers = dict(zip(self._level_names, optimizers, strict=True))
        self.levels = {name: self._level(name, optimizer) for name, optimizer in self._optimizers.items()}
        if "upper" not in self.levels:
            return
        problem = Problem(
            self.levels["upper"],
            self.levels["lower"],
            self.levels.get("value"),
            synchronise=self._synchronise,
            split=self.split_batch,
            reduce=lambda value: self.trainer.strategy.reduce(value, reduce_op="mean"),
        )
        self._solver = build_solver(problem, self.bilevel_config)
        if self._solver_state is not None:
            self._solver.load_state_dict(self._solver_state)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Gives every process the first one's buffers, as in other training under DDP.

        A level that stands still normalises by running statistics, and a checkpoint has those of the first process.
        """
        super().on_train_batch_start(batch, batch_idx)
        # DDP decides by the step before, where manual optimisation has told it not to synchronise. Semi-internal name;
        # tests/lightning_modules/test_resume_ddp.py covers it.
        if isinstance(self.trainer.strategy.model, DistributedDataParallel):
            self.trainer.strategy.model.require_forward_param_sync = True

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One iteration of the scheme."""
        progress = Progress(self.current_epoch, self.global_step, self.run_fraction(self.global_step))
        self._set_learning_rates(progress.fraction)
        self._terms = {}
        self._names = pair_names(batch)
        for optimizer in self._optimizers.values():  # Lightning would count each optimiser's steps as steps of the run
            optimizer._on_before_step = optimizer._on_after_step = _nothing
        self.unless_skipped(partial(self.iterate, batch, progress))
        self._count_iteration()
        self._log_levels()

    def iterate(self, batch: Batch, progress: Progress) -> None:
        """What is done with one batch: a step of the solver, or of the lower level where there is no upper one."""
        levels = self.level_batch(batch)
        if self._solver is None:
            self.descend_alone("lower", levels)
            return
        report = self._solver.step(levels, self.manual_backward, progress)
        self.diagnostics |= {f"bilevel/{name}": value for name, value in report.items()}

    def descend_alone(self, level: str, batch: Any) -> None:
        """One step of one level on its own loss, outside of the scheme; the others stand still."""
        parts, own = self.split_batch(batch, self.bilevel_config.accumulate), self.levels[level]
        own.zero_grad()
        with training_only((own,), self.levels.values()):
            for part in parts:
                self.manual_backward(own.loss(part) / len(parts))
        own.step()
        own.zero_grad()

    def level_fraction(self, level: str, fraction: float) -> float:
        """Share of a level's own part of the run that is finished, which its learning-rate schedule follows."""
        return self._solver.level_fraction(level, fraction) if self._solver else fraction

    def run_fraction(self, iteration: int) -> float:
        """Share of the run, in [0, 1], that so many iterations are; 0 where the run has no end."""
        total = float(self.trainer.estimated_stepping_batches)
        return min(1.0, iteration / total) if total not in (0.0, float("inf")) else 0.0

    def weighted(self, level: str, terms: Mapping[str, Tensor], weights: Mapping[str, float | Tensor]) -> Tensor:
        """Sum of a level's terms, which are logged as `train/<level>/<term>`.

        Raises:
            NonFiniteLossError: If the sum is not finite; before any gradient of it reaches a weight.
        """
        parts = [weights[name] * term if name in weights else term for name, term in terms.items()]
        loss = torch.stack(parts).sum() if len(parts) > 1 else parts[0]
        self.refuse_non_finite(loss, terms, self._names, level)
        self._terms |= {f"train/{level}/{name}": term.detach() for name, term in terms.items()}
        self._terms[f"train/{level}/loss"] = loss.detach()
        return loss

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Loads strictly, but for parts that only training needs where nothing is trained.

        Those are taken where they fit, and left as they are where the checkpoint has none or others: a network trained
        by one scheme can so be tested under the configuration of another.

        Raises:
            CheckpointMismatchError: As `FrozenPartsMixin.load_state_dict`.
        """
        if self._trainer is None or self._trainer.state.fn != "fit":
            own = self.state_dict()
            optional = {name for name in {*own, *state_dict} if name.startswith(self.training_parts)}
            fitting = {name for name in optional if name in own and name in state_dict}
            fitting = {name for name in fitting if own[name].shape == state_dict[name].shape}
            given = {name: value for name, value in state_dict.items() if name not in optional - fitting}
            state_dict = {name: own[name] for name in optional - fitting if name in own} | given
        return super().load_state_dict(state_dict, strict, assign)

    def depends_on(self, part: str) -> bool:
        """Training depends on every frozen part; where nothing is trained, those of `training_parts` do not matter."""
        return not part.startswith(self.training_parts) or (
            self._trainer is not None and self._trainer.state.fn == "fit"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the solver's state."""
        super().on_save_checkpoint(checkpoint)
        if self._solver is not None:
            checkpoint[SOLVER_KEY] = self._solver.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the solver's state until training starts."""
        super().on_load_checkpoint(checkpoint)
        self._solver_state = checkpoint.get(SOLVER_KEY)

    def _level(self, name: str, optimizer: LightningOptimizer) -> Level:
        module = self.level_modules()[name]
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]

        def step() -> None:
            if not self.refuse_non_finite_gradients(parameters, self._names, name):
                return
            optimizer.step()
            self.after_step(name)

        return Level(
            name,
            parameters,
            lambda batch: self.level_loss(name, batch),
            step,
            partial(drop_gradients, parameters),  # the optimiser's own does as much and takes ten times as long
            module,
        )

    def _synchronise(self) -> None:
        modules = self.level_modules()
        copy_values(modules["lower"].parameters(), modules["value"].parameters())
        copy_values(modules["lower"].buffers(), modules["value"].buffers())

    def _set_learning_rates(self, fraction: float) -> None:
        for name, optimizer in self._optimizers.items():
            rate = self.level_configs[name].schedule.learning_rate(self.level_fraction(name, fraction))
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _count_iteration(self) -> None:
        # Semi-internal name: lightning is pinned below 2.7, and tests/lightning_modules/test_bilevel_task.py covers it.
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()

    def _log_levels(self) -> None:
        if not logs_this_step(self.trainer):
            return
        for name, optimizer in self._optimizers.items():
            self.diagnostics[f"{name}/learning_rate"] = torch.tensor(optimizer.param_groups[0]["lr"])
        if self._terms:
            total = torch.stack([value for name, value in self._terms.items() if name.endswith("/loss")]).sum()
            self.log("train/loss", total, prog_bar=True)
            self.log_dict(self._terms)


def _nothing() -> None:
    """In place of Lightning's own hook."""
