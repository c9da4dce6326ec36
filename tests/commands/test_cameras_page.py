"""The commands of docs/cameras.md, run on a memory card that is made here."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.commands.cli import main
from tests.camera_files import dji_jpeg, exif, flir_jpeg, jpeg, photo, warm_scene, with_dji_library
from tests.inputs import ROOT

PAGE = ROOT / "docs" / "cameras.md"
SIZE = (64, 80)


def commands() -> list[str]:
    """The command lines of the page."""
    text = PAGE.read_text(encoding="utf-8")
    return [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a drone with two cameras of DJI, and one of FLIR, has stored."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "CARD" / "DCIM" / "100MEDIA"
    folder.mkdir(parents=True)
    names = [f"DJI_{number:04d}" for number in range(1, 4)]
    with_dji_library(monkeypatch, {f"{name}_T.JPG": warm_scene(seed, SIZE) for seed, name in enumerate(names)})
    for seed, name in enumerate(names):
        (folder / f"{name}_T.JPG").write_bytes(dji_jpeg(time=f"2026:05:01 10:00:0{seed}"))
        taken = exif(f"2026:05:01 10:00:0{seed}", make="DJI")
        (folder / f"{name}_W.JPG").write_bytes(jpeg(photo(seed, (128, 160)), exif=taken))
    for number in range(3):
        content = flir_jpeg(warm_scene(number, SIZE), photo(number, (192, 240)), ratio=1.5)
        (folder / f"FLIR{number:04d}.jpg").write_bytes(content)
    return tmp_path / "CARD"


def test_the_commands_of_the_page_lead_from_a_card_to_fused_pictures(
    card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = commands()
    assert len(lines) == 6
    assert lines[0].startswith("pip install")
    for line in lines[1:]:
        program, *words = shlex.split(line)
        assert program == "ivif"
        assert main([*words, "--device=cpu"] if words[0] == "fuse" else words) == 0, line
    shown = capsys.readouterr().out
    assert "6 pairs in flight (partners: 3 by name, 3 in one file)." in shown
    assert "no problems" in shown
    fused = sorted(path.name for path in (tmp_path / "fused").glob("*.png"))
    assert len(fused) == 6
    (command,) = json.loads((tmp_path / "fused" / "predictions.json").read_text())["commands"]
    kept = json.loads(command["data"].partition(" ")[2])["reading"]["thermal_range"]
    assert kept["mode"] == "fixed"
    assert 8 < kept["low"] < 14 < 30 < kept["high"] < 33  # degrees Celsius: a cool ground, and warm bodies
    for name in fused:
        assert np.asarray(Image.open(tmp_path / "fused" / name)).std() > 5
    auto, fixed = (np.asarray(Image.open(tmp_path / folder / fused[0])) for folder in ("fused", "warm"))
    assert not np.array_equal(auto, fixed)
