"""`main.py report grid`: the figure of chosen pairs and methods."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import ivif
from ivif.commands.errors import UsageError
from ivif.commands.report import grid
from ivif.commands.report.command import main
from ivif.commands.report.grid_picture import Row, draw
from ivif.contracts.run_files import LAST
from ivif.files.released import read_released
from ivif.weights import find_weights

BOX = (8, 4, 24, 12)


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def figure(tmp_path: Path) -> dict[str, object]:
    for name in ("00012", "two"):
        _write(tmp_path / "ir" / f"{name}.png", np.full((24, 32), 90, np.uint8))
        for folder, level in (("vi", 60), ("other", 200)):
            _write(tmp_path / folder / f"{name}.png", np.full((24, 32, 3), level, np.uint8))
    _write(tmp_path / "small" / "00012.png", np.zeros((12, 16, 3), np.uint8))
    sources = {"infrared": str(tmp_path / "ir"), "visible": str(tmp_path / "vi")}
    return {**sources, "methods": {"Other": str(tmp_path / "other")}, "pairs": {"00012": [list(BOX)]}}


def _run(tmp_path: Path, figure: dict[str, object], *options: str) -> int:
    (tmp_path / "figure.yaml").write_text(yaml.safe_dump(figure, sort_keys=False))
    return main(["grid", str(tmp_path / "figure.yaml"), "--dpi", "100", *options])


def test_each_column_shows_its_picture_and_the_part_in_the_box() -> None:
    pictures = list(torch.rand(3, 1, 3, 24, 32, generator=torch.Generator().manual_seed(0)))
    drawn = draw(["a", "b", "c"], [Row("pair", pictures, [BOX, (0, 0, 4, 4)])], ["red", "lime"], width=5.0)
    shown = [np.asarray(axes.images[0].get_array()) for axes in drawn.axes]
    assert len(shown) == 3 * 3
    for index, picture in enumerate(pictures):
        pixels = picture[0].permute(1, 2, 0).numpy()
        assert np.array_equal(shown[3 * index], pixels)
        assert np.array_equal(shown[3 * index + 1], pixels[4:12, 8:24])
        assert np.array_equal(shown[3 * index + 2], pixels[:4, :4])
    whole, wide, square = drawn.axes[:3]
    assert [patch.get_edgecolor() for patch in whole.patches] == [to_rgba("red"), to_rgba("lime")]
    (frame, _) = whole.patches
    assert isinstance(frame, Rectangle)
    assert frame.get_bbox().extents == pytest.approx((7.5, 3.5, 23.5, 11.5))
    assert wide.spines["left"].get_edgecolor() == to_rgba("red")
    places = [axes.get_position() for axes in (whole, wide, square)]
    inches = [place.width * 5.0 / (place.height * drawn.get_figheight()) for place in places]
    assert inches == pytest.approx([32 / 24, 2.0, 1.0])
    assert places[1].height == pytest.approx(places[2].height)
    assert places[1].y1 < places[0].y0
    assert all(place.x0 >= 0 and place.x1 <= 1 and place.y0 >= 0 and place.y1 <= 1 for place in places)


def test_both_files_are_written_and_other_files_are_kept(tmp_path: Path, figure: dict[str, object]) -> None:
    assert _run(tmp_path, figure) == 0
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    with Image.open(tmp_path / "figure.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).reshape(-1, 3)
    for level in (60, 90, 200):
        assert (pixels == level).all(axis=1).mean() > 0.1
    assert _run(tmp_path, figure) == 0  # over its own
    _write(tmp_path / "figure.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(UsageError, match=r"figure\.png' is there, and is no report"):
        _run(tmp_path, figure)


@pytest.fixture
def networks(tmp_path: Path) -> dict[str, str]:
    """One network by its name, another as the folder of a run."""
    last = tmp_path / "run" / LAST
    last.parent.mkdir(parents=True)
    torch.save(read_released(find_weights("text-to-pixels-light")), last)
    return {"Name": "mgfusion-light", "Run": str(tmp_path / "run")}


def test_networks_stand_among_folders_with_what_they_make_of_each_pair(
    tmp_path: Path, figure: dict[str, object], networks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = np.random.default_rng(0)
    for name in ("00012", "two"):
        _write(tmp_path / "ir" / f"{name}.png", draws.integers(0, 256, (24, 32), np.uint8))
        _write(tmp_path / "vi" / f"{name}.png", draws.integers(0, 256, (24, 32, 3), np.uint8))
    drawn: list[Figure] = []
    monkeypatch.setattr(grid, "save_figure", lambda each, *_: drawn.append(each))
    methods = {"Name": networks["Name"], "Other": str(tmp_path / "other")} | networks
    assert _run(tmp_path, figure | {"methods": methods, "pairs": {"two": [], "00012": []}}, "--device", "cpu") == 0
    cells = [np.asarray(axes.images[0].get_array()) for axes in drawn[0].axes]
    assert len(cells) == 2 * 5
    loaded = {title: ivif.load(name, "cpu") for title, name in networks.items()}
    for row, name in enumerate(("two", "00012")):
        infrared, visible = (tmp_path / folder / f"{name}.png" for folder in ("ir", "vi"))
        shown = dict(zip(methods, cells[5 * row + 2 : 5 * row + 5], strict=True))
        assert (shown.pop("Other") == np.float32(200 / 255)).all()
        for title, cell in shown.items():
            fused = np.asarray(loaded[title](infrared, visible))
            assert np.array_equal(np.round(cell * 255), fused), title
        assert np.abs(shown["Run"] - shown["Name"]).mean() > 0.01


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pairs": {12: []}}, r"pairs: YAML takes a name for 12\. Write it in quotes"),
        ({"pairs": {"absent": []}}, r"no pair 'absent' in .*: 00012, two"),
        ({"pairs": {"00012": [[8, 4, 40, 12]]}}, r"00012: the box \[8, 4, 40, 12\] does not lie in .* 32x24"),
        ({"pairs": {"00012": [[1, 2, 3]]}}, r"figure\.yaml'.*pairs"),
        ({"pairs": {"00012": [list(BOX)] * 5}}, r"a pair has 5 boxes, and there are 4 colors"),
        ({"colors": ["rde"]}, r"'rde' is no colour"),
        ({"metods": {}}, r"figure\.yaml'.*metods"),
        ({"methods": None}, r"methods must be a mapping"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, figure: dict[str, object], changed: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=f"(?s){message}"):
        _run(tmp_path, figure | changed)


def test_missing_and_smaller_pictures_are_named(tmp_path: Path, figure: dict[str, object]) -> None:
    figure["methods"] = {"Small": str(tmp_path / "small")}
    with pytest.raises(UsageError, match=r"00012\.png' is 16x12, and its pair 32x24"):
        _run(tmp_path, figure)
    with pytest.raises(UsageError, match="Small has no picture of 'two'"):
        _run(tmp_path, figure | {"pairs": {"two": []}})
