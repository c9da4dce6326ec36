"""`data check`: what it counts, what it finds wrong, the contact sheet."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor

from ivif.commands.data.check import check
from ivif.commands.data.contact_sheet import COLORS, THUMBNAIL, Entry, draw_contact_sheet, evenly, to_image
from ivif.commands.data.inspection import inspect, kind_of
from ivif.commands.errors import UsageError
from ivif.contracts.batch import Sample
from ivif.datamodules.datasets.base import ReadingConfig
from ivif.datamodules.datasets.m3fd import M3FD
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.roadscene import RoadScene
from tests.fakes import Faults, write_m3fd, write_msrs, write_roadscene
from tests.inputs import brings


def run_check(stages: dict[str, list[M3FD | MSRS | RoadScene]], out: Path) -> tuple[int, str]:
    """Exit code and what was printed."""
    stream = io.StringIO()
    code = check(stages, out, Console(file=stream, width=140))
    return code, stream.getvalue()


def test_complete_data_pass_with_counts_sizes_classes_and_a_sheet(tmp_path: Path) -> None:
    dataset = M3FD(write_m3fd(tmp_path / "m3fd", count=8, size=(40, 48)))
    names = dataset.names
    code, text = run_check(
        {"train": [dataset.select(names[:6])], "test": [dataset.select(names[6:])]}, tmp_path / "out"
    )
    assert code == 0
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["train", "m3fd", "6", "0", "48x40", "grey", "as", "RGB", "8", "bit", "RGB", "8", "bit"] in rows
    assert [row[2:5] for row in rows if row[:2] == ["test", "m3fd"] and row[2] == "People"] == [["People", "1", "1"]]
    assert [row[2:5] for row in rows if row[:2] == ["test", "m3fd"] and row[2] == "Bus"] == [["Bus", "0", "0"]]
    assert "8 pairs checked, no problems" in text
    assert "8 pairs checked, no problems" in (tmp_path / "out" / "report.txt").read_text()
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        assert sheet.width > 500


def test_every_broken_file_is_listed_and_the_others_are_still_checked(tmp_path: Path) -> None:
    root = write_m3fd(tmp_path / "m3fd", count=5)
    (root / "Vis" / "00001.png").write_bytes(b"")
    truncated = root / "Ir" / "00001.png"
    truncated.write_bytes(truncated.read_bytes()[:200])
    (root / "Ir" / "00003.png").write_text("no image")
    label = root / "Annotation" / "00002.xml"
    label.write_text(label.read_text().replace("Bus", "zebra"))
    code, text = run_check({"train": [M3FD(root)]}, tmp_path / "out")
    assert code == 1
    problems = [line for line in text.splitlines() if line.startswith("PROBLEM")]
    assert len(problems) == 4
    for file in ("Vis/00001.png", "Ir/00001.png", "Ir/00003.png", "Annotation/00002.xml"):
        assert sum(file in line for line in problems) == 1
    assert any("zebra" in line for line in problems)
    assert "5 pairs checked, 4 problem(s)" in text
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


@brings(
    "options", "`data check` of several datasets", "works", "a contact sheet of each, `contact_sheet_<dataset>.png`"
)
def test_every_dataset_has_a_contact_sheet_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stages: dict[str, list[M3FD | MSRS | RoadScene]] = {
        "train": [
            M3FD(write_m3fd(tmp_path / "m3fd", count=5)),
            RoadScene(write_roadscene(tmp_path / "roads", count=2)),
        ],
        "test": [RoadScene(write_roadscene(tmp_path / "others", count=1, seed=9))],
    }
    _, text = run_check(stages, out)
    sheets = [out / "contact_sheet_m3fd.png", out / "contact_sheet_roadscene.png"]
    assert f"Contact sheet: {sheets[0]}, {sheets[1]}" in text
    assert {path.name for path in out.iterdir()} == {"report.txt", *(path.name for path in sheets)}
    rows = [Image.open(sheet).height // (THUMBNAIL[1] + 20) for sheet in sheets]
    assert rows == [2, 1]  # five pairs of one, three of the other, in rows of three
    sheets[1].write_text("notes of the user")
    with pytest.raises(UsageError, match="contact_sheet_roadscene"):
        run_check(stages, out)


def test_an_unreadable_dataset_gives_no_sheet_but_a_report(tmp_path: Path) -> None:
    root = write_roadscene(tmp_path / "roadscene", count=1, raw=False, faults=Faults(not_an_image=True))
    code, text = run_check({"test": [RoadScene(root)]}, tmp_path / "out")
    assert code == 1
    assert "No contact sheet" in text


def test_the_same_picture_in_train_and_test_is_leakage_even_in_another_format(tmp_path: Path) -> None:
    root = write_msrs(tmp_path / "msrs")
    source = root / "train" / "vi" / "00002D.png"
    copy = root / "test" / "vi" / "00102N.bmp"
    copy.with_suffix(".png").unlink()
    Image.open(source).save(copy)
    code, text = run_check({"train": [MSRS(root, "train")], "test": [MSRS(root, "test")]}, tmp_path / "out")
    leaks = [line for line in text.splitlines() if "Leakage" in line]
    assert code == 1
    assert len(leaks) == 1
    assert str(source) in leaks[0]
    assert str(copy) in leaks[0]


def test_validation_may_be_the_test_list_but_it_is_said(tmp_path: Path) -> None:
    dataset = RoadScene(write_roadscene(tmp_path / "roadscene", raw=False))
    train, held_out = dataset.select(dataset.names[:2]), dataset.select(dataset.names[2:])
    code, text = run_check({"train": [train], "val": [held_out], "test": [held_out]}, tmp_path / "out")
    assert code == 0
    assert "val roadscene and test roadscene share 4 images" in text


@pytest.mark.parametrize("strict", [False, True])
def test_files_without_partner_are_listed_and_fail_only_when_strict(tmp_path: Path, strict: bool) -> None:
    root = write_roadscene(tmp_path / "roadscene", raw=False, faults=Faults(missing_infrared=True))
    dataset = RoadScene(root)
    dataset.reading = ReadingConfig(strict=strict)
    code, text = run_check({"test": [dataset]}, tmp_path / "out")
    assert code == int(strict)
    lines = [line for line in text.splitlines() if "has no infrared partner" in line]
    assert len(lines) == 1
    assert lines[0].startswith("PROBLEM" if strict else "note")
    assert "FLIR_00009.jpg" in lines[0]


def test_no_pair_at_all_is_a_problem(tmp_path: Path) -> None:
    code, text = run_check({}, tmp_path / "out")
    assert code == 1
    assert "no pair in any stage" in text


def test_16_bit_and_resized_infrared_are_named(tmp_path: Path) -> None:
    root = write_msrs(tmp_path / "msrs", faults=Faults(thermal_16_bit=True, infrared_scale=0.5))
    code, text = run_check({"train": [MSRS(root, "train")]}, tmp_path / "out")
    assert code == 0
    assert "grey 16 bit" in text
    assert "infrared of 3 pair(s) is resized" in text


class Generated(torch.utils.data.Dataset[Sample]):
    """Pairs without files, the third the same as the first."""

    dataset_name = "generated"
    classes = ("person",)

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        generator = torch.Generator().manual_seed(index % 2)
        infrared = torch.rand((1, 8, 9), generator=generator)
        visible = torch.rand((3, 8, 9), generator=generator)
        boxes, labels = torch.tensor([[1.0, 1.0, 5.0, 5.0]]), torch.tensor([0])
        targets = {"boxes": boxes, "labels": labels}
        name = f"scene{index}"
        return {
            "infrared": infrared,
            "visible": visible,
            "name": name,
            "dataset": "generated",
            "content_id": name,
            "targets": targets,  # type: ignore[typeddict-item]
        }


def test_generated_pairs_are_checked_through_their_samples() -> None:
    reports = list(inspect(Generated()))
    assert [report.name for report in reports] == ["scene0", "scene1", "scene2"]
    assert reports[0].infrared.digest == reports[2].infrared.digest != reports[1].infrared.digest
    assert (reports[0].visible.size, reports[0].visible.kind) == ((8, 9), "RGB float")
    assert reports[0].targets is not None


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (torch.zeros(4, 5, dtype=torch.uint8), "grey 8 bit"),
        (torch.zeros(4, 5, 3, dtype=torch.uint8), "grey as RGB 8 bit"),
        (torch.arange(60, dtype=torch.uint8).reshape(4, 5, 3), "RGB 8 bit"),
        (torch.zeros(4, 5, dtype=torch.uint16), "grey 16 bit"),
    ],
)
def test_kinds_of_image_are_told_apart(pixels: Tensor, kind: str) -> None:
    assert kind_of(pixels.numpy()) == kind


def test_sampled_positions_are_spread_evenly() -> None:
    assert evenly(3, 5) == [0, 1, 2]
    assert evenly(10, 1) == [5]
    assert evenly(9, 3) == [0, 4, 8]
    assert evenly(0, 3) == []


def test_the_sheet_shows_infrared_left_visible_right_and_the_boxes(tmp_path: Path) -> None:
    sample = Generated()[0]
    sample["infrared"] = torch.zeros((1, 96, 128), dtype=torch.uint8)
    sample["visible"] = torch.zeros((3, 96, 128), dtype=torch.uint8)
    sample["visible"][2] = 200
    sample["targets"]["boxes"] = torch.tensor([[20.0, 20.0, 60.0, 60.0]])
    path = tmp_path / "sheet.png"
    draw_contact_sheet([Entry("test/one", sample, ("person",))], path)
    sheet = Image.open(path).convert("RGB")
    left, top = 8, 8 + 18
    assert sheet.getpixel((left + 10, top + 10)) == (0, 0, 0)
    assert sheet.getpixel((left + 256 + 4 + 10, top + 10)) == (0, 0, 200)
    color = tuple(int(COLORS[0][index : index + 2], 16) for index in (1, 3, 5))
    assert sheet.getpixel((left + 2 * 20, top + 2 * 40)) == color
    with pytest.raises(ValueError, match="at least one"):
        draw_contact_sheet([], path)


def test_a_plane_becomes_a_picture_of_the_same_values() -> None:
    picture = to_image(torch.full((1, 2, 3), 0.5))
    assert picture.size == (3, 2)
    assert picture.getpixel((0, 0)) == (128, 128, 128)
