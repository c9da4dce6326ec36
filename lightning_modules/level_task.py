"""Optimisers by level in a Lightning task: losses that add up over parts, steps along one backward pass."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn

from ivif.bilevel import Descent, Level, LevelLoss, Objective
from ivif.bilevel.level import drop_gradients
from ivif.contracts.batch import Batch
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.fake_tensor_memory import Use
from ivif.lightning_modules.grad_scaling import one_scale
from ivif.lightning_modules.optimization import LevelConfig
from ivif.lightning_modules.training_memory import Arithmetic


class LevelTask(FusionTask):
    """A task with an optimiser for each of its levels, under manual optimisation.

    A method says which networks are levels (`level_modules`) and gives the loss of each on a part of a batch
    (`level_loss`). Whatever number of parts a batch is cut into, a step is that of the whole.

    Args:
        configs: Optimiser and schedule of each level, in order.
    """

    def __init__(self, configs: Mapping[str, LevelConfig]) -> None:
        super().__init__(configs["lower"].optimizer, configs["lower"].schedule)
        self.automatic_optimization = False
        self.level_configs: dict[str, LevelConfig] = dict(configs)
        self.levels: dict[str, Level] = {}
        self._stepped_levels: list[str] = []
        self._terms: dict[str, Tensor] = {}

    @property
    def accumulate(self) -> int:
        """Parts that a batch is cut into."""
        return 1

    @abstractmethod
    def level_modules(self) -> Mapping[str, nn.Module]:
        """The trained networks by level: `lower`, and where there are such, `upper` and `value` (a copy of lower)."""

    @abstractmethod
    def level_loss(self, level: str, batch: Any) -> LevelLoss:
        """The loss of a level on what `level_batch` gave, or on a part of it; see `weighted`."""

    @abstractmethod
    def level_batch(self, batch: Batch) -> Any:
        """What the levels' losses take, made once per iteration so that all of them see the same."""

    @abstractmethod
    def split_batch(self, batch: Any, parts: int) -> Sequence[Any]:
        """Cuts what `level_batch` gave into at most so many parts, for accumulation."""

    @abstractmethod
    def level_size(self, level: str, batch: Any) -> int:
        """How many items of a part the level's loss is a mean over."""

    def training_use(self, small: Batch, size: tuple[int, int, int], arithmetic: Arithmetic) -> Use | None:
        """Not known of levels in general: nobody says what they look at."""
        return None

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
        level = next(name for name, each in self._optimizers.items() if each.optimizer is optimizer)
        if self.watch_gradients is not None:
            self.watch_gradients(level, optimizer)
        if clip := self.level_configs[level].optimizer.gradient_clip:
            for part in self.clipped_parts(level):
                nn.utils.clip_grad_norm_(part.parameters(), clip)

    def forget(self, level: str) -> None:
        """Drops what a level's forward passes left for `after_step`; called before and after each step."""

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
        super().on_fit_start()
        found = self.optimizers()
        optimizers = found if isinstance(found, list) else [found]
        self._optimizers = dict(zip(self._level_names, optimizers, strict=True))
        self.levels = {name: self._level(name, optimizer) for name, optimizer in self._optimizers.items()}
        self.descent = Descent(
            list(self.levels.values()),
            self.split_batch,
            self.accumulate,
            self._step_levels,
            getattr(self.trainer.strategy, "block_backward_sync", nullcontext),
        )

    def descend_alone(self, level: str, batch: Any) -> None:
        """One step of one level on its own loss, outside of the scheme; the others stand still."""
        alone = self.levels[level]
        self.descent.descend(Objective([(alone, 1)], [alone]), batch, self.manual_backward)

    def weighted(
        self,
        terms: Mapping[str, Tensor],
        weights: Mapping[str, float | Tensor],
        notes: Mapping[str, Tensor] | None = None,
    ) -> LevelLoss:
        """The weighted sum of a level's terms, which are logged as `train/<level>/<term>`.

        Args:
            terms: Means over the part's items.
            weights: By the terms' names; 1 where there is none.
            notes: Other means, which are logged as `train/<name>`.
        """
        parts = [weights[name] * term if name in weights else term for name, term in terms.items()]
        loss = torch.stack(parts).sum() if len(parts) > 1 else parts[0]
        return LevelLoss(
            loss,
            terms={name: term.detach() for name, term in terms.items()},
            notes={name: note.detach() for name, note in (notes or {}).items()},
        )

    def observe(self, level: str, loss: LevelLoss) -> None:
        """Takes the whole batch's loss of a level before a step along it."""
        self.note_loss(loss, self._names, level)
        self._terms |= {f"train/{level}/{name}": term for name, term in loss.terms.items()}
        self._terms[f"train/{level}/loss"] = loss.value
        self.diagnostics |= loss.notes

    def _level(self, name: str, optimizer: LightningOptimizer) -> Level:
        module = self.level_modules()[name]
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        optimizer.optimizer.register_step_post_hook(lambda *_: self._note_level_step(name))

        def zero_grad() -> None:
            drop_gradients(parameters)  # the optimiser's own does as much and takes ten times as long
            self.forget(name)

        return Level(
            name,
            parameters,
            lambda batch: self.level_loss(name, batch),
            optimizer.step,
            zero_grad,
            module,
            size=partial(self.level_size, name),
            observe=partial(self.observe, name),
        )

    def _step_levels(self, levels: Sequence[Level]) -> None:
        """Steps along gradients that came from one backward pass; `after_step` where a step was made.

        Raises:
            NonFiniteLossError: As `may_step`.
            SkippedBatchError: As `may_step`.
        """
        allowed = self.may_step({level.name: level.parameters for level in levels}, self._names)
        if not allowed:
            return
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        self._stepped_levels.clear()
        with one_scale(scaler):
            for level in levels:
                if level.name in allowed:
                    level.step()
        for name in allowed:
            if name not in self._stepped_levels:
                self.note_overflow(name)

    def _note_level_step(self, level: str) -> None:
        self._stepped_levels.append(level)
        self.after_step(level)
