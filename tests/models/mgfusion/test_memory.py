import pytest
import torch
from torch import Tensor

from ivif.models.mgfusion.config import MGFusionConfig
from ivif.models.mgfusion.memory import AUTO_CHECKPOINT_BYTES, recomputes_blocks, whole_step
from ivif.models.mgfusion.network import MGFusionNetwork

GIB = 2**30


def _kept_bytes(config: MGFusionConfig, batch: int, height: int, width: int) -> int:
    network = MGFusionNetwork(config, 16)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor.detach()  # an output would keep its own graph alive for good

    vector = torch.rand(batch, 16)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        _result = network(torch.rand(batch, 1, height, width), torch.rand(batch, 3, height, width), vector, vector)
    return sum(storage.nbytes() for address, storage in kept.items() if address not in parameters)


@pytest.mark.parametrize(
    "config",
    [
        MGFusionConfig(),
        MGFusionConfig.preset("light"),
        MGFusionConfig(blocks=1, expansion=3.0),
        MGFusionConfig(blocks=1, use_cii=False),
        MGFusionConfig(blocks=1, use_cff=False),
        MGFusionConfig(blocks=0, use_cii=False, use_cff=False),
    ],
)
def test_estimate_follows_what_autograd_keeps(config: MGFusionConfig) -> None:
    kept = _kept_bytes(config, 2, 48, 64)
    assert 1.0 < whole_step(config, 2, 48, 64) / kept < 1.25


def test_figures_of_the_presets() -> None:
    assert whole_step(MGFusionConfig(), 16, 256, 256) / GIB == pytest.approx(23.4, rel=0.03)


def test_auto_recomputes_only_large_steps() -> None:
    config = MGFusionConfig()
    assert recomputes_blocks(config, 16, 256, 256)
    assert not recomputes_blocks(config, 4, 256, 256)
    assert whole_step(config, 4, 256, 256) < AUTO_CHECKPOINT_BYTES
    for decided in (True, False):
        assert recomputes_blocks(MGFusionConfig(checkpoint_blocks=decided), 1, 8, 8) is decided
        assert recomputes_blocks(MGFusionConfig(checkpoint_blocks=decided), 64, 512, 512) is decided
