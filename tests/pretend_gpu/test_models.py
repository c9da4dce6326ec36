"""Networks of others on the pretend device: detectors, the captioner, CLIP with its cache of texts."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from ivif.models.captioner import Captioner
from ivif.models.clip import build_image_text_encoder
from ivif.models.detection import Detector, DetectorConfig, build_detector
from ivif.models.prompt_examples import NEGATIVE_KINDS, DegradationConfig, negative_examples, positive_examples
from tests.tiny_coca import tiny_coca

DETECTORS = {
    "yolov5n": DetectorConfig("yolov5n", image_size=64),
    "fcos_resnet50": DetectorConfig("fcos_resnet50", image_size=64, max_detections=20),
    "ssdlite320": DetectorConfig("ssdlite320", max_detections=20),
}


def _detector(name: str) -> Detector:
    torch.manual_seed(2)
    return build_detector(DETECTORS[name], ("person", "car"))


def _trained(name: str, device: str | torch.device) -> dict[str, Tensor]:
    """A step's losses and gradients, and what is found afterwards."""
    detector = _detector(name).to(device).train()
    images = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(3)).to(device)
    boxes = torch.tensor([[4.0, 4.0, 30.0, 40.0], [20.0, 10.0, 60.0, 44.0]], device=device)
    targets = [
        {"boxes": boxes, "labels": torch.tensor([0, 1], device=device)},
        {
            "boxes": boxes[:0],
            "labels": torch.zeros(0, dtype=torch.int64, device=device),
            "ignored": {"boxes": boxes[1:], "labels": torch.tensor([1], device=device)},
        },
    ]
    terms = detector.loss(images, targets)  # type: ignore[arg-type]
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    found = detector.eval().predict(images)
    values = dict(terms)
    values |= {name: own.grad for name, own in detector.named_parameters() if own.grad is not None}
    values |= {f"{number} {key}": value for number, one in enumerate(found) for key, value in one.items()}  # type: ignore[misc]
    assert {value.device.type for value in values.values()} == {torch.device(device).type}
    return {name: value.detach().cpu() for name, value in values.items()}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_learns_and_finds_as_on_the_cpu(name: str, gpu: torch.device) -> None:
    ours, reference = _trained(name, gpu), _trained(name, "cpu")
    assert ours.keys() == reference.keys()
    assert [key for key, value in ours.items() if not torch.equal(value, reference[key])] == []
    assert len(ours["0 boxes"]) > 0


def test_the_captioner_says_the_same(gpu: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, 32, 32, generator=generator), torch.rand(1, 40, 60, generator=generator) * 0.2]
    sentences = [
        Captioner(tiny_coca(), "coca_tiny:test").to(device).caption([image.to(device) for image in images])
        for device in (gpu, torch.device("cpu"))
    ]
    assert sentences[0] == sentences[1]
    assert all(sentences[0])


def test_clip_encodes_and_keeps_texts_where_it_is(gpu: torch.device, tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = build_image_text_encoder("random-tiny")
    texts = ["a car at night", "", "a man on a street"]
    images = torch.rand(2, 1, 40, 40)
    reference = [*encoder.encode_text_tokens(texts), encoder.encode_text(texts), encoder.encode_image(images)]
    encoder.to(gpu)
    for _ in range(2):  # the second time out of the cache
        ours = [*encoder.encode_text_tokens(texts), encoder.encode_text(texts), encoder.encode_image(images.to(gpu))]
        assert {value.device for value in ours} == {gpu}
        assert all(torch.equal(one.cpu(), other) for one, other in zip(ours, reference, strict=True))


@pytest.mark.parametrize("kind", NEGATIVE_KINDS)
def test_examples_for_prompts_are_the_cpus(kind: str, gpu: torch.device) -> None:
    made = []
    for device in (gpu, torch.device("cpu")):
        planes = torch.rand(2, 3, 1, 48, 48, generator=torch.Generator().manual_seed(5)).to(device)
        positives, generator = positive_examples(planes[0], planes[1]), torch.Generator().manual_seed(6)
        negatives = negative_examples(planes[0], planes[1], positives, generator, [kind], DegradationConfig())
        assert {positives.device, negatives.device} == {device}
        made.append((positives.cpu(), negatives.cpu()))
    assert all(torch.equal(one, other) for one, other in zip(*made, strict=True))
