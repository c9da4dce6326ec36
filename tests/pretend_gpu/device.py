"""A pretend accelerator: tensors say `gpu:0`, values are computed on the CPU, and what CUDA refuses is refused.

It stands under torch's name for devices of others (PrivateUse1), which a process can give away once and never take
back: `conftest.py` runs these tests in a process of their own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretend_gpu import rules
from tests.pretend_gpu.waits import note

try:
    from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend
except ImportError:
    pytest.skip("this torch cannot have a device made in Python: 2.8 cannot", allow_module_level=True)

NAME: Final = "gpu"


class _Backend(_DummyBackendModule):
    """What torch and its callers ask of `torch.gpu`. Autocast can be switched off on it, not on."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    def manual_seed(self, seed: int) -> None:
        """Nothing: the device draws from the CPU's generator, so that its numbers are the CPU's."""

    def manual_seed_all(self, seed: int) -> None:
        """Nothing, as above."""

    def get_rng_state(self, device: Any = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        """Nothing, as above."""

    def synchronize(self, device: Any = None) -> None:
        note("synchronize")


_LIBRARY: Final[list[torch.library.Library]] = []


def _silu_backward(gradient: Tensor, values: Tensor) -> Tensor:
    """As on CPU and CUDA; for devices that it does not know, torch computes it of other operations."""
    with torch._C._AutoDispatchBelowAutograd():
        found: Tensor = torch.ops.aten.silu_backward.default(gradient, values)
    return found


def install() -> torch.device:
    """Makes the device known to torch; once in a process."""
    if not hasattr(torch, NAME):
        _setup_privateuseone_for_python_backend(NAME, _Backend())
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) is made on the host and copied
        torch.serialization.add_safe_globals([_restored])
        _LIBRARY.append(torch.library.Library("aten", "IMPL"))  # type: ignore[no-untyped-call]
        _LIBRARY[0].impl("silu_backward", _silu_backward, "AutogradPrivateUse1")  # type: ignore[no-untyped-call]
    return torch.device(NAME, 0)


class PretendTensor(Tensor):
    """A tensor of the device. `numbers` holds its values, on the CPU; only this module may look at them."""

    numbers: Tensor

    @staticmethod
    def __new__(cls: type["PretendTensor"], values: Tensor) -> "PretendTensor":
        made: PretendTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
        )
        made.numbers = values
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        """The numbers, for which the host waits once."""
        note("tolist")
        return self.numbers.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        """Refused, as for every device but the CPU."""
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            f"memory first."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        note("print")
        return f"{self.numbers!r} on {self.device}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user support the deepcopy protocol.")
        with torch.no_grad():
            copied: Tensor = self.detach().clone()
        if isinstance(self, nn.Parameter):
            copied = nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        note("save")
        made = nn.Parameter if isinstance(self, nn.Parameter) else None
        return _restored, (self.numbers.detach(), self.requires_grad, made is not None)


_lands_on: list[Any] = []
"""Where `torch.load` puts what was saved on the device; its `map_location`, while it runs."""


def _restored(values: Tensor, requires_grad: bool, parameter: bool) -> Tensor:
    """A saved tensor, back on the device that it was saved on unless `map_location` says otherwise."""
    stays = not _lands_on or _lands_on[-1] is None or torch.device(_lands_on[-1]).type == NAME
    found: Tensor = PretendTensor(values) if stays else values
    return nn.Parameter(found, requires_grad) if parameter else found.requires_grad_(requires_grad)


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation, those that make a tensor on the device among them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def present() -> Iterator[None]:
    """While this is open, the process has the device.

    Parameters stay the same objects when a module moves, as they do on CUDA (two names for one stay one), gradients are
    computed in the thread that asks for them, so that their lines are known, and `torch.load` puts tensors back on the
    device that they were saved on. Attention is computed by its formula, on the CPU too: its fused kernels round
    otherwise. Inference mode, whose tensors the device cannot follow, only takes no gradient.
    """
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    one_thread, formula = torch.autograd.set_multithreading_enabled(False), sdpa_kernel(SDPBackend.MATH)
    loading = patch.object(torch, "load", _loading(torch.load))
    try:
        with one_thread, formula, loading, patch.object(torch, "inference_mode", torch.no_grad), _Mode():  # type: ignore[no-untyped-call]
            yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)


def _loading(load: Callable[..., Any]) -> Callable[..., Any]:
    def loaded(file: Any, map_location: Any = None, *args: Any, **options: Any) -> Any:
        location = "cpu" if callable(map_location) else map_location
        on_device = location is not None and torch.device(location).type == NAME
        _lands_on.append(location)
        try:
            return load(file, "cpu" if on_device else map_location, *args, **options)
        finally:
            _lands_on.pop()

    return loaded


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = list(_tensors((args, tuple(kwargs.values()))))
    here = [tensor for tensor in tensors if isinstance(tensor, PretendTensor)]
    target = kwargs.get("device")
    asked = target is not None and torch.device(target).type == NAME
    if not here and not asked:
        return _host_only(func, args, kwargs)
    if func is torch.ops.aten._to_copy.default:
        return _copied(func, args[0], kwargs, asked or target is None)
    if func is torch.ops.aten.copy_.default:
        return _copied_into(*args, **kwargs)
    rules.refuse(
        func, args, kwargs, here, [tensor for tensor in tensors if not isinstance(tensor, PretendTensor)], NAME
    )
    for kind in rules.waits(func, args, kwargs, PretendTensor):
        note(kind)
    host = {name: _values(value) for name, value in kwargs.items()}
    if asked:
        host["device"] = torch.device("cpu")
    host.pop("pin_memory", None)
    result = func(*_values(args), **host)
    if target is not None and not asked:
        return result
    known = {id(tensor.numbers): tensor for tensor in here}
    return _wrapped(result, known)


def _host_only(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func is torch.ops.aten.is_pinned.default:
        return False
    if func is torch.ops.aten._pin_memory.default:
        return args[0].clone()
    return func(*args, **kwargs)


def _copied(func: Any, source: Tensor, kwargs: dict[str, Any], onto_device: bool) -> Tensor:
    """`Tensor.to` and its like, from one device to another or from one type to another."""
    options = {name: value for name, value in kwargs.items() if name not in ("device", "pin_memory")}
    from_device = isinstance(source, PretendTensor)
    copied: Tensor = func(_values(source), **options)
    if from_device != onto_device:
        _note_copy(from_device, kwargs.get("non_blocking", False))
    return PretendTensor(copied) if onto_device else copied


def _copied_into(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    if isinstance(source, PretendTensor) != isinstance(target, PretendTensor):
        _note_copy(isinstance(source, PretendTensor), non_blocking)
    _values(target).copy_(_values(source))
    return target


def _note_copy(from_device: bool, non_blocking: bool) -> None:
    """A copy that does not block is only asked for."""
    if not non_blocking:
        note("copy to host" if from_device else "copy to device")


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _tensors(entry)


def _values(value: Any) -> Any:
    if isinstance(value, PretendTensor):
        return value.numbers
    if isinstance(value, list | tuple):
        return type(value)([_values(entry) for entry in value])
    return value


def _wrapped(value: Any, known: dict[int, PretendTensor]) -> Any:
    """Results as tensors of the device; what an operation has changed in place stays the tensor that it was."""
    if isinstance(value, Tensor) and not isinstance(value, PretendTensor):
        return known[id(value)] if id(value) in known else PretendTensor(value)
    if isinstance(value, list | tuple):
        return type(value)([_wrapped(entry, known) for entry in value])
    return value
