"""Prompts of a run: encoded once, in batches before its first step, put together once for each batch."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ivif.bilevel import BilevelConfig
from ivif.contracts.batch import Batch
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.datasets.prompts import PromptConfig
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detection_sources import DetectionSource
from ivif.lightning_modules.level_batch import CropConfig
from ivif.lightning_modules.text_states import PromptEncoder, remember_prompts
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models import clip_encoder
from ivif.models.clip import ImageTextEncoder
from ivif.models.detection import DetectorConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.testing.batches import make_batch, quiet_trainer

TINY = TextToPixelsConfig(4, (1,), 8, width=16, heads=2, blocks=1, codebook_entries=8, decoder_channels=(8,))
PAIRS = 6
TURNED = 4 * PAIRS
"""Prompts of the file in training: flips and turns put a car that is on the left at any of four sides."""


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Texts in each call of the text tower."""
    seen: list[int] = []
    original = ImageTextEncoder._token_states

    def counted(self: ImageTextEncoder, embeddings: Tensor) -> Tensor:
        seen.append(len(embeddings))
        return original(self, embeddings)

    monkeypatch.setattr(ImageTextEncoder, "_token_states", counted)
    return seen


def _epoch(encoder: PromptEncoder, prompts: list[str], seed: int) -> Iterator[Tensor]:
    order = torch.randperm(len(prompts), generator=torch.Generator().manual_seed(seed)).tolist()
    for start in range(0, len(order), 10):
        batch = make_batch()
        batch["prompt"] = [prompts[index] for index in order[start : start + 10]]
        states, mask = encoder(batch)
        assert states.shape[:2] == mask.shape
        yield states


@pytest.mark.parametrize("known", [True, False])
def test_more_prompts_than_a_thousand_are_encoded_once_in_three_epochs(known: bool, encoded: list[int]) -> None:
    encoder, prompts = PromptEncoder("random-tiny"), [f"scene number {i} with {i % 7} cars" for i in range(1100)]
    encoder.remember(prompts if known else [], len(prompts))
    assert sum(encoded) == (1100 if known else 0)
    assert len(encoded) < 30
    for epoch in range(3):
        assert len(list(_epoch(encoder, prompts, epoch))) == 110
        assert sum(encoded) == 1100


def _data(folder: Path, source: str = "file") -> SyntheticDataModule:
    path = folder / "prompts.jsonl"
    data = SyntheticDataModule(
        train_length=PAIRS,
        evaluation_length=2,
        size=(64, 64),
        loading=LoadingConfig(batch_size=2, num_workers=0),
        transforms=TransformConfig(crop=None, resize=(64, 64)),
    )
    names = [name for stage in ("train", "val", "test") for name in data.stage_readers(stage)[0].names]  # type: ignore[attr-defined]
    lines = [{"dataset": "synthetic", "name": name, "prompt": f"a car on the left, {name}"} for name in names]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    data.prompts = PromptConfig(source, path if source == "file" else None)  # type: ignore[arg-type]
    data._readers.clear()
    return data


def _task(**changes: Any) -> TextToPixelsTask:
    torch.manual_seed(7)
    options: dict[str, Any] = {
        "clip": "random-tiny",
        "network": TINY,
        "detector": DetectorConfig("yolov5n", image_size=None),
        "bilevel": BilevelConfig(unit="step", warmup=0, lower_steps=1, value_steps=1),
        "crops": CropConfig(32, 2),
        "classes": SyntheticDataModule().classes,
    }
    return TextToPixelsTask(**(options | changes))


def _at_each_call(task: Any, method: str, encoded: list[int], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts have been encoded when a method is called."""
    seen: list[int] = []
    original = getattr(task, method)

    def noted(batch: Batch) -> Any:
        seen.append(sum(encoded))
        return original(batch)

    monkeypatch.setattr(task, method, noted)
    return seen


@pytest.mark.parametrize(("source", "before"), [("file", TURNED + 2), ("coarse", 1), ("fine", 0), ("auto", 0)])
def test_a_run_encodes_what_it_knows_before_its_first_step_and_nothing_twice(
    source: str, before: int, encoded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_encoder, "TEXT_CACHE_ENTRIES", 0)
    task = _task(detector=None)
    asked: set[str] = set()
    forward = PromptEncoder.forward

    def noted(self: PromptEncoder, batch: Batch) -> Any:
        asked.update(batch["prompt"])
        return forward(self, batch)

    monkeypatch.setattr(PromptEncoder, "forward", noted)
    at_step = _at_each_call(task, "level_batch", encoded, monkeypatch)
    trainer = quiet_trainer(tmp_path, max_epochs=3, limit_val_batches=2, num_sanity_val_steps=0)
    trainer.fit(task, _data(tmp_path, source))
    assert at_step[0] == before
    assert len(at_step) == 3 * PAIRS // 2
    assert sum(encoded) == (len(asked) if before == 0 else before)
    assert len(asked) > PAIRS or source == "coarse"


def test_a_run_with_remembered_prompts_is_the_run_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for remembered in (True, False):
        if not remembered:
            monkeypatch.setattr(PromptEncoder, "remember", lambda *_: None)
        task = _task(detector=None)
        quiet_trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(task, _data(tmp_path))
        runs.append(task.state_dict())
    for name, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_other_commands_encode_their_own_pairs_alone(
    stage: str, encoded: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, trainer = _task(detector=None), quiet_trainer(tmp_path)
    seen = _at_each_call(task, "fuse", encoded, monkeypatch)
    getattr(trainer, stage)(task, _data(tmp_path))
    assert set(seen) == {2}
    assert sum(encoded) == 2


def test_the_prompts_of_a_frozen_fusion_are_remembered_too(encoded: list[int], tmp_path: Path) -> None:
    fusion, trainer = _task(detector=None), quiet_trainer(tmp_path)
    trainer.strategy.connect(fusion)
    fusion.trainer = trainer
    trainer.save_checkpoint(tmp_path / "fusion.ckpt", weights_only=True)
    task = DetectionTask(["person"], DetectionSource("checkpoint", tmp_path / "fusion.ckpt"))
    remember_prompts(task, _data(tmp_path), ("train",))
    assert sum(encoded) == TURNED
    remember_prompts(task, None, ("train",))


def test_the_states_of_a_batch_are_put_together_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both levels, the value function's copy and the teacher see the same frames and crops."""
    built: list[int] = []
    original = ImageTextEncoder.encode_text_tokens

    def noted(self: ImageTextEncoder, texts: list[str]) -> tuple[Tensor, Tensor]:
        built.append(len(texts))
        return original(self, texts)

    monkeypatch.setattr(ImageTextEncoder, "encode_text_tokens", noted)
    quiet_trainer(tmp_path, max_epochs=1, limit_val_batches=0).fit(_task(), _data(tmp_path))
    assert sorted(built) == sorted([2, 4] * (PAIRS // 2))


def test_states_follow_a_move_and_serve_training_after_evaluation() -> None:
    encoder, batch = PromptEncoder("random-tiny"), make_batch()
    batch["prompt"] = ["a road", " "]
    with torch.inference_mode():
        encoder(batch)
    states, mask = encoder(batch)
    scale = torch.ones(32, requires_grad=True)
    (states * scale).sum().backward()  # refused for tensors that were made in inference mode
    assert mask.any(dim=1).tolist() == [True, False]
    assert encoder.encoder is not None
    with torch.no_grad():
        encoder.encoder.clip.positional_embedding.mul_(2)
    encoder.float()
    assert not torch.equal(encoder(batch)[0], states)
