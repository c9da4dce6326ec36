"""What the detector sees of a mosaic: every box lies on its object, gradients reach each picture."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ivif.contracts.batch import Targets
from ivif.lightning_modules.detector_augmentation import DetectorAugmentation
from ivif.lightning_modules.detector_training import DetectorPart, DetectorTrainingConfig
from ivif.models.detection import DetectorConfig
from ivif.testing.batches import make_batch

HEIGHT, WIDTH = 48, 64
GEOMETRY = DetectorAugmentation(mosaic=1.0, scale=0.5, translate=0.1)


def _pictures(count: int = 6) -> tuple[Tensor, list[Targets]]:
    """Dark pictures, each with one bright square of its own red, green and blue."""
    images = torch.zeros(count, 3, HEIGHT, WIDTH)
    targets: list[Targets] = []
    for index in range(count):
        left, top = 4 + 6 * index, 6 + 4 * index
        color = torch.tensor([0.5 + 0.08 * index, 0.9 - 0.1 * index, 0.7])
        images[index, :, top : top + 16, left : left + 20] = color.view(3, 1, 1)
        box = torch.tensor([[left, top, left + 20, top + 16]], dtype=torch.float32)
        targets.append({"boxes": box, "labels": torch.tensor([index])})
    return images, targets


@pytest.mark.parametrize("augmentation", [GEOMETRY, DetectorAugmentation(scale=0.5, translate=0.3)])
def test_every_box_lies_on_its_object(augmentation: DetectorAugmentation) -> None:
    torch.manual_seed(0)
    images, targets = _pictures()
    seen, whole = 0, 0
    for _ in range(20):
        changed, found = augmentation(images, targets)
        assert changed.shape == images.shape
        for image, objects in zip(changed, found, strict=True):
            for (left, top, right, bottom), label in zip(objects["boxes"].tolist(), objects["labels"], strict=True):
                assert 0 <= left < right <= WIDTH
                assert 0 <= top < bottom <= HEIGHT
                if min(right - left, bottom - top) < 8:
                    continue  # its middle is mixed with what lies around it
                color = image[:, int((top + bottom) / 2), int((left + right) / 2)]
                index = int(label)
                torch.testing.assert_close(color, torch.tensor([0.5 + 0.08 * index, 0.9 - 0.1 * index, 0.7]))
                seen += 1
            whole += len(objects["boxes"]) > 1
    assert seen > 100
    assert bool(whole) == bool(augmentation.mosaic)


def test_what_is_not_seen_is_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = _pictures(1)
    targets[0]["boxes"] = torch.tensor([[0.0, 0.0, 3.0, 3.0], [20.0, 20.0, 40.0, 40.0]])
    targets[0]["labels"] = torch.tensor([0, 1])
    targets[0]["ignored"] = {"boxes": torch.tensor([[20.0, 20.0, 40.0, 40.0]]), "labels": torch.tensor([0])}
    monkeypatch.setattr("ivif.lightning_modules.detector_augmentation._uniform", lambda: 0.1)
    (found,) = DetectorAugmentation(scale=0.5)(images, targets)[1]  # .6 of the size, in the middle: 1.8 pixels are lost
    assert found["labels"].tolist() == [1]
    scaled = (round(HEIGHT * 0.6), round(WIDTH * 0.6))
    top, left = round((HEIGHT - scaled[0]) / 2), round((WIDTH - scaled[1]) / 2)
    corners = [left + 20 * scaled[1] / WIDTH, top + 20 * scaled[0] / HEIGHT]
    corners += [left + 40 * scaled[1] / WIDTH, top + 40 * scaled[0] / HEIGHT]
    torch.testing.assert_close(found["boxes"], torch.tensor([corners]), atol=0.51, rtol=0)
    torch.testing.assert_close(found["ignored"]["boxes"], found["boxes"])


def test_gradients_reach_every_picture_that_is_shown() -> None:
    torch.manual_seed(1)
    targets = _pictures(4)[1]
    images = torch.rand(4, 3, HEIGHT, WIDTH).mul(0.5).requires_grad_()
    every = DetectorAugmentation(mosaic=1.0, scale=0.5, translate=0.1, hue=0.015, saturation=0.7, brightness=0.4)
    sum(every(images, targets)[0].square().sum() for _ in range(4)).backward()  # type: ignore[union-attr]
    assert images.grad is not None
    assert (images.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_colour_keeps_what_is_grey_and_its_own_kind_of_change() -> None:
    torch.manual_seed(2)
    grey = torch.rand(4, 1, 8, 8).expand(-1, 3, -1, -1)
    empty: list[Targets] = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}] * 4
    torch.testing.assert_close(DetectorAugmentation(hue=1.0, saturation=1.0)(grey, empty)[0], grey)
    brighter = DetectorAugmentation(brightness=0.4)(0.5 * grey, empty)[0] / (0.5 * grey)
    gains = brighter.amax(dim=(1, 2, 3))
    torch.testing.assert_close(brighter, gains.view(4, 1, 1, 1).expand_as(brighter), rtol=1e-4, atol=1e-4)
    assert gains.min() > 0.6
    assert 0.1 < gains.max() - gains.min() < 0.8


def test_the_defaults_change_nothing_and_draw_nothing() -> None:
    images, targets = _pictures()
    before = torch.get_rng_state()
    same, found = DetectorAugmentation()(images, targets)
    assert same is images
    assert found == targets
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("wrong", [{"mosaic": 1.1}, {"scale": 1.0}, {"hue": -0.1}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"training\.augmentation\.{next(iter(wrong))} is .*\[0, 1"):
        DetectorAugmentation(**wrong)


def test_a_detector_learns_from_augmented_pictures_and_is_asked_about_plain_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = DetectorPart(
        DetectorConfig(image_size=64), ("thing",), DetectorTrainingConfig(average_decay=0, augmentation=GEOMETRY)
    )
    batch = make_batch(2, (64, 64))
    batch["targets"] = [{"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([0])}] * 2
    seen: list[Tensor] = []
    own = part.detector.counted_loss

    def noted(images: Tensor, targets: Any) -> Any:
        seen.append(images)
        return own(images, targets)

    monkeypatch.setattr(part.detector, "counted_loss", noted)
    torch.manual_seed(0)
    part.loss(batch["visible"], batch)
    part.terms(batch["visible"], batch)
    assert not torch.equal(seen[0], batch["visible"])
    assert torch.equal(seen[1], batch["visible"])
