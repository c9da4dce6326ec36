"""Whose the pictures of an output folder are."""

import json
from pathlib import Path

import pytest

from ivif.callbacks.prediction_record import RECORD, claim_pictures

ONE = {"task": "MGFusionTask", "weights": "a.ckpt", "data": 'datamodules.tno.TNO {"root": "x", "seed": 0}'}
OTHER = {**ONE, "weights": "b.ckpt"}


def _claim(folder: Path, made_by: dict[str, str], *names: str, classes: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Claims pictures, writes the record, and says which weights made which pictures."""
    text = claim_pictures(folder, made_by, [folder / name for name in names], classes)
    folder.mkdir(exist_ok=True)
    (folder / RECORD).write_text(text, encoding="utf-8")
    return {one["weights"]: one["pictures"] for one in json.loads(text)["commands"]}


def test_commands_share_a_folder_where_no_picture_is_of_both(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _claim(out, ONE, "b.png", "a.png") == {"a.ckpt": ["a.png", "b.png"]}
    assert _claim(out, OTHER, "tno/a.png") == {"a.ckpt": ["a.png", "b.png"], "b.ckpt": ["tno/a.png"]}
    assert _claim(out, ONE, "b.png", "c.png") == {"a.ckpt": ["a.png", "b.png", "c.png"], "b.ckpt": ["tno/a.png"]}


def test_a_picture_of_another_command_is_refused_before_it_is_made(tmp_path: Path) -> None:
    _claim(tmp_path, ONE, "a.png", "b.png")
    before = (tmp_path / RECORD).read_bytes()
    with pytest.raises(FileExistsError, match=r"'a\.ckpt' there, 'b\.ckpt' now\): 1 of the 2 .* such as 'b\.png'"):
        claim_pictures(tmp_path, OTHER, [tmp_path / "b.png", tmp_path / "c.png"])
    assert (tmp_path / RECORD).read_bytes() == before


def test_of_the_data_only_what_differs_is_named(tmp_path: Path) -> None:
    _claim(tmp_path, ONE, "a.png")
    with pytest.raises(FileExistsError, match=r"\(data\.seed '0' there, '1' now\)"):
        claim_pictures(tmp_path, ONE | {"data": ONE["data"].replace("0", "1")}, [tmp_path / "a.png"])


def test_a_picture_of_nobody_is_refused_beside_those_of_a_command(tmp_path: Path) -> None:
    _claim(tmp_path, ONE, "a.png")
    (tmp_path / "a.png").touch()
    (tmp_path / "mine.png").touch()
    claim_pictures(tmp_path, ONE, [tmp_path / "a.png"])
    with pytest.raises(FileExistsError, match=r"'.*mine\.png' is there, but no '.*predictions\.json'"):
        claim_pictures(tmp_path, ONE, [tmp_path / "a.png", tmp_path / "mine.png"])


def test_a_record_of_before_stands_for_the_pictures_that_are_there(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(json.dumps(ONE), encoding="utf-8")
    for name in ("a.png", "tno/b.png", "boxes/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(FileExistsError, match=r"such as 'a\.png'"):
        claim_pictures(tmp_path, OTHER, [tmp_path / "a.png"])
    assert _claim(tmp_path, OTHER, "new.png") == {"a.ckpt": ["a.png", "tno/b.png"], "b.ckpt": ["new.png"]}
    assert _claim(tmp_path, ONE, "a.png", "d.png")["a.ckpt"] == ["a.png", "d.png", "tno/b.png"]


def test_one_list_of_detections_has_one_list_of_classes(tmp_path: Path) -> None:
    boxes = {"boxes": "{}"}
    _claim(tmp_path, ONE | boxes, "a.png", classes=("person", "car"))
    _claim(tmp_path, OTHER, "b.png")  # detects nothing
    _claim(tmp_path, OTHER | boxes, "c.png", classes=("person", "car"))
    with pytest.raises(FileExistsError, match=r"detections of person, car, this command detects car, person"):
        claim_pictures(tmp_path, ONE | boxes | {"seed": "1"}, [tmp_path / "d.png"], ("car", "person"))
    (tmp_path / RECORD).write_text(json.dumps(ONE | boxes), encoding="utf-8")  # of before: names no classes
    claim_pictures(tmp_path, ONE | boxes | {"data": "others"}, [tmp_path / "e.png"], ("person", "car"))
    with pytest.raises(FileExistsError, match="detections of other weights"):
        claim_pictures(tmp_path, OTHER | boxes, [tmp_path / "e.png"], ("person", "car"))
