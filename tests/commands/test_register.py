"""`data register`: pairs are warped once, with their boxes, or left as they are; a stopped call goes on."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.commands.cli import main
from ivif.commands.data.register import Options, places, register_dataset
from ivif.commands.errors import UsageError
from ivif.commands.fuse_registered import registered_picture
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.pairs.records import PairRecord
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.registration import Bend, move_boxes, warp, warp_bent
from tests.inputs import brings
from tests.refusals import refused, whole

SIZE = (192, 256)
LAYOUT = FolderLayout(labels="labels")
CLASSES = SyntheticDataset(1, SIZE, 3).classes
TO_SCENE = np.array([[1, 0, -8.0], [0, 1, 5], [0, 0, 1]])
"""What lies at (x, y) of a scene lies at (x + 8, y - 5) of the moved picture."""


def moved_scenes(root: Path, count: int = 2, turned: bool = True) -> Path:
    """Pairs with boxes, infrared of 16 bits moved by (8, -5), but for the first turned over too."""
    assert main(["data", "scenes", f"--out={root}", f"--count={count}", "--size=[192,256]", "--seed=3"]) == 0
    for number, path in enumerate(sorted((root / "ir").iterdir())):
        with Image.open(path) as image:
            picture = np.asarray(image).astype(np.uint16) * 100
        picture = np.ascontiguousarray(picture[::-1, ::-1]) if turned and number else picture
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


def test_two_folders_are_registered_and_then_fused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = moved_scenes(tmp_path / "raw"), tmp_path / "fused"
    names = sorted(path.name for path in (root / "ir").iterdir())
    line = ["fuse", str(root / "ir"), str(root / "vi"), f"--out={out}", "--register=auto", "--device=cpu"]
    assert main(line) == 0
    assert "1 of 2 pairs warped" in capsys.readouterr().out
    assert sorted(path.name for path in out.glob("*.png")) == names
    copy = tmp_path / "fused_registered"
    assert sorted(path.name for path in (copy / "ir").iterdir()) == names
    whole_name = tmp_path / "of_the_copy"
    assert main(["fuse", str(copy / "ir"), str(copy / "vi"), f"--out={whole_name}", "--device=cpu"]) == 0
    for name in names:  # what was fused is the registered copy, not the folders that were given
        assert (out / name).read_bytes() == (whole_name / name).read_bytes()


def test_a_rig_has_one_transform_also_for_pairs_that_tell_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = moved_scenes(tmp_path / "raw", 7, turned=False), tmp_path / "out"
    names = sorted(path.stem for path in (root / "ir").iterdir())
    Image.fromarray(np.full(SIZE, 500, np.uint16)).save(root / "ir" / f"{names[2]}.png")  # a lens cap
    line = ["data", "register", "--data=folder.yaml", f"--data.root={root}", f"--out={out}", "--rig=true"]
    assert main(line) == 0
    shown = capsys.readouterr().out
    assert re.search(r"One transform from [56] of 7 pairs\.", shown)
    assert "7 of 7 pairs warped" in shown
    matrix = np.array(json.loads((out / "registration.json").read_text("utf-8"))["transform"])
    for corner in ([0, 0, 1], [255, 0, 1], [255, 191, 1], [0, 191, 1]):
        place = matrix @ corner
        assert place[:2] / place[2] == pytest.approx([corner[0] + 8, corner[1] - 5], abs=1)
    for name in names:
        told = json.loads((out / "transforms" / f"{name}.json").read_text("utf-8"))
        assert told["registered"]
        assert told["transform"] == matrix.tolist()
        with Image.open(root / "ir" / f"{name}.png") as before, Image.open(out / "ir" / f"{name}.png") as after:
            assert np.array_equal(np.asarray(after), warp(np.asarray(before), matrix, SIZE))
    state = whole(out)
    assert main(line) == 0  # the record has the transform: nothing is estimated again
    assert "One transform" not in capsys.readouterr().out
    assert whole(out) == state


@brings("pairs", "`data register` of pairs in folders below", "works", "the copy keeps folders, splits and sequences")
def test_folders_below_stay_with_splits_sequences_and_labels(tmp_path: Path) -> None:
    flat, root = moved_scenes(tmp_path / "flat", turned=False), tmp_path / "raw"
    for place, path in zip(("train/a", "val/b"), sorted((flat / "vi").iterdir()), strict=True):
        for kind, ending in (("ir", ".png"), ("vi", ".png"), ("labels", ".txt")):
            (root / kind / place).mkdir(parents=True)
            (flat / kind / f"{path.stem}{ending}").rename(root / kind / place / f"001{ending}")
    reader = FolderDataset(root, layout=LAYOUT, classes=CLASSES, label_classes=CLASSES)
    out = tmp_path / "out"
    assert register_dataset(reader, out, Options()) == 0
    for kind, ending in (("ir", "png"), ("vi", "png"), ("labels", "txt"), ("transforms", "json")):
        assert (out / kind / "train" / "a" / f"001.{ending}").is_file()
        assert (out / kind / "val" / "b" / f"001.{ending}").is_file()
    again = FolderDataset(out, layout=LAYOUT, classes=CLASSES)
    assert again.names == reader.names
    assert again.names_of("val") == reader.names_of("val") == reader.names[1:]
    assert again.sequences() == reader.sequences()
    for index in range(2):
        assert len(reader.load_targets(index)["boxes"]) > 0
        assert again.load_targets(index)["boxes"] == pytest.approx(reader.load_targets(index)["boxes"], abs=0.01)
        assert again.load_targets(index)["labels"].tolist() == reader.load_targets(index)["labels"].tolist()
    with pytest.raises(UsageError, match="registered already"):
        register_dataset(
            FolderDataset(out / "ir", layout=FolderLayout("train", "../vi/train")), tmp_path / "x", Options()
        )
    record = out / "registration.json"
    record.write_text(json.dumps({k: v for k, v in json.loads(record.read_text("utf-8")).items() if k != "folders"}))
    with pytest.raises(UsageError, match="other settings"):  # begun when all files lay in one folder
        register_dataset(reader, out, Options())


def test_names_of_a_list_are_those_of_the_files(tmp_path: Path) -> None:
    def record(name: str, *key: str) -> PairRecord:
        return PairRecord(name, tmp_path, tmp_path, key=key)

    assert places([record("a_1", "a", "1"), record("b_1", "b", "1")]) == [("a", "1"), ("b", "1")]
    assert places([record("first", "a", "1"), record("b_1", "b", "1")]) == [("first",), ("b_1",)]
    assert places([record("one"), record("two")]) == [("one",), ("two",)]
    assert len({place[0] for place in places([record("x" * 300 + end) for end in "ab"])}) == 2


def test_a_bend_is_kept_with_its_pair_and_moves_picture_and_boxes(tmp_path: Path) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    assert main(["data", "scenes", f"--out={root}", "--count=2", "--size=[192,256]", "--seed=3"]) == 0
    drawn = Bend(np.random.default_rng(2).uniform(-1, 1, (2, 6, 7)), SIZE)
    change = Bend(drawn.grid * 6 / np.abs(drawn.everywhere(SIZE)).max(), SIZE)
    first, well = sorted(path.name for path in (root / "ir").iterdir())
    points = np.stack(np.meshgrid(np.arange(256.0), np.arange(192.0)), -1).reshape(-1, 2)
    back = (change.undone(points) - points).T.reshape(2, *SIZE)
    with Image.open(root / "ir" / first) as image:
        moved = warp_bent(np.asarray(image), np.eye(3), back)
    Image.fromarray(moved).save(root / "ir" / first)
    reader = FolderDataset(root, layout=LAYOUT, classes=CLASSES)
    assert register_dataset(reader, out, Options(boxes="infrared", refine="spline")) == 0

    told = [json.loads((out / "transforms" / f"{Path(name).stem}.json").read_text("utf-8")) for name in (first, well)]
    assert (told[0]["registered"], told[0]["reason"], told[0]["refined"]["kept"]) == (True, "", True)
    assert told[0]["refined"]["held_out_gain"] > 0.05
    assert (told[1]["registered"], told[1]["refined"]["kept"], "bend" in told[1]) == (False, False, False)
    assert "held out" in told[1]["refined"]["reason"]
    kept, matrix = Bend(np.array(told[0]["bend"]), SIZE), np.array(told[0]["transform"])
    with Image.open(out / "ir" / first) as image:
        assert np.array_equal(np.asarray(image), warp_bent(moved, matrix, kept.everywhere(SIZE)))
    again = FolderDataset(out, layout=LAYOUT, classes=CLASSES)
    before, after = (one.load_targets(0)["boxes"].numpy().astype(float) for one in (reader, again))
    wanted, inside = move_boxes(before, np.linalg.inv(matrix), SIZE, kept.undone)
    assert after == pytest.approx(wanted[inside], abs=0.05)
    assert np.abs(after - before[inside]).max() > 1
    with pytest.raises(UsageError, match="other settings"):
        register_dataset(reader, out, Options(boxes="infrared"))
    with pytest.raises(UsageError, match="registered already"):
        register_dataset(again, tmp_path / "twice", Options(refine="spline"))
