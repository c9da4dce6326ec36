"""Fused pictures on disk."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

from ivif.callbacks.images import panel, save_atomically
from ivif.callbacks.prediction_writer import PredictionWriter, picture_path
from ivif.files.whole import remove_partial_files
from ivif.image_ops.pictures import to_picture
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.testing.batches import MadeData, quiet_trainer


def _predict(folder: Path, grey: bool = False) -> PredictionWriter:
    writer = PredictionWriter(folder, grey)
    trainer = quiet_trainer(folder, callbacks=[writer])
    trainer.predict(ClassicFusionTask("average"), MadeData(), return_predictions=False)
    return writer


def test_pictures_have_the_stem_and_size_of_the_visible_image(tmp_path: Path) -> None:
    writer = _predict(tmp_path)
    assert writer.written == 5
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")) == [
        "made/0000.png",
        "made/0001.png",
        "made/0002.png",
        "other/0000.png",
        "other/0001.png",
    ]
    assert Image.open(tmp_path / "made" / "0000.png").size == (32, 24)
    assert Image.open(tmp_path / "other" / "0000.png").size == (41, 33)
    assert Image.open(tmp_path / "other" / "0000.png").mode == "RGB"


def test_grey_on_request(tmp_path: Path) -> None:
    _predict(tmp_path, grey=True)
    assert Image.open(tmp_path / "made" / "0000.png").mode == "L"


def test_one_dataset_needs_no_folder_of_its_own() -> None:
    assert picture_path(Path("out"), "tno", "a", several=False) == Path("out/a.png")
    assert picture_path(Path("out"), "tno", "a", several=True) == Path("out/tno/a.png")


def test_rounding_is_to_the_nearest_level() -> None:
    levels = np.asarray(to_picture(torch.tensor([[[0.0, 0.4999 / 255, 0.5001 / 255, 254.6 / 255, 1.5]]])))
    assert levels.tolist() == [[0, 0, 1, 255, 255]]


def test_a_failing_write_leaves_nothing(tmp_path: Path) -> None:
    picture = to_picture(torch.rand(3, 8, 8))
    with patch.object(Image.Image, "save", side_effect=OSError("disk full")), pytest.raises(OSError, match="disk full"):
        save_atomically(picture, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_write_leaves_is_found_later(tmp_path: Path) -> None:
    def kill(stream: object, **_: object) -> None:
        (left,) = tmp_path.iterdir()
        left.with_name(f"{left.name[:-8]}2.partial").touch()  # stays, as the file itself would if the process died here
        raise KeyboardInterrupt

    with patch.object(Image.Image, "save", side_effect=kill), pytest.raises(KeyboardInterrupt):
        save_atomically(to_picture(torch.rand(3, 8, 8)), tmp_path / f"{'x' * 250}.png")
    assert len(list(tmp_path.iterdir())) == 1
    assert len(remove_partial_files(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_write_replaces_the_older_picture(tmp_path: Path) -> None:
    save_atomically(to_picture(torch.zeros(1, 4, 4)), tmp_path / "a.png")
    save_atomically(to_picture(torch.ones(1, 4, 4)), tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).min() == 255
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_panels_show_every_picture_beside_the_others() -> None:
    picture = panel({"infrared": torch.zeros(1, 20, 40), "fused": torch.ones(3, 20, 40)}, height=20)
    pixels = np.asarray(picture)
    assert picture.size == (2 * 40 + 4, 20 + 22)
    assert pixels[-10:, :40].max() == 0
    assert pixels[-10:, 44:].min() == 255
