"""`thermal_range auto` over commands: measured once in a run, kept there, and the same in what follows."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from ivif.callbacks.run_record import RECORD_KEY
from ivif.commands.cli import main
from tests.commands.runs import newest_run, tiny_run
from tests.fakes import png_16_bit, write_folder


def _deep(root: Path, low: int, high: int) -> Path:
    for file in (root / "ir").iterdir():
        grey = np.asarray(Image.open(file)) / 255
        file.write_bytes(png_16_bit((low + grey * (high - low)).astype(np.uint16)))
    return root


def _stored_range(config: str) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(config)["data"]["init_args"]["reading"]["thermal_range"]
    return found


def test_a_run_keeps_its_range_which_later_commands_take(tmp_path: Path) -> None:
    root = _deep(write_folder(tmp_path / "data", count=6), 7000, 9000)
    data = ("--data=folder.yaml", f"--data.root={root}")
    assert main(tiny_run("fit", tmp_path / "runs", "--trainer.limit_val_batches=0", data=data)) == 0
    run = newest_run(tmp_path / "runs")
    kept = _stored_range((run / "config.yaml").read_text())
    assert kept["mode"] == "fixed"
    assert 7000 <= kept["low"] < kept["high"] <= 9000  # type: ignore[operator]
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert _stored_range(checkpoint[RECORD_KEY]["config"]) == kept
    _deep(root, 3000, 4000)  # other pictures by now
    assert main(["predict", f"--run={run}", f"--output_dir={tmp_path / 'out'}", "--trainer.accelerator=cpu"]) == 0
    (command,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["commands"]
    assert json.loads(command["data"].partition(" ")[2])["reading"]["thermal_range"] == kept


def test_pictures_of_eight_bits_are_noted_as_before(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data")
    line = ["--data=folder.yaml", f"--data.root={root}", "--model.method=average", "--trainer.accelerator=cpu"]
    assert main(["predict", "--config=classic.yaml", *line, f"--output_dir={tmp_path / 'out'}"]) == 0
    (command,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["commands"]
    noted = json.loads(command["data"].partition(" ")[2])["reading"]["thermal_range"]
    assert noted == {"mode": "type", "low": None, "high": None}


def test_fuse_says_what_helps_a_picture_of_little_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _deep(write_folder(tmp_path / "data"), 7000, 9000)
    pair = [str(root / folder / "000.png") for folder in ("ir", "vi")]
    assert main(["fuse", *pair, "--out", str(tmp_path / "one.png"), "--device", "cpu"]) == 0
    assert "--thermal_range" not in capsys.readouterr().err
    line = ["fuse", *pair, "--out", str(tmp_path / "two.png"), "--device", "cpu", "--thermal_range", "type"]
    assert main(line) == 0
    assert "next to one grey (values up to 8" in (said := capsys.readouterr().err)
    assert said.endswith("--thermal_range auto stretches it.\n")
