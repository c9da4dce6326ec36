"""Counters of a run that the host reads at every step without waiting for a device."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class HostCountsMixin(nn.Module):
    """Keeps whole numbers on the host, and in the state dict as the int64 tensors that buffers would be.

    A buffer follows its module to the GPU, and each look at it waits until the GPU has done all that it was asked to.
    Put the mixin before the base class. Processes of a run count alike by themselves.
    """

    host_counts: ClassVar[tuple[str, ...]]
    """Names of the attributes, which are of type int."""

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({f"{prefix}{name}": torch.tensor(getattr(self, name)) for name in self.host_counts})

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        _metadata, strict, missing, unexpected, _errors = args
        super()._load_from_state_dict(state_dict, prefix, *args)
        keys = {f"{prefix}{name}": name for name in self.host_counts}
        for key, name in keys.items():
            if key in state_dict:
                setattr(self, name, int(state_dict[key]))
            elif strict:
                missing.append(key)
        unexpected[:] = [key for key in unexpected if key not in keys]
