"""ultralytics puts functions of its own in place of others'; readers and checkpoints must not notice."""

import inspect
from pathlib import Path

import pytest
import torch
from PIL import Image, UnidentifiedImageError

from ivif.models.detection import DetectorConfig, build_detector


def test_pictures_and_checkpoints_go_through_the_original_functions(tmp_path: Path) -> None:
    build_detector(DetectorConfig("yolov5n"), ["person"])
    assert inspect.getmodule(Image.open).__name__ == "PIL.Image"  # type: ignore[union-attr]
    assert inspect.getmodule(torch.save).__name__ == "torch.serialization"  # type: ignore[union-attr]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "broken.png")
