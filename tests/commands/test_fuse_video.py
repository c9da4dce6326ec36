"""`ivif fuse` of videos: what is said, refused, and left behind."""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ivif
from ivif.commands.cli import main
from ivif.datamodules.datasets.palettes import palette_colours
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.inference import Fuser
from ivif.inference.video.writing import VideoWriter
from ivif.lightning_modules.classic import ClassicFusionTask
from tests.refusals import refused
from tests.videos import colour_frames, grey_frames, read_sound, read_video, write_video

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def average(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks take long to load; what they fuse is looked at elsewhere."""

    def load(name: str, device: str, thermal_range: ThermalRange, **_: Any) -> Fuser:
        return Fuser(ClassicFusionTask("average"), thermal_range)

    monkeypatch.setattr(ivif, "load", load)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    infrared = write_video(tmp_path / "thermal.mkv", grey_frames([10, 90, 170], (32, 48)), 10)
    visible = write_video(tmp_path / "camera.mp4", colour_frames(8, (64, 96)), 25, "h264", sound="aac")
    return str(infrared), str(visible)


@pytest.mark.usefixtures("average")
def test_two_videos_become_one(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "fused.mp4"
    assert main(["fuse", *pair, f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    assert "Infrared: 48x32, 10 frames per second from 0.00 s; visible: 96x64, 25 frames" in printed
    assert f"Fused video: {out} (8 frames of 96x64, from 0.00 to 0.28 s of the visible one, H.264" in printed
    assert "with sound)" in printed
    assert len(read_video(out)[1]) == 8
    assert [path.name for path in out.parent.iterdir()] == ["fused.mp4"]


@pytest.mark.usefixtures("average")
def test_both_videos_beside_the_fused_one(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "fused.mkv"
    assert main(["fuse", *pair, f"--out={out}", "--side_by_side=true", "--colormap=iron"]) == 0
    times, panels = read_video(tmp_path / "fused_panel.mkv")
    fused, seen = read_video(out), read_video(Path(pair[1]))
    assert times == fused[0]
    warm = palette_colours("iron")[[10, 10, 90, 90, 170, 170, 170, 170]]  # 10 frames a second beside 25
    for panel, level, *others in zip(panels, warm, seen[1], fused[1], strict=True):
        assert np.abs(panel[:, :96].astype(int) - level).max() <= 1
        assert np.array_equal(panel[:, 96:], np.concatenate(others, axis=1))
    assert read_sound(tmp_path / "fused_panel.mkv")[0] == "aac"


def test_a_network_fuses_videos(pair: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "fused.mkv"
    assert main(["fuse", *pair, f"--out={out}", "--model=mgfusion-light", "--device=cpu", "--batch_size=4"]) == 0
    frames = read_video(out)[1]
    fuser = ivif.load("mgfusion-light", "cpu")
    expected = fuser(grey_frames([10], (32, 48))[0], read_video(Path(pair[1]))[1][0])
    assert len(frames) == 8
    assert np.abs(frames[0].astype(int) - expected).max() <= 1  # other sums in a batch


@pytest.mark.usefixtures("average")
def test_what_cannot_be_done_is_one_line(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared, visible = pair
    beside = write_video(tmp_path / "camera_panel.mkv", colour_frames(3))
    (tmp_path / "broken.mp4").write_bytes(Path(visible).read_bytes()[:2000])
    late = str(write_video(tmp_path / "late.mkv", grey_frames([9] * 3), 10, start=60))
    out = str(tmp_path / "fused.mp4")
    for line, message in (
        ([infrared, visible, "--out=fused.png"], "a video ends in .mkv, .mov, .mp4"),
        ([infrared, visible, "--out=fused.avi"], "a video ends in .mkv, .mov, .mp4"),
        ([infrared, visible, f"--out={tmp_path}"], "is a folder: name the video to write"),
        ([infrared, visible, f"--out={visible}", "--overwrite=true"], "is one of the two videos"),
        ([infrared, str(tmp_path / "no.mp4"), f"--out={out}"], "There is no file or folder"),
        ([infrared, str(tmp_path / "broken.mp4"), f"--out={out}"], "broken.mp4': it is damaged, or no video"),
        (
            [late, visible, f"--out={out}"],
            "have no common time. If both began at once, add --infrared_delay -60.00",
        ),
        ([infrared, visible, f"--out={out}", "--prompt=fog"], "takes no text: leave the prompt out"),
        ([infrared, visible, f"--out={out}", "--temporal=0"], "--temporal is 0.0: give seconds above 0"),
        ([infrared, visible, f"--out={out}", "--batch_size=0"], "--batch_size is 0"),
        ([infrared, visible, f"--out={out}", "--frame_rate=0"], "--frame_rate 0.0: give frames per second"),
        ([infrared, visible, f"--out={out}", "--thermal_range=fixed"], "needs `high`"),
        (
            [infrared, str(beside), f"--out={tmp_path / 'camera.mkv'}", "--side_by_side=true", "--overwrite=true"],
            "camera_panel.mkv: it is one of the two videos",
        ),
    ):
        assert message in refused(["fuse", *line], capsys)
    assert not Path(out).exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("average")
def test_sound_alone_is_no_video(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av

    with av.open(tmp_path / "sound.mp4", "w") as container, av.open(pair[1]) as source:
        stream = container.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.pts is not None:
                packet.stream = stream
                container.mux(packet)
    line = ["fuse", pair[0], str(tmp_path / "sound.mp4"), f"--out={tmp_path / 'f.mp4'}"]
    assert "sound.mp4': it holds sound alone" in refused(line, capsys)


@pytest.mark.usefixtures("average")
def test_folders_of_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    for kind, count in (("ir", 4), ("vi", 5)):
        (tmp_path / kind).mkdir()
        for number in range(count):
            Image.fromarray(colour_frames(1)[0]).convert("L").save(tmp_path / kind / f"{number}.png")
    line = ["fuse", str(tmp_path / "ir"), str(tmp_path / "vi"), f"--out={tmp_path / 'f.mkv'}", "--frame_rate=5"]
    assert "holds 4 frames and" in refused(line, capsys)
    (tmp_path / "vi" / "4.png").unlink()
    assert main(line) == 0
    assert read_video(tmp_path / "f.mkv")[0] == pytest.approx([0, 0.2, 0.4, 0.6])


def test_without_pyav_the_remedy_is_said(
    pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ivif.files.videos.find_spec", lambda _: None)
    assert "pip install 'ivif-lightning[video]'" in refused(["fuse", *pair, "--out=f.mp4"], capsys)


@pytest.mark.usefixtures("average")
def test_a_full_disk_leaves_nothing(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "fused.mkv"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # files end there, as on a full disk
    try:
        assert "fused.mkv" in refused(["fuse", *pair, f"--out={out}"], capsys, "Make room, or choose another place.")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not out.parent.exists()


@pytest.mark.usefixtures("average")
def test_an_interrupt_leaves_nothing_and_says_what_to_do(
    pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter(range(9))
    plain = VideoWriter.write

    def write(*arguments: Any) -> None:
        plain(*arguments)
        if next(calls) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "write", write)
    out = tmp_path / "new" / "fused.mp4"
    assert main(["fuse", *pair, f"--out={out}"]) == 130
    assert "fused.mp4' was not written: the same command begins anew" in capsys.readouterr().err
    assert not out.parent.exists()


@pytest.mark.slow
def test_a_killed_command_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    infrared = write_video(tmp_path / "ir.mkv", grey_frames([9] * 3), 0.1)
    visible = write_video(tmp_path / "vi.mkv", colour_frames(20) * 20)
    out = tmp_path / "out" / "fused.mkv"
    code = (
        "import sys, time\nfrom tests.commands.test_fuse_video import VideoWriter, fuse_by_average\n"
        "plain = VideoWriter.write\n"
        "def slow(*arguments):\n    time.sleep(0.05)\n    plain(*arguments)\n"
        "VideoWriter.write = slow\n"
        f"sys.exit(fuse_by_average({[str(infrared), str(visible)]!r}, {str(out)!r}))"
    )
    command = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    for _ in range(3000):
        if any(path.stat().st_size for path in out.parent.glob(".*")):
            break
        time.sleep(0.1)
    command.kill()
    command.wait()
    assert [path.suffix for path in out.parent.iterdir()] == [".partial"]
    short = [write_video(tmp_path / "a.mkv", grey_frames([9])), write_video(tmp_path / "b.mkv", colour_frames(1))]
    assert fuse_by_average([str(path) for path in short], str(out)) == 0
    assert [path.name for path in out.parent.iterdir()] == ["fused.mkv"]


def fuse_by_average(pair: list[str], out: str) -> int:
    """The command, with a network that is loaded at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ivif, "load", lambda *_, **__: Fuser(ClassicFusionTask("average")))
        return main(["fuse", *pair, f"--out={out}"])
