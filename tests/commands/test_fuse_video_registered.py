"""`fuse --register` of videos: two cameras that are screwed together, or not."""

import weakref
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ivif
from ivif.commands import fuse_registered_video
from ivif.commands.cli import main
from ivif.commands.fuse_registered_video import Rig, rig_of, spread_pairs
from ivif.contracts.batch import plane_to_float
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.image_ops.color import luma
from ivif.inference import Fuser
from ivif.inference.video import Footage
from ivif.inference.video.footage import Frame
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.registration import Registration, register, warp
from ivif.registration.geometry import Matrix, Plane, Size, corner_distance
from tests.inputs import brings
from tests.refusals import refused
from tests.videos import Pixels, read_video, write_video

SIZE = (192, 256)
RATE, COUNT = 10.0, 10
SHIFT = (8, -5)
KNOWN = np.array([[1, 0, 8.0], [0, 1, -5], [0, 0, 1]])
"""What lies at (x, y) of a visible frame lies at (x + 8, y - 5) of the infrared one."""

Clip = tuple[Path, Path]


@pytest.fixture(autouse=True)
def average(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks take long to load; what they fuse is looked at elsewhere."""

    def load(name: str, device: str, thermal_range: ThermalRange, **_: Any) -> Fuser:
        return Fuser(ClassicFusionTask("average"), thermal_range)

    monkeypatch.setattr(ivif, "load", load)


def frames(count: int, shift: tuple[int, int]) -> Iterator[tuple[Pixels, Pixels]]:
    """Infrared and visible frames of a camera that pans over a generated scene, with noise of both sensors."""
    sample = SyntheticDataset(4, (256, 384), seed=3)[0]
    infrared, visible = sample["infrared"][0].numpy(), sample["visible"].permute(1, 2, 0).numpy()
    random = np.random.default_rng(0)
    for number in range(count):
        x, y = 20 + 2 * number, 20
        warm = infrared[y - shift[1] :, x - shift[0] :][: SIZE[0], : SIZE[1]]
        seen = visible[y:, x:][: SIZE[0], : SIZE[1]]
        noisy = (np.clip(one + random.normal(0, 6, one.shape), 0, 255).astype(np.uint8) for one in (warm, seen))
        yield next(noisy), next(noisy)


def clip(folder: Path, count: int = COUNT, shift: tuple[int, int] = SHIFT) -> Clip:
    infrared, visible = zip(*frames(count, shift), strict=True)
    return write_video(folder / "ir.mkv", infrared, RATE), write_video(folder / "vi.mkv", visible, RATE)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return clip(tmp_path_factory.mktemp("moved"))


def aligned_error(video: Path, videos: Clip) -> float:
    """Mean distance, in grey levels, of a fused video's luma from the average of the two as they would lie aligned."""
    apart = []
    for fused, warm, seen in zip(*(read_video(path)[1] for path in (video, *videos)), strict=True):
        there = np.s_[20:-20, 20:-20]
        lumas = [luma(plane_to_float(_planes(one))[None])[0, 0].numpy() * 255 for one in (fused, warm, seen)]
        wanted = (warp(lumas[1].astype(np.float32), KNOWN, SIZE) + lumas[2]) / 2
        apart.append(float(np.abs(lumas[0] - wanted)[there].mean()))
    return float(np.mean(apart))


def _planes(pixels: Pixels) -> Any:
    import torch

    return torch.from_numpy(pixels).permute(2, 0, 1)


def test_a_rig_has_one_transform_that_is_right_within_a_pixel(
    moved: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []

    def remember(*given: Any) -> Rig:
        found.append(rig_of(*given))
        return found[0]

    monkeypatch.setattr(fuse_registered_video, "rig_of", remember)
    plain, out = tmp_path / "plain.mkv", tmp_path / "fused.mkv"
    line = ["fuse", *map(str, moved)]
    assert main([*line, f"--out={plain}"]) == 0
    assert main([*line, f"--out={out}", "--register=auto"]) == 0
    assert found[0].matrix is not None
    assert corner_distance(found[0].matrix, KNOWN, SIZE) < 1
    shown = capsys.readouterr().out
    assert f"Registered: one transform from {COUNT} of {COUNT} pairs of frames; infrared moved by 9." in shown
    assert shown.index("Registered: ") < shown.index(f"Fused video: {out}")  # before hours of fusing
    assert len(read_video(out)[1]) == COUNT
    assert aligned_error(out, moved) < 2 < aligned_error(plain, moved)


def test_a_transform_of_each_frame_is_right_and_still(
    moved: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, shown = list[Matrix](), list[Matrix]()

    def estimate(infrared: Plane, visible: Plane) -> Registration:
        found = register(infrared, visible)
        raw.append(found.matrix)
        return found

    def move(infrared: Plane, matrix: Matrix, size: Size) -> Plane:
        shown.append(matrix)
        return warp(infrared, matrix, size)

    monkeypatch.setattr(fuse_registered_video, "register", estimate)
    monkeypatch.setattr(fuse_registered_video, "warp", move)
    out = tmp_path / "fused.mkv"
    assert main(["fuse", *map(str, moved), f"--out={out}", "--register=each"]) == 0
    assert f"Registered: {COUNT} of {COUNT} frames told a transform." in capsys.readouterr().out
    assert len(shown) == COUNT
    assert all(corner_distance(matrix, KNOWN, SIZE) < 2 for matrix in shown)
    movement, before = ([corner_distance(*two, SIZE) for two in pairwise(one)] for one in (shown, raw))
    assert max(movement) < 0.25
    assert np.mean(movement) < np.mean(before) / 2
    assert aligned_error(out, moved) < 2


WELL = "it lies well as it is: edges would agree little better (0.50 to 0.51)"
STRANGE = "two halves of the picture disagree by 9.0 % of the diagonal"


@pytest.mark.parametrize(
    ("refusals", "shifts", "reason"),
    [
        ([WELL] * 4 + [""] * 2, [8] * 6, "the videos lie well as they are."),
        ([STRANGE] * 6, [8] * 6, "0 of 6 pairs of frames told a transform, and 5 are needed. If they lie well"),
        ([""] * 3, [8] * 3, "3 of 3 pairs of frames told a transform, and 5 are needed."),
        ([""] * 6, [-20, -20, -20, 20, 20, 20], "6 of 6 pairs of frames told a transform, and not one and the same."),
    ],
)
def test_what_tells_no_transform_stays_as_it_is(
    refusals: list[str], shifts: list[int], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    told = [
        Registration(np.array([[1, 0, shift], [0, 1, 0], [0, 0, 1.0]]), refused, 8.0, 0.2, 0.5, 0.1, 0.2)
        for refused, shift in zip(refusals, shifts, strict=True)
    ]
    monkeypatch.setattr(fuse_registered_video, "register", lambda *_, left=iter(told): next(left))
    videos = clip(tmp_path, len(told))
    outs = tmp_path / "plain.mkv", tmp_path / "fused.mkv"
    for out, more in zip(outs, ([], ["--register=auto"]), strict=True):
        assert main(["fuse", *map(str, videos), f"--out={out}", *more]) == 0
    assert f"Not registered: {reason}" in capsys.readouterr().out
    plain, fused = (np.stack(read_video(out)[1]) for out in outs)
    assert np.array_equal(plain, fused)


def test_frames_are_spread_over_the_common_time_and_not_held(tmp_path: Path) -> None:
    alive: list[weakref.ref[Any]] = []

    class Long(Footage):
        def frames(self) -> Iterator[Frame]:
            for number in range(self.count or 0):
                pixels = np.zeros((4, 6, 1 if self.infrared else 3), np.uint8)
                alive.append(weakref.ref(pixels))
                yield Frame(self.start + number / 10, pixels)

    infrared = Long(tmp_path, True, (4, 6), Fraction(10), 5.0, 105.0, 1000)
    visible = Long(tmp_path, False, (4, 6), Fraction(10), 0.0, 90.0, 900)
    times = []
    for pair in spread_pairs(infrared, visible, 0.0, count=10):
        times.append(pair.time)
        assert sum(one() is not None for one in alive) < 8
    assert times == pytest.approx(5 + 85 * (np.arange(10) + 0.5) / 10, abs=0.11)
    endless = Long(tmp_path, False, (4, 6), Fraction(10), 0.0, None, 900)
    assert [pair.time for pair in spread_pairs(infrared, endless, 0.0, count=4)] == pytest.approx(
        [5, 6, 7, 8], abs=0.11
    )
    few = Long(tmp_path, False, (4, 6), Fraction(10), 6.0, 6.3, 3)
    assert len(list(spread_pairs(infrared, few, 0.0))) == 3


@brings("options", "`fuse --register each` of pictures", "refused", "it is of videos; `auto` is of pictures")
def test_pictures_have_no_time_to_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "scenes"
    assert main(["data", "scenes", f"--out={root}", "--count=1", "--size=[32,48]"]) == 0
    line = ["fuse", str(root / "ir"), str(root / "vi"), f"--out={tmp_path / 'out'}", "--register=each"]
    refused(line, capsys, "--register each is of videos: it follows their time.")
