"""What every fusion network does, whatever its task."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ivif.testing.parameters import ParametrizedTests

Changes = Mapping[str, Any]
SIZES = ((1, 1), (1, 9), (123, 77), (64, 48))
"""Heights and widths: a pixel, a line, odd, even."""


class NetworkTests(ParametrizedTests):
    """Tests of a network, built anew with equal weights for each; a subclass gives `network`, `inputs` and `loss`."""

    variants: ClassVar[Sequence[Changes]] = ({},)
    """Options of the network with which a gradient reaches every parameter."""

    sized: ClassVar[Sequence[Changes]] = ({},)
    """Options with which it takes pictures of any size."""

    halved: ClassVar[Sequence[Changes]] = ({},)
    """Options with which it computes in bfloat16."""

    recomputed: ClassVar[Sequence[Changes]] = ()
    """Options that save memory and change no number; none where the network has no such."""

    def network(self, **changes: Any) -> nn.Module:
        """A small network with the same weights at each call; on the CPU, in training mode."""
        raise NotImplementedError

    def inputs(self, count: int = 1, size: tuple[int, int] = (16, 24)) -> Sequence[Any]:
        """What the network takes of so many pairs: the same at each call with the same arguments."""
        raise NotImplementedError

    def loss(self, network: nn.Module) -> Tensor:
        """A scalar of two pairs that depends on every parameter, as in training."""
        raise NotImplementedError

    def picture(self, output: Any) -> Tensor:
        """The fused picture (B, 1 or 3, H, W) of what the network returns."""
        picture: Tensor = output if isinstance(output, Tensor) else output.fused
        return picture

    def parameters(self) -> dict[str, Sequence[Any]]:
        """All options and sizes."""
        options = {"variant": self.variants, "sized_as": self.sized, "half": self.halved, "cheaper": self.recomputed}
        return super().parameters() | options | {"size": SIZES}

    def test_takes_any_size_and_stays_in_range(self, sized_as: Changes, size: tuple[int, int]) -> None:
        network, inputs = self.network(**sized_as).eval(), self.inputs(2, size)
        picture = self.picture(network(*inputs))
        assert (len(picture), tuple(picture.shape[2:])) == (2, size)
        assert picture.shape[1] in (1, 3)
        assert 0.0 <= picture.min() <= picture.max() <= 1.0

    def test_a_gradient_reaches_every_parameter(self, variant: Changes) -> None:
        network = self.network(**variant)
        assert [name for name, found in self._gradients(network).items() if not found.any()] == []

    def test_evaluates_each_pair_by_itself(self) -> None:
        network = self.network()
        network(*self.inputs(4))  # moves running statistics
        network.eval()
        inputs = self.inputs(2)
        alone = self.picture(network(*(entry[:1] for entry in inputs)))
        torch.testing.assert_close(self.picture(network(*inputs))[:1], alone)

    def test_a_stored_state_gives_equal_pictures(self) -> None:
        network, fresh, inputs = self.network(), self.network(), self.inputs()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.1)
        network(*self.inputs(2))
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(self.picture(fresh.eval()(*inputs)), self.picture(network.eval()(*inputs)))

    def test_bfloat16_draws_float32_pictures_near_the_exact_ones(self, half: Changes) -> None:
        network, inputs = self.network(**half), self.inputs(2, (32, 32))
        with torch.autocast("cpu", torch.bfloat16):
            picture = self.picture(network(*inputs))
        assert picture.dtype == torch.float32
        parameters = [own for own in network.parameters() if own.requires_grad]
        gradients = torch.autograd.grad(picture.square().mean(), parameters, materialize_grads=True)
        assert all(found.isfinite().all() for found in gradients)
        assert (picture - self.picture(network(*inputs))).abs().max() < 0.03
        assert len(torch.unique(picture)) > 256

    def test_computes_in_double_precision_and_channels_last(self) -> None:
        network = self.network()
        network(*self.inputs(2))
        network.eval()
        inputs = self.inputs()
        doubled = [entry.double() if entry.is_floating_point() else entry for entry in inputs]
        exact = self.picture(copy.deepcopy(network).double()(*doubled))
        assert exact.dtype == torch.float64
        last = network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(self.picture(last(*inputs)).double(), exact, atol=1e-5, rtol=0.0)

    def test_recomputing_gives_equal_gradients(self, cheaper: Changes) -> None:
        networks = self.network(), self.network(**cheaper)
        kept, again = map(self._gradients, networks)
        for name, gradient in kept.items():
            torch.testing.assert_close(again[name], gradient, msg=name)
        for buffer, same in zip(networks[0].buffers(), networks[1].buffers(), strict=True):
            assert torch.equal(buffer, same)

    def _gradients(self, network: nn.Module) -> dict[str, Tensor]:
        """Of every trained parameter; zero where the loss does not depend on it."""
        trained = {name: own for name, own in network.named_parameters() if own.requires_grad}
        found = torch.autograd.grad(self.loss(network), list(trained.values()), materialize_grads=True)
        return dict(zip(trained, found, strict=True))
