"""Run by `test_synchronised_statistics.py`: two processes on one GPU normalise by the statistics of both batches."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from ivif.models.text_to_pixels.extractor import MultiLevelExtractor


def make_network() -> nn.Module:
    """The extractor of From Text to Pixels, with BatchNorm after every convolution."""
    torch.manual_seed(0)
    return MultiLevelExtractor(4, (1, 2)).to("cuda")


def make_images() -> Tensor:
    """Four images; those of the second process are brighter."""
    images = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    return torch.cat([images[:2], 2 * images[2:]]).to("cuda")


def train(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The gradients of one step, and the statistics after it."""
    network(images).square().mean().backward()
    gradients = {
        f"gradient of {name}": value.grad for name, value in network.named_parameters() if value.grad is not None
    }
    values = gradients | dict(network.named_buffers())
    return {name.replace("module.", ""): value.cpu() for name, value in values.items()}


def work(rank: int, folder: str, synchronised: bool) -> None:
    """One of two processes."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    network = make_network()
    if synchronised:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    shared = DistributedDataParallel(network)
    torch.save(train(shared, make_images()[2 * rank : 2 * rank + 2]), f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    torch.save(train(make_network(), make_images()), f"{sys.argv[1]}/joined.pt")
    spawn(work, (sys.argv[1], sys.argv[2] == "synchronised"), nprocs=2)  # type: ignore[no-untyped-call]
