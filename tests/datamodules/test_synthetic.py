"""Generated scenes as a datamodule."""

import torch

from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.synthetic import SyntheticDataModule


def test_stages_have_their_lengths_and_share_no_scene() -> None:
    data = SyntheticDataModule(train_length=6, evaluation_length=3, size=(40, 48))
    names = {stage: set(data.stage_readers(stage)[0].names) for stage in ("train", "val", "test")}  # type: ignore[attr-defined]
    assert [len(names[stage]) for stage in ("train", "val", "test")] == [6, 3, 3]
    assert len(names["train"] | names["val"] | names["test"]) == 12
    assert len(data.stage_readers("all")) == 3


def test_batches_hold_pairs_boxes_mask_and_caption() -> None:
    loading = LoadingConfig(batch_size=2, num_workers=0)
    data = SyntheticDataModule(train_length=4, size=(64, 64), loading=loading, transforms=TransformConfig(crop=32))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch["infrared"].shape == (2, 1, 32, 32)
    assert batch["mask"].shape == (2, 1, 32, 32)
    assert len(batch["targets"]) == len(batch["prompt"]) == 2


def test_a_batch_on_the_cpu_is_not_copied_and_one_elsewhere_is_moved() -> None:
    loading = LoadingConfig(batch_size=2, num_workers=0)
    data = SyntheticDataModule(train_length=2, size=(40, 48), loading=loading, transforms=TransformConfig(crop=32))
    batch = next(iter(data.train_dataloader()))
    assert data.transfer_batch_to_device(batch, torch.device("cpu"), 0) is batch
    assert data.transfer_batch_to_device(batch, torch.device("meta"), 0)["visible"].is_meta
