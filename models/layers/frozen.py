"""Frozen parts: networks that are used but never trained, and that stay out of checkpoints.

`FrozenModule` is for pretrained encoders that come from elsewhere (CLIP): a checkpoint stores their identity, not their
weights. `freeze` alone is for copies that belong to the run (a teacher), whose weights a checkpoint keeps.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import torch
from torch import Tensor, nn

from ivif.files.errors import UserError

FROZEN_PARTS_KEY: Final = "frozen_parts"
"""Where a checkpoint stores `{name of the part: its identity}`."""

_SAME_CONFIGURATION: Final = (
    "Load it with the configuration that it was trained with (config.yaml in its run folder, above checkpoints/)."
)

ModuleType = TypeVar("ModuleType", bound=nn.Module)


class CheckpointMismatchError(UserError, RuntimeError):
    """A checkpoint lacks trained weights of the module, or has weights that the module does not know."""


class FrozenPartMismatchError(UserError, RuntimeError):
    """A checkpoint was made with another frozen encoder than the one of this run."""


def freeze(module: ModuleType) -> ModuleType:
    """Puts a module into eval mode, its parameters without gradient; gradients still flow through it. Returns it."""
    return module.eval().requires_grad_(False)


class FrozenModule(nn.Module):
    """A module that stays in eval mode whatever its parent does; `FrozenPartsMixin` keeps it out of checkpoints."""

    @property
    def identity(self) -> str:
        """Name and hash of the weights, equal in every process that has the same ones."""
        raise NotImplementedError(f"{type(self).__name__} must define `identity`: name and hash of its weights.")

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002 - the parent's wish is what is refused
        """Stays in eval mode: BatchNorm statistics and dropout of a frozen part never change."""
        return super().train(False)


def frozen_parts(module: nn.Module) -> dict[str, FrozenModule]:
    """The outermost `FrozenModule`s inside a module, by their dotted name."""
    found: dict[str, FrozenModule] = {}
    for name, child in module.named_modules():
        if isinstance(child, FrozenModule) and name and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = child
    return found


def strip_frozen(state_dict: Mapping[str, Any], prefixes: Sequence[str]) -> dict[str, Any]:
    """A state dict without the entries below the prefixes (each with its final dot, such as `clip.`)."""
    return {key: value for key, value in state_dict.items() if not key.startswith(tuple(prefixes))}


class FrozenPartsMixin(nn.Module):
    """Keeps every `FrozenModule` inside a module out of its state dict, and still loads strictly.

    Put it before the base class: `class Task(FrozenPartsMixin, LightningModule)`. The checkpoint hooks have Lightning's
    names and call on to the base class where it has them.

    The other ways lose weights or devices: `strict_loading=False` accepts a checkpoint that lost trained weights, and
    an encoder hidden in a list no longer follows `.to(device)`.
    """

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The trained part of the state."""
        state: dict[str, Any] = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", "")
        frozen = tuple(f"{prefix}{name}." for name in frozen_parts(self))
        # In place: a parent module passes its own dictionary down and ignores what is returned.
        for key in [key for key in state if key.startswith(frozen)]:
            del state[key]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Loads the trained part; weights that a checkpoint holds for a frozen part never overwrite it.

        Raises:
            CheckpointMismatchError: If `strict` and any trained entry is missing, unknown or of another shape, or a
                parameter holds NaN or infinity; nothing is changed then.
        """
        trained = strip_frozen(state_dict, [f"{name}." for name in frozen_parts(self)])
        expected = self.state_dict()
        missing = sorted(key for key in expected if key not in trained)
        unknown = sorted(key for key in trained if key not in expected)
        if strict and (missing or unknown):
            found = [
                f"it {verb} {_first(keys)}" for verb, keys in (("lacks", missing), ("has unknown", unknown)) if keys
            ]
            raise CheckpointMismatchError(
                f"The checkpoint does not fit {type(self).__name__}: {' and '.join(found)}. {_SAME_CONFIGURATION}"
            )
        resized = [
            f"{key} {tuple(trained[key].shape)} there, {tuple(value.shape)} here"
            for key, value in expected.items()
            if key in trained and trained[key].shape != value.shape
        ]
        if resized:
            raise CheckpointMismatchError(
                f"The checkpoint does not fit {type(self).__name__}: other shapes, {_first(resized)}. "
                f"{_SAME_CONFIGURATION}"
            )
        _refuse_not_finite(self, trained)
        keys = super().load_state_dict(trained, strict=False, assign=assign)
        keys.missing_keys[:] = missing  # the frozen parts are not missing
        return keys

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Stores the identity of each frozen part under `FROZEN_PARTS_KEY`."""
        _call_base(super(), "on_save_checkpoint", checkpoint)
        checkpoint[FROZEN_PARTS_KEY] = {name: part.identity for name, part in frozen_parts(self).items()}

    def depends_on(self, part: str) -> bool:  # noqa: ARG002 - for those who override it
        """Whether what a checkpoint is loaded for needs the frozen part of this dotted name."""
        return True

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint that was made with other frozen parts.

        Raises:
            FrozenPartMismatchError: If the identities differ, or the checkpoint does not name them; names both.
        """
        present = {name: part.identity for name, part in frozen_parts(self).items() if self.depends_on(name)}
        stored = {name: own for name, own in checkpoint.get(FROZEN_PARTS_KEY, {}).items() if self.depends_on(name)}
        if stored != present:
            raise FrozenPartMismatchError(
                f"The checkpoint was trained with {_listed(stored)}, but this run has {_listed(present)}. Trained "
                f"weights only fit the encoder they were trained with: configure that one, or train again with this."
            )
        _call_base(super(), "on_load_checkpoint", checkpoint)


def _refuse_not_finite(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    parameters = [name for name, _ in module.named_parameters() if name in state]
    if broken := [name for name in parameters if not torch.isfinite(state[name]).all()]:
        raise CheckpointMismatchError(
            f"The checkpoint holds NaN or infinity in {_first(broken)}: its run had diverged. Take an earlier one."
        )


def _call_base(base: Any, hook: str, checkpoint: dict[str, Any]) -> None:
    if hasattr(base, hook):
        getattr(base, hook)(checkpoint)


def _first(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return ", ".join(keys[:5]) + more


def _listed(identities: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {identity}" for name, identity in sorted(identities.items())) or "no frozen encoder"
