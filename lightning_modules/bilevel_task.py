"""Manual optimisation around a bilevel solver: what every task with two levels shares."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from ivif.bilevel import (
    BilevelConfig,
    Problem,
    Progress,
    Solver,
    build_solver,
)
from ivif.bilevel.level import copy_values
from ivif.contracts.batch import Batch, pair_names
from ivif.lightning_modules.level_task import LevelTask
from ivif.lightning_modules.optimization import LevelConfig
from ivif.running.internals import count_iteration, leave_out_of_count, share_buffers, trainer_of
from ivif.running.logged_steps import logs_this_step

SOLVER_KEY = "bilevel_solver"
"""Where a checkpoint keeps the solver's state."""


class BilevelTask(LevelTask):
    """Fusion (lower level) and detection (upper level) trained by a solver of `ivif.bilevel`.

    A method gives the levels and their losses (`LevelTask`). One batch is one iteration, whatever number of optimiser
    steps the scheme makes of it, and `trainer.max_steps` counts iterations. Without an upper level the lower one is
    trained alone.

    Args:
        bilevel: The scheme.
        lower: Optimiser and schedule of fusion.
        upper: Optimiser and schedule of detection.
    """

    training_options: ClassVar[frozenset[str]] = LevelTask.training_options | {"bilevel", "lower", "upper"}
    logs_learning_rates: ClassVar[bool] = True
    uses_parameters_in_turn: ClassVar[bool] = True
    training_parts: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of weights that only training needs: copies of the network, a teacher."""

    def __init__(self, bilevel: BilevelConfig, lower: LevelConfig, upper: LevelConfig) -> None:
        super().__init__({"lower": lower, "upper": upper, "value": lower})
        self.bilevel_config = bilevel
        self._solver: Solver | None = None
        self._solver_state: Mapping[str, Any] | None = None

    @property
    def accumulate(self) -> int:
        """Parts that a batch is cut into."""
        return self.bilevel_config.accumulate

    @property
    def solver(self) -> Solver:
        """The scheme, built when training starts.

        Raises:
            RuntimeError: If the task trains the lower level alone.
        """
        if self._solver is None:
            raise RuntimeError("There is no solver: the task has no upper level, or training has not started.")
        return self._solver

    def smaller_parts(self, pairs: int, parts: int) -> str:
        """The scheme's own cutting: each level's loss on a part is part of the whole batch's."""
        return f"--model.bilevel.accumulate {self.accumulate * parts}"

    def check_trainer(self, accumulate: int, clip: float | None) -> None:
        """Refuses to accumulate or clip by Lightning's means, which know one optimiser.

        Raises:
            ValueError: Names the option, and what to give in its place.
        """
        name = type(self).__name__
        if accumulate != 1:
            raise ValueError(
                f"--trainer.accumulate_grad_batches {accumulate}: {name} has an optimiser for each level, and cuts "
                f"each batch itself. For the memory of a batch of B / {accumulate} set "
                f"--model.bilevel.accumulate {accumulate} and leave --loading.batch_size at B."
            )
        if clip:
            raise ValueError(
                f"--trainer.gradient_clip_val {clip}: {name} clips each level by its own number. Set "
                f"--model.lower.optimizer.gradient_clip {clip} and --model.upper.optimizer."
                f"gradient_clip {clip}."
            )

    def on_fit_start(self) -> None:
        """Ties the levels to their optimisers, and the solver to the levels."""
        super().on_fit_start()
        if "upper" not in self.levels:
            return
        problem = Problem(
            self.levels["upper"],
            self.levels["lower"],
            self.levels.get("value"),
            synchronise=self._synchronise,
            descent=self.descent,
        )
        self._solver = build_solver(problem, self.bilevel_config)
        if self._solver_state is not None:
            self._solver.load_state_dict(self._solver_state)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Gives every process the first one's buffers, as in other training under DDP.

        A level that stands still normalises by running statistics, and a checkpoint has those of the first process.
        """
        super().on_train_batch_start(batch, batch_idx)
        share_buffers(self.trainer)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One iteration of the scheme."""
        progress = Progress(self.current_epoch, self.global_step, self.run_fraction(self.global_step))
        self._set_learning_rates(progress.fraction)
        self._terms = {}
        self._names = pair_names(batch)
        for optimizer in self._optimizers.values():  # an iteration is one step of the run, whatever it steps
            leave_out_of_count(optimizer)
        self.unless_skipped(partial(self.iterate, batch, progress))
        count_iteration(self.trainer)
        self._log_levels()

    def iterate(self, batch: Batch, progress: Progress) -> None:
        """What is done with one batch: a step of the solver, or of the lower level where there is no upper one."""
        levels = self.level_batch(batch)
        if self._solver is None:
            self.descend_alone("lower", levels)
            return
        report = self._solver.step(levels, self.manual_backward, progress)
        self.diagnostics |= {f"bilevel/{name}": value for name, value in report.items()}

    def level_fraction(self, level: str, fraction: float) -> float:
        """Share of a level's own part of the run that is finished, which its learning-rate schedule follows."""
        return self._solver.level_fraction(level, fraction) if self._solver else fraction

    def run_fraction(self, iteration: int) -> float:
        """Share of the run, in [0, 1], that so many iterations are; 0 where the run has no end."""
        total = float(self.trainer.estimated_stepping_batches)
        return min(1.0, iteration / total) if total not in (0.0, float("inf")) else 0.0

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Loads strictly, but for parts that only training needs where nothing is trained.

        Those are taken where they fit, and left as they are where the checkpoint has none or others: a network trained
        by one scheme can so be tested under the configuration of another.

        Raises:
            CheckpointMismatchError: As `FrozenPartsMixin.load_state_dict`.
        """
        if not self._is_trained():
            present = self.state_dict()
            optional = {name for name in {*present, *state_dict} if name.startswith(self.training_parts)}
            fitting = {name for name in optional if name in present and name in state_dict}
            fitting = {name for name in fitting if present[name].shape == state_dict[name].shape}
            given = {name: value for name, value in state_dict.items() if name not in optional - fitting}
            state_dict = {name: present[name] for name in optional - fitting if name in present} | given
        return super().load_state_dict(state_dict, strict, assign)

    def depends_on(self, part: str) -> bool:
        """Training depends on every frozen part; where nothing is trained, those of `training_parts` do not matter."""
        return not part.startswith(self.training_parts) or self._is_trained()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the solver's state."""
        super().on_save_checkpoint(checkpoint)
        if self._solver is not None:
            checkpoint[SOLVER_KEY] = self._solver.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the solver's state until training starts."""
        super().on_load_checkpoint(checkpoint)
        self._solver_state = checkpoint.get(SOLVER_KEY)

    def _is_trained(self) -> bool:
        trainer = trainer_of(self)
        return trainer is not None and trainer.state.fn == "fit"

    def _synchronise(self) -> None:
        """Makes z equal y, and lets Adam begin anew: its moments are of gradients at the z that was.

        y's moments would not do either. They are of F + P'(w) f, another function of another scale.
        """
        modules = self.level_modules()
        copy_values(modules["lower"].parameters(), modules["value"].parameters())
        copy_values(modules["lower"].buffers(), modules["value"].buffers())
        self._optimizers["value"].optimizer.state.clear()

    def _set_learning_rates(self, fraction: float) -> None:
        for name, optimizer in self._optimizers.items():
            rate = self.level_configs[name].schedule.learning_rate(self.level_fraction(name, fraction))
            for group in optimizer.param_groups:
                group["lr"] = rate

    def _log_levels(self) -> None:
        if not logs_this_step(self.trainer):
            return
        for name, optimizer in self._optimizers.items():
            self.diagnostics[f"{name}/learning_rate"] = torch.tensor(optimizer.param_groups[0]["lr"])
        if self._terms:
            total = torch.stack([value for name, value in self._terms.items() if name.endswith("/loss")]).sum()
            self.log("train/loss", total, prog_bar=True)
            self.log_dict(self._terms)
