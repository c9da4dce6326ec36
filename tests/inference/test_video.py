"""Videos fused frame by frame, against the same frames fused as pictures."""

import logging
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ivif.datamodules.datasets.palettes import palette_colours
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.files.errors import UnreadableFileError, UserError
from ivif.inference import Fuser
from ivif.inference.video import VideoReport, footage_of, fuse_video
from ivif.inference.video.matching import NoCommonTimeError, paired
from ivif.inference.video.thermal import range_of_video
from ivif.lightning_modules.classic import ClassicFusionTask
from tests.videos import Pixels, colour_frames, grey_frames, read_sound, read_video, write_video

SIZE = (32, 48)


def fuser(thermal_range: ThermalRange | None = None) -> Fuser:
    return Fuser(ClassicFusionTask("average"), thermal_range or ThermalRange())


def fused(infrared: Path, visible: Path, out: Path, by: Fuser | None = None, **options: Any) -> VideoReport:
    one, other = footage_of(infrared, True, 25), footage_of(visible, False, 25)
    return fuse_video(by or fuser(), one, other, out, **options)


def thermal(count: int, size: tuple[int, int] = SIZE) -> list[Pixels]:
    return [frame[..., 0] for frame in colour_frames(count, size, seed=1)]


@pytest.mark.parametrize("batch_size", [1, 4])
def test_frames_are_those_that_pictures_give(tmp_path: Path, batch_size: int) -> None:
    warm, seen = thermal(6, (16, 24)), colour_frames(6)
    infrared = write_video(tmp_path / "ir.mkv", warm)
    visible = write_video(tmp_path / "vi.mkv", seen, 25)
    report = fused(infrared, visible, tmp_path / "fused.mkv", batch_size=batch_size)
    times, frames = read_video(tmp_path / "fused.mkv")
    assert report == VideoReport(6, 0.0, 0.2, False)
    assert times == pytest.approx([number / 25 for number in range(6)])
    own = fuser()
    assert all(np.array_equal(one, own(*pair)) for one, pair in zip(frames, zip(warm, seen, strict=True), strict=True))


def test_another_rate_has_its_nearest_frame(tmp_path: Path) -> None:
    levels = [0, 40, 80, 120]
    infrared = write_video(tmp_path / "ir.mkv", grey_frames(levels), 10)
    visible = write_video(tmp_path / "vi.mkv", [np.zeros((*SIZE, 3), np.uint8)] * 12, 30)
    one, other = footage_of(infrared, True, 25), footage_of(visible, False, 25)
    found = [int(pair.infrared[0, 0]) for pair in paired(one, other)]
    nearest = [levels[min(range(4), key=lambda place, at=at: abs(place / 10 - at / 30))] for at in range(12)]  # type: ignore[misc]
    assert found == nearest
    late = [int(pair.infrared[0, 0]) for pair in paired(one, other, delay=0.21)]
    assert late == [levels[0]] * 4 + [levels[1]] * 3 + [levels[2]]  # four begin too early for the first one


def test_frames_beyond_the_infrared_video_are_left_out(tmp_path: Path) -> None:
    infrared = write_video(tmp_path / "ir.mkv", grey_frames([9] * 5), 10, start=1.0)
    visible = write_video(tmp_path / "vi.mkv", colour_frames(40), 20)
    report = fused(infrared, visible, tmp_path / "fused.mp4")
    assert (report.first, report.last) == pytest.approx((0.9, 1.5))
    assert report.frames == 13
    assert read_video(tmp_path / "fused.mp4")[0][0] == 0.0


def test_no_common_time_says_how_far_apart(tmp_path: Path) -> None:
    infrared = write_video(tmp_path / "ir.mkv", grey_frames([9] * 5), 10, start=5.0)
    visible = write_video(tmp_path / "vi.mkv", colour_frames(10), 10)
    with pytest.raises(NoCommonTimeError, match=r"ir\.mkv' begins at 5\.00 s .* add --infrared_delay -5\.00"):
        fused(infrared, visible, tmp_path / "fused.mkv")
    assert not (tmp_path / "fused.mkv").exists()
    assert fused(infrared, visible, tmp_path / "fused.mkv", delay=-5).frames == 6


@pytest.mark.parametrize(("suffix", "odd"), [(".mp4", 0), (".mov", 0), (".mp4", 1)])
def test_h264_keeps_size_colours_and_times(tmp_path: Path, suffix: str, odd: int) -> None:
    size = (48 + odd, 64 + odd)
    colours = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (128, 128, 128)]
    seen = [np.full((*size, 3), colour, np.uint8) for colour in colours]
    infrared = write_video(tmp_path / "ir.mkv", [np.full(size, 100, np.uint8)] * 4, 30000 / 1001)
    visible = write_video(tmp_path / "vi.mkv", seen, 30000 / 1001)
    out = tmp_path / f"fused{suffix}"
    fused(infrared, visible, out)
    times, frames = read_video(out)
    assert times == pytest.approx([number * 1001 / 30000 for number in range(4)], abs=2e-3)
    own = fuser()
    for found, picture in zip(frames, seen, strict=True):
        expected = np.asarray(own(np.full(size, 100, np.uint8), picture)).astype(int)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 3


def test_deep_infrared_keeps_one_range(tmp_path: Path) -> None:
    raw = grey_frames([7000, 7500, 8000, 9000], deep=True)
    infrared = footage_of(write_video(tmp_path / "ir.mkv", raw, kind="gray16"), True, 25)
    assert [frame.pixels.dtype for frame in infrared.frames()] == [np.uint16] * 4
    assert range_of_video(infrared, ThermalRange("minmax")) == ThermalRange("fixed", 7000, 9000)
    assert range_of_video(infrared, ThermalRange("percentile", 0, 50)) == ThermalRange("fixed", 7000, 7500)
    assert range_of_video(infrared, ThermalRange("type")) == ThermalRange("type")
    assert range_of_video(infrared, ThermalRange()) == ThermalRange("fixed", 7000, 9000)
    visible = write_video(tmp_path / "vi.mkv", [np.zeros((*SIZE, 3), np.uint8)] * 4)
    fused(tmp_path / "ir.mkv", visible, tmp_path / "fused.mkv", fuser(ThermalRange("minmax")))
    _, frames = read_video(tmp_path / "fused.mkv")
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 32, 64, 128]
    constant = footage_of(write_video(tmp_path / "one.mkv", raw[:1], kind="gray16"), True, 25)
    assert range_of_video(constant, ThermalRange("minmax")) == ThermalRange("fixed", 7000, 7001)


def test_false_colours_become_intensities(tmp_path: Path) -> None:
    levels = [np.roll(np.tile(np.arange(0, 240, 5, dtype=np.uint8), (32, 1)), 3 * step, 1) for step in range(3)]
    seen = write_video(tmp_path / "vi.mkv", colour_frames(3))
    painted = write_video(tmp_path / "painted.mkv", [palette_colours("iron")[level] for level in levels])
    plain = write_video(tmp_path / "plain.mkv", levels)
    fused(painted, seen, tmp_path / "one.mkv")
    fused(plain, seen, tmp_path / "other.mkv")
    pairs = zip(read_video(tmp_path / "one.mkv")[1], read_video(tmp_path / "other.mkv")[1], strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
    with pytest.raises(UnreadableFileError, match="exchange the two"):
        fused(seen, painted, tmp_path / "wrong.mkv")


@pytest.mark.parametrize(
    ("sound", "suffix", "kept"), [("aac", ".mkv", "aac"), ("aac", ".mp4", "aac"), ("mp3", ".mp4", "mp3")]
)
def test_sound_stays_with_its_frames(tmp_path: Path, sound: str, suffix: str, kept: str) -> None:
    infrared = write_video(tmp_path / "ir.mkv", grey_frames([9] * 20), 10, start=1.0)
    visible = write_video(tmp_path / "vi.mkv", colour_frames(30), 10, sound=sound)
    out = tmp_path / f"fused{suffix}"
    report = fused(infrared, visible, out)
    codec, seconds, samples = read_sound(out)
    assert report.has_sound
    assert codec == kept
    assert seconds == pytest.approx(report.last - report.first + 0.1, abs=0.15)
    assert np.abs(samples[2000:-2000]).max() == pytest.approx(8000 / 32768, rel=0.2)


def test_sound_that_a_container_cannot_hold_is_encoded(tmp_path: Path) -> None:
    infrared = write_video(tmp_path / "ir.mkv", grey_frames([9] * 10), 10)
    visible = write_video(tmp_path / "vi.avi", colour_frames(10), 10, sound="pcm_mulaw")
    fused(infrared, visible, tmp_path / "fused.mp4")
    codec, seconds, _ = read_sound(tmp_path / "fused.mp4")
    assert codec == "aac"
    assert seconds == pytest.approx(1.0, abs=0.2)


def test_folders_of_frames_are_a_video(tmp_path: Path) -> None:
    warm, seen = thermal(11), colour_frames(11)
    for number, pair in enumerate(zip(warm, seen, strict=True)):
        for kind, pixels in zip(("ir", "vi"), pair, strict=True):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / f"frame{number}.png")  # 10 comes after 9
    fused(tmp_path / "ir", tmp_path / "vi", tmp_path / "fused.mkv")
    fused(write_video(tmp_path / "ir.mkv", warm), write_video(tmp_path / "vi.mkv", seen), tmp_path / "same.mkv")
    times, frames = read_video(tmp_path / "fused.mkv")
    others = read_video(tmp_path / "same.mkv")
    assert times == others[0]
    assert all(np.array_equal(*pair) for pair in zip(frames, others[1], strict=True))
    Image.fromarray(warm[0][:8]).save(tmp_path / "ir" / "frame3.png")
    with pytest.raises(UnreadableFileError, match=r"frame3\.png': it has 48x8 pixels, the frames before it 48x32"):
        fused(tmp_path / "ir", tmp_path / "vi", tmp_path / "no.mkv")


def test_telephones_portraits_stand_upright(tmp_path: Path) -> None:
    seen = colour_frames(3)
    infrared = write_video(tmp_path / "ir.mkv", grey_frames([9] * 3))
    visible = write_video(tmp_path / "vi.mov", seen, turned=90, kind="h264")
    footage = footage_of(visible, False, 25)
    assert footage.size == (48, 32)
    fused(infrared, visible, tmp_path / "fused.mkv")
    assert read_video(tmp_path / "fused.mkv")[1][0].shape == (48, 32, 3)
    lying = next(iter(read_video(visible)[1]))
    assert np.array_equal(next(footage.frames()).pixels, np.rot90(lying))


def test_no_more_than_a_few_frames_are_held(tmp_path: Path) -> None:
    infrared = write_video(tmp_path / "ir.mkv", grey_frames([9] * 60), 25)
    visible = write_video(tmp_path / "vi.mkv", colour_frames(60), 25)
    seen: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def watch(_time: float, shown: torch.Tensor, warm: torch.Tensor, visible: torch.Tensor) -> None:
        nonlocal most
        seen.extend(map(weakref.ref, (shown, warm, visible)))
        most = max(most, sum(one() is not None for one in seen))

    fused(infrared, visible, tmp_path / "fused.mkv", watch=watch)
    assert len(seen) == 180
    assert most <= 9


def test_what_is_no_whole_video_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    visible = write_video(tmp_path / "vi.mp4", colour_frames(20), kind="h264", sound="aac")
    infrared = write_video(tmp_path / "ir.mkv", thermal(50))
    content = visible.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UnreadableFileError, match=r"cut\.mp4': it is damaged, or no video"):
        footage_of(tmp_path / "cut.mp4", False, 25)
    with pytest.raises(UnreadableFileError, match=r"text\.mp4': it is damaged, or no video"):
        footage_of(tmp_path / "text.mp4", False, 25)
    with pytest.raises(UnreadableFileError, match="it does not exist"):
        footage_of(tmp_path / "none.mp4", False, 25)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFileError, match="it holds no picture"):
        footage_of(tmp_path / "empty", False, 25)
    whole = infrared.read_bytes()
    (tmp_path / "short.mkv").write_bytes(whole[: len(whole) // 3])
    with caplog.at_level(logging.WARNING):
        frames = list(footage_of(tmp_path / "short.mkv", True, 25).frames())
    assert 5 < len(frames) < 25
    assert "is cut off: it ends at" in caplog.text


def test_floats_have_no_range_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "ir").mkdir()
    Image.fromarray(np.full(SIZE, 300.0, np.float32)).save(tmp_path / "ir" / "0.tif")
    footage = footage_of(tmp_path / "ir", True, 25)
    with pytest.raises(UserError, match="holds floats: give --thermal_range fixed"):
        range_of_video(footage, ThermalRange("percentile"))
