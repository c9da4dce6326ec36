"""`loading.cache` in a datamodule: the same batches, decoded once."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ivif.contracts.batch import Batch
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.prompts import PromptConfig
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.msrs import MSRSDataModule
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.files.errors import CacheError
from tests.fakes import write_msrs


def _epochs(data: FusionDataModule, count: int = 2) -> list[Batch]:
    data.setup("fit")
    loader = data.train_dataloader()
    batches = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches += list(loader)
    return batches + [batch for loader in data.val_dataloader() for batch in loader]


def _msrs(root: Path, cache: str, workers: int = 0) -> MSRSDataModule:
    loading = LoadingConfig(batch_size=2, num_workers=workers, cache=cache, cache_dir=root / "cache")  # type: ignore[arg-type]
    prompts = PromptConfig(source="fine")
    return MSRSDataModule(root=root / "msrs", loading=loading, transforms=TransformConfig(crop=16), prompts=prompts)


@pytest.mark.parametrize(("cache", "workers"), [("ram", 0), ("disk", 0), ("disk", 1)])
def test_batches_are_the_same_with_a_cache(cache: str, workers: int, tmp_path: Path) -> None:
    write_msrs(tmp_path / "msrs", count=12)
    plain, own = _epochs(_msrs(tmp_path, "none")), _epochs(_msrs(tmp_path, cache, workers))
    assert len(plain) == len(own) > 4
    for expected, batch in zip(plain, own, strict=True):
        assert torch.equal(batch["visible"], expected["visible"])
        assert torch.equal(batch["infrared"], expected["infrared"])
        for targets, wanted in zip(batch["targets"], expected["targets"], strict=True):
            assert torch.equal(targets["boxes"], wanted["boxes"])
        for key in ("name", "dataset", "content_id", "prompt"):
            assert batch[key] == expected[key]
    assert len(list((tmp_path / "cache").glob("*.planes"))) == (2 if cache == "disk" else 0)


def test_every_pair_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_msrs(tmp_path / "msrs", count=12)
    data = _msrs(tmp_path, "ram")
    _epochs(data, count=1)

    def refuse(self: PairedDataset, index: int) -> None:
        raise AssertionError(f"{self} decodes pair {index} again")

    monkeypatch.setattr(PairedDataset, "__getitem__", refuse)
    assert len(_epochs(data, count=3)) > 6


def test_looking_and_testing_build_nothing(tmp_path: Path) -> None:
    write_msrs(tmp_path / "msrs", count=12)
    data = _msrs(tmp_path, "disk")
    data.setup("fit")
    data.setup("test")
    list(data.test_dataloader()[0])
    assert not (tmp_path / "cache").exists()


def test_generated_scenes_are_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = LoadingConfig(batch_size=2, num_workers=0, cache="ram")
    crop = TransformConfig(crop=32)
    data = SyntheticDataModule(train_length=4, evaluation_length=2, size=(40, 48), loading=loading, transforms=crop)
    first = _epochs(data, count=1)
    monkeypatch.setattr(SyntheticDataset, "__getitem__", lambda *_: pytest.fail("rendered again"))
    for before, after in zip(first, _epochs(data, count=1), strict=True):
        assert torch.equal(before["infrared"], after["infrared"])
        assert before["prompt"] == after["prompt"]


@pytest.mark.parametrize("processes", [1, 2])
def test_every_process_of_a_machine_has_a_copy_in_memory(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivif.datamodules.datasets.cache_buffer.free_memory", lambda _: 50_000)
    loading = LoadingConfig(batch_size=2, num_workers=0, cache="ram")
    data = SyntheticDataModule(train_length=4, size=(40, 48), loading=loading)  # 4 * 4 * 40 * 48 = 30 720 bytes
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    trainer = SimpleNamespace(
        num_devices=processes, world_size=2, global_rank=0, strategy=strategy, lightning_module=None
    )
    data.trainer = trainer  # type: ignore[assignment]
    data.setup("fit")
    if processes == 1:
        assert len(data.train_dataloader()) == 1
    else:
        with pytest.raises(CacheError, match=r"need 0\.0 MB of memory for each of 2 processes and 0\.1 MB are free"):
            data.train_dataloader()


def test_an_unknown_cache_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loading\.cache is 'gpu'"):
        LoadingConfig(cache="gpu")  # type: ignore[arg-type]
