"""The pretend device itself: what it refuses, what it counts, that its numbers are the CPU's."""

import copy
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.pretend_gpu.waits import counted, table


class Pair(NamedTuple):
    """A tensor of the device and one of the host."""

    here: Any
    host: Any


Case = Callable[[Pair], Any]

MIXED = "Expected all tensors to be on the same device"
REFUSED: dict[str, tuple[Case, str]] = {
    "sum": (lambda x: x.here + x.host, MIXED),
    "product of matrices": (lambda x: x.here @ x.host, MIXED),
    "convolution": (lambda x: F.conv2d(x.here[None, None], x.host[None, None]), MIXED),
    "where": (lambda x: torch.where(x.here > 0, x.here, x.host), MIXED),
    "concatenation": (lambda x: torch.cat([x.here, x.host]), MIXED),
    "stacked numbers": (lambda x: torch.stack([x.here[0, 0], x.host[0, 0]]), MIXED),
    "in place on the host": (lambda x: x.host.add_(x.here), MIXED),
    "number in place on the host": (lambda x: x.host[0, 0].add_(x.here[0, 0]), MIXED),
    "set on the host": (lambda x: x.host.index_put_((x.here > 0,), x.here[0, 0]), "indices should be"),
    "host indexed by the device": (lambda x: x.host[x.here > 0], "indices should be"),
    "gathered by the host": (lambda x: x.here.gather(0, x.host.long()), MIXED),
    "set to values of the host": (lambda x: x.here.index_put_((x.here > 0,), x.host.flatten()), MIXED),
    "generator": (
        lambda x: torch.rand(3, device=x.here.device, generator=torch.Generator()),
        "device type for generator",
    ),
    "generator in place": (lambda x: x.here.normal_(generator=torch.Generator()), "device type for generator"),
    "numpy": (lambda x: x.here.numpy(), "can't convert gpu:0 device type tensor to numpy"),
    "array": (lambda x: np.asarray(x.here), "can't convert gpu:0 device type tensor to numpy"),
    "loss": (lambda x: F.mse_loss(x.here, x.host), MIXED),
    "module": (lambda x: nn.Linear(4, 4)(x.here), MIXED),
    "shape in place": (lambda x: x.here.t_(), "cannot follow"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_cuda_refuses(name: str, gpu: torch.device) -> None:
    case, message = REFUSED[name]
    with pytest.raises((RuntimeError, TypeError, NotImplementedError), match=message):
        case(Pair(torch.rand(4, 4, device=gpu), torch.rand(4, 4)))


TAKEN: dict[str, Case] = {
    "number of the host": lambda x: x.here + torch.tensor(2.0),
    "number of the host first": lambda x: torch.tensor(2.0) * x.here,
    "where with a number": lambda x: torch.where(x.here > 0.5, x.here, torch.tensor(0.0)),
    "positions of the host": lambda x: x.here[torch.tensor([0, 2])],
    "mask of the host": lambda x: x.here[x.host > 0.5],
    "number set by the host": lambda x: x.here.index_put_((x.here > 0.5,), torch.tensor(1.0)),
    "copy from the host": lambda x: x.here.copy_(x.host),
    "copy to the host": lambda x: x.host.copy_(x.here),
    "pinned": lambda x: x.host.pin_memory().to(x.here.device, non_blocking=True),
}


@pytest.mark.parametrize("name", TAKEN)
def test_it_takes_what_cuda_takes(name: str, gpu: torch.device) -> None:
    host = torch.arange(16.0).reshape(4, 4) / 16
    found = TAKEN[name](Pair(host.to(gpu), host.clone()))
    assert torch.equal(found.cpu(), TAKEN[name](Pair(host.clone(), host.clone())))


COUNTED: dict[str, tuple[Case, dict[str, int]]] = {
    "nothing": (lambda x: (x.here * 2 + 1).softmax(-1).mean(), {}),
    "item": (lambda x: x.here[0, 0].item(), {"item": 1}),
    "float": (lambda x: float(x.here[0, 0]), {"item": 1}),
    "truth": (lambda x: bool(x.here.sum() > 0), {"item": 1}),
    "length of a range": (lambda x: torch.arange(x.here[0, 0] + 3), {"item": 1}),
    "end of a slice": (lambda x: x.here[: x.here.sum().long()], {"item": 1}),
    "list": (lambda x: x.here.tolist(), {"tolist": 1}),
    "text": (lambda x: repr(x.here), {"print": 1}),
    "to the host": (lambda x: x.here.cpu(), {"copy to host": 1}),
    "to the host, not waited for": (lambda x: x.here.to("cpu", non_blocking=True), {}),
    "to the device": (lambda x: x.host.to(x.here.device), {"copy to device": 1}),
    "to the device, not waited for": (lambda x: x.host.to(x.here.device, non_blocking=True), {}),
    "to another type": (lambda x: x.here.double(), {}),
    "made of numbers": (lambda x: torch.tensor([1.0, 2.0], device=x.here.device), {"copy to device": 1}),
    "new of numbers": (lambda x: x.here.new_tensor([1.0, 2.0]), {"copy to device": 1}),
    "filled": (lambda x: torch.full((2,), 3.0, device=x.here.device), {}),
    "copied over": (lambda x: x.here.copy_(x.host), {"copy to device": 1}),
    "copied over, not waited for": (lambda x: x.here.copy_(x.host, non_blocking=True), {}),
    "list of positions": (lambda x: x.here[[0, 2]], {"copy to device": 1}),
    "positions of the host": (lambda x: x.here[torch.tensor([0, 2])], {"copy to device": 1}),
    "mask": (lambda x: x.here[x.here > 0.5], {"mask index": 1}),
    "number at a mask": (lambda x: x.here.__setitem__(x.here > 0.5, 0.0), {}),
    "tensor at a mask": (lambda x: x.here.__setitem__(x.here > 0.5, x.here.sum()), {"mask index": 1}),
    "positions": (lambda x: (x.here > 0.5).nonzero(), {"nonzero": 1}),
    "one-sided where": (lambda x: torch.where(x.here > 0.5), {"nonzero": 1}),
    "selected": (lambda x: x.here.masked_select(x.here > 0.5), {"mask index": 1}),
    "equal": (lambda x: torch.equal(x.here, x.here), {"equal": 1}),
    "close": (lambda x: torch.allclose(x.here, x.here), {"equal": 1}),
    "unique": (lambda x: x.here.unique(), {"unique": 1}),
    "bins": (lambda x: x.here.long().flatten().bincount(minlength=3), {"bincount": 1}),
    "repeats": (lambda x: x.here[0].repeat_interleave(x.here[0].long()), {"repeats": 1}),
    "repeats of known length": (lambda x: x.here[0].repeat_interleave(x.here[0].long(), output_size=0), {}),
    "saved": (lambda x: torch.save({"a": x.here}, io.BytesIO()), {"save": 1}),
}


@pytest.mark.parametrize("name", COUNTED)
def test_it_counts_what_the_host_waits_for(name: str, gpu: torch.device) -> None:
    case, expected = COUNTED[name]
    pair = Pair((torch.arange(16.0) / 17).reshape(4, 4).to(gpu), torch.ones(4, 4))
    with counted() as found:
        case(pair)
    kinds: dict[str, int] = {}
    for wait, count in found.items():
        kinds[wait.kind] = kinds.get(wait.kind, 0) + count
    assert kinds == expected, table(found)


def test_counting_ends_and_names_the_line(gpu: torch.device) -> None:
    """The innermost line of the repository's own code, and the library's line that it called."""
    from ivif.models.detection.postprocess import Letterbox, suppress

    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 0.0, 4.0, 4.0]], device=gpu)
    with counted() as outer, counted() as found:
        Letterbox(1.0, 1.0, 0, 0, 8, 8).to_network(boxes)
        suppress(boxes, torch.ones(2, 1, device=gpu), 0.1, 0.5, 10)
    boxes.sum().item()
    assert outer == found
    assert {(wait.kind, wait.site.partition(":")[0]) for wait in found} >= {
        ("copy to device", "models/detection/postprocess.py"),
        ("nms", "models/detection/postprocess.py"),
    }
    assert any(wait.library.startswith("torchvision/ops/boxes.py:") for wait in found)


def _small_network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.GELU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(256, 3)
    )


def _trained(network: nn.Module, device: str | torch.device) -> dict[str, Tensor]:
    network.to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    torch.manual_seed(9)
    for step in range(3):
        images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(step)).to(device)
        loss = F.cross_entropy(network(images), torch.tensor([0, 1, 2, 1], device=device))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return {name: value.cpu() for name, value in network.state_dict().items()}


def test_training_gives_the_very_numbers_of_the_cpu(gpu: torch.device) -> None:
    on_host, on_device = _trained(_small_network(), "cpu"), _trained(_small_network(), gpu)
    assert on_host.keys() == on_device.keys()
    for name, value in on_host.items():
        assert torch.equal(value, on_device[name]), name


def test_a_module_moves_as_one(gpu: torch.device) -> None:
    """Parameters stay the same objects, shared ones stay shared, buffers follow; and all come back."""
    network = nn.ModuleDict({"first": nn.Linear(4, 4), "second": nn.Linear(4, 4), "norm": nn.BatchNorm1d(4)})
    first, second = network["first"], network["second"]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    second.weight = first.weight
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = first.weight.detach().clone()
    network.to(gpu)
    assert first.weight is second.weight
    assert {value.device for value in network.state_dict().values()} == {gpu}
    assert all(isinstance(own, nn.Parameter) and own.requires_grad for own in network.parameters())
    first(torch.ones(1, 4, device=gpu)).sum().backward()
    optimizer.step()
    network.cpu()
    assert torch.equal(first.weight, before - 0.1)


def test_copies_are_apart_and_on_the_device(gpu: torch.device) -> None:
    network = nn.Linear(2, 2).to(gpu)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        network.weight.zero_()
    assert copied.weight.device == gpu
    assert isinstance(copied.weight, nn.Parameter)
    assert copied.weight.cpu().abs().sum() > 0


def test_views_and_changes_in_place_reach_the_same_values(gpu: torch.device) -> None:
    whole = torch.zeros(4, 4, device=gpu)
    row = whole[1]
    row += 1
    whole[:, 0].fill_(3)
    assert whole.cpu()[1].tolist() == [3, 1, 1, 1]
    assert row.cpu().tolist() == [3, 1, 1, 1]


def test_gradients_pass_the_transfer(gpu: torch.device) -> None:
    host = torch.rand(3, requires_grad=True)
    torch.autograd.backward((host.to(gpu) ** 2).sum().cpu())
    assert host.grad is not None
    assert host.grad.device.type == "cpu"
    assert torch.equal(host.grad, 2 * host.detach())


@pytest.mark.parametrize(("location", "lands_on"), [(None, "gpu"), ("cpu", "cpu"), ("gpu:0", "gpu")])
def test_a_file_lands_where_it_was_saved_unless_told(location: str | None, lands_on: str, gpu: torch.device) -> None:
    file = io.BytesIO()
    state = {"weight": nn.Parameter(torch.arange(3.0).to(gpu)), "count": torch.tensor(4, device=gpu)}
    torch.save(state, file)
    file.seek(0)
    loaded = torch.load(file, map_location=location, weights_only=True)
    assert {value.device.type for value in loaded.values()} == {lands_on}
    assert loaded["weight"].cpu().tolist() == [0, 1, 2]
    assert isinstance(loaded["weight"], nn.Parameter)


def test_autocast_can_be_switched_off(gpu: torch.device) -> None:
    with torch.autocast(gpu.type, enabled=False):
        assert (torch.rand(2, 2, device=gpu) @ torch.rand(2, 2, device=gpu)).dtype == torch.float32


def test_random_numbers_are_the_cpus(gpu: torch.device) -> None:
    torch.manual_seed(1)
    on_host = torch.randn(5), torch.rand(3), torch.randperm(6)
    torch.manual_seed(1)
    on_device = torch.randn(5, device=gpu), torch.rand(3, device=gpu), torch.randperm(6, device=gpu)
    assert all(torch.equal(one, other.cpu()) for one, other in zip(on_host, on_device, strict=True))
