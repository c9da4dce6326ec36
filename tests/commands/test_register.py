"""`data register`: pairs are warped once, with their boxes, or left as they are; a stopped call goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.commands.cli import main
from ivif.commands.data.register import Options, register_dataset
from ivif.commands.errors import UsageError
from ivif.commands.fuse_registered import registered_picture
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.registration import warp
from tests.refusals import refused, whole

SIZE = (192, 256)
LAYOUT = FolderLayout(labels="labels")
CLASSES = SyntheticDataset(1, SIZE, 3).classes
TO_SCENE = np.array([[1, 0, -8.0], [0, 1, 5], [0, 0, 1]])
"""What lies at (x, y) of a scene lies at (x + 8, y - 5) of the moved picture."""


def moved_scenes(root: Path) -> Path:
    """Two pairs with boxes, infrared of 16 bits moved by (8, -5), that of the second turned over too."""
    assert main(["data", "scenes", f"--out={root}", "--count=2", "--size=[192,256]", "--seed=3"]) == 0
    for turn, path in enumerate(sorted((root / "ir").iterdir())):
        with Image.open(path) as image:
            picture = np.asarray(image).astype(np.uint16) * 100
        picture = np.ascontiguousarray(picture[::-1, ::-1]) if turn else picture
        Image.fromarray(warp(picture, TO_SCENE, SIZE)).save(path)
    return root


def test_pairs_are_warped_with_their_boxes_or_left_and_never_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = FolderDataset(moved_scenes(tmp_path / "raw"), layout=LAYOUT, classes=CLASSES)
    out = tmp_path / "out"
    assert register_dataset(reader, out, Options(boxes="infrared")) == 0
    shown = capsys.readouterr().out
    assert "1 of 2 pairs warped" in shown
    assert f"left as it is: {reader.names[1]}: " in shown
    told = [json.loads((out / "transforms" / f"{name}.json").read_text("utf-8")) for name in reader.names]
    assert [one["registered"] for one in told] == [True, False]
    middle = np.array(told[0]["transform"]) @ [128, 96, 1]
    assert middle[:2] / middle[2] == pytest.approx([136, 91], abs=1)
    again = FolderDataset(out, layout=LAYOUT, classes=CLASSES)
    assert again.names == reader.names
    with Image.open(next((out / "ir").glob(f"{reader.names[0]}.*"))) as image:
        assert image.mode.startswith("I")
        assert np.asarray(image).max() > 5000  # all 16 bits
    for index, shift in ((0, [-8, 5, -8, 5]), (1, [0, 0, 0, 0])):
        before, after = reader.load_targets(index)["boxes"], again.load_targets(index)["boxes"]
        inner = (before[:, 0] > 20) & (before[:, 1] > 20) & (before[:, 2] < 236) & (before[:, 3] < 172)
        assert inner.any()
        for box in before[inner].numpy() + np.array(shift):
            assert np.abs(after.numpy() - box).max(1).min() < 2.5
    with pytest.raises(UsageError, match="registered already"):
        register_dataset(again, tmp_path / "twice", Options())
    with pytest.raises(UsageError, match="other settings"):
        register_dataset(reader, out, Options(boxes="visible"))

    (out / "transforms" / f"{reader.names[1]}.json").unlink()  # as if it had been stopped before this pair's record
    state = whole(out / "vi")[f"{reader.names[0]}.png"]
    assert register_dataset(reader, out, Options(boxes="infrared")) == 0
    assert whole(out / "vi")[f"{reader.names[0]}.png"] == state
    assert json.loads((out / "transforms" / f"{reader.names[1]}.json").read_text("utf-8")) == told[1]


def test_the_command_refuses_a_folder_of_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "raw"
    assert main(["data", "scenes", f"--out={root}", "--count=2", "--size=[48,64]"]) == 0
    line = ["data", "register", "--data=folder.yaml", f"--data.root={root}"]
    refused([*line, f"--out={root}"], capsys, "was not made by this command")
    refused([*line, f"--out={tmp_path / 'out'}", "--rig=true"], capsys, "0 of 2 pairs")
    assert not (tmp_path / "out").exists()


def test_fuse_registers_first_where_that_can_be_trusted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = moved_scenes(tmp_path / "raw")
    names = sorted(path.name for path in (root / "ir").iterdir())
    moved, plain = (registered_picture(root / "ir" / name, root / "vi" / name) for name in names)
    shown = capsys.readouterr().out
    assert "Registered: infrared moved by 9." in shown
    assert "Not registered: " in shown
    assert plain == root / "ir" / names[1]
    assert isinstance(moved, np.ndarray)
    with Image.open(root / "ir" / names[0]) as image:
        before = np.asarray(image)
    assert moved.dtype == before.dtype
    assert np.abs(moved[40:-40, 40:-40] - before[35:-45, 48:-32].astype(float)).mean() < 1000
    line = ["fuse", str(root / "ir" / names[0]), str(root / "vi" / names[0]), f"--out={tmp_path / 'fused.png'}"]
    assert main([*line, "--register=auto", "--thermal_range=minmax", "--device=cpu"]) == 0
    assert "Registered: " in capsys.readouterr().out
