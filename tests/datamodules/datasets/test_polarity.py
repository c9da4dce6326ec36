"""Black-hot infrared is guessed from people, and white-hot never."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.commands.cli import main
from ivif.datamodules.datasets.polarity import darker_people, polarity_finding


def test_people_are_compared_with_what_is_around_them() -> None:
    plane = np.full((60, 60), 0.4, dtype=np.float32)
    plane[20:40, 10:20] = 0.9
    plane[20:40, 40:50] = 0.1
    boxes = [[10, 20, 20, 40], [40, 20, 50, 40], [0, 45, 10, 58], [30, 0, 33, 30]]
    assert darker_people(plane, boxes) == [1, -1, 0]  # the last is too narrow to tell
    assert polarity_finding([-1] * 29) == []
    assert polarity_finding([-1] * 30 + [1] * 10) == []
    assert "30 of 37 people" in polarity_finding([-1] * 30 + [1] * 7)[0]


@pytest.mark.parametrize("black_hot", [False, True])
def test_data_check_asks_where_people_are_dark(
    black_hot: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "scenes", f"--out={tmp_path / 'mine'}", "--count=40", "--size=[96,128]"]) == 0
    for path in (tmp_path / "mine" / "ir").iterdir() if black_hot else ():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    data = ["--data=folder.yaml", f"--data.root={tmp_path / 'mine'}", "--data.layout.labels=labels"]
    line = [*data, "--data.classes=[person, car, lamp]", f"--out={tmp_path / 'check'}"]
    assert main(["data", "check", *line]) == 0
    assert ("may be black-hot" in capsys.readouterr().out) == black_hot
