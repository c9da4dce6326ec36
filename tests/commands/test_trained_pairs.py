"""Pairs that a network was trained on are found again in tests, predictions and scored folders, under any name."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ivif.commands.cli import main
from ivif.commands.data.scenes import write_scenes
from ivif.contracts.trained_pictures import TRAINED_KEY
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.files.table_files import read_table
from tests.commands.runs import newest_run, tiny_run
from tests.inputs import brings

TRAINED = 4
"""Scenes that `tiny_run` trains on; of the same ones, and two more, `pairs` is written."""

FOUND = f"was trained on {TRAINED} of 6 of these pairs (folder/"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IVIF_RUN_FOLDER", raising=False)
        assert main(tiny_run("fit", folder)) == 0
    return newest_run(folder) / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training scenes and two more, under other names and in another format."""
    root = write_scenes(SyntheticDataset(TRAINED + 2, (48, 56)), tmp_path_factory.mktemp("other") / "pairs")
    for index, path in enumerate(sorted((root / "ir").iterdir())):
        for folder in ("ir", "vi"):
            Image.open(root / folder / path.name).save(root / folder / f"mine{index}.bmp")
            (root / folder / path.name).unlink()
    return root


def _data(pairs: Path) -> tuple[str, ...]:
    return ("--data=folder.yaml", f"--data.root={pairs}", "--data.train_fraction=0")


def _without_pictures(checkpoint: Path, path: Path) -> Path:
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    del state[TRAINED_KEY]
    torch.save(state, path)
    return path


def test_a_checkpoint_keeps_the_pictures_of_its_pairs(checkpoint: Path) -> None:
    entry = torch.load(checkpoint, weights_only=True)[TRAINED_KEY]
    assert entry["pictures"].shape == (2 * TRAINED,)
    assert entry["complete"] is True


@brings(
    "tables",
    "a network that is tested on pairs that it was trained on, in another folder, under other names or re-encoded "
    "without loss",
    "reported",
    "`test` and `validate` warn, and their tables say how many of the pairs and which; `predict` warns",
)
@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_pairs_that_were_trained_on_are_counted(
    command: str, checkpoint: Path, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = tiny_run(command, tmp_path / "runs", f"--ckpt_path={checkpoint}", data=_data(pairs))
    with caplog.at_level(logging.WARNING):
        assert main(arguments) == 0
    assert FOUND in caplog.text
    if command != "test":  # validate keeps no tables
        return
    (table,) = tmp_path.rglob("test.csv")
    rows = read_table(table).set_index("method")["trained on"]
    assert rows["MGFusion"] == "4 of 6"
    assert set(rows.drop("MGFusion")) <= {"-"}
    assert "| trained on |" in table.with_suffix(".md").read_text(encoding="utf-8")
    each = read_table(table.with_name(f"{table.stem}_per_image.csv"))
    marks = each[each["method"] == "MGFusion"]["trained on"]
    assert sorted(marks) == ["no"] * 2 + ["yes"] * TRAINED


@brings(
    "tables",
    "a network that is tested on other pairs than it was trained on",
    "works",
    "the tables say that it was trained on none of them; nothing is warned of",
)
def test_new_pairs_are_no_matter_of_warning(checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main(tiny_run("test", tmp_path, f"--ckpt_path={checkpoint}")) == 0
    (table,) = tmp_path.rglob("test.csv")
    assert read_table(table).set_index("method")["trained on"]["MGFusion"] == "0 of 2"
    assert "trained on" not in caplog.text


@brings(
    "tables",
    "a checkpoint of an older version, which does not say what it was trained on",
    "reported",
    "`test`, `validate`, `predict` and `report score` say once that it is not known",
)
def test_an_old_checkpoint_does_not_say(
    checkpoint: Path, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = _without_pictures(checkpoint, tmp_path / "old.ckpt")
    assert main(tiny_run("test", tmp_path / "runs", f"--ckpt_path={old}", data=_data(pairs))) == 0
    (table,) = tmp_path.rglob("test.csv")
    assert read_table(table).set_index("method")["trained on"]["MGFusion"] == "not known"
    assert caplog.text.count("does not say which pictures it was trained on") == 1


@brings(
    "tables",
    "`report score --ckpt` with the checkpoint behind a folder of results",
    "reported",
    "a warning, and the method's row in every table says how many of the pairs it was trained on",
)
def test_scored_folders_are_marked(
    checkpoint: Path, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    fused = tmp_path / "fused"
    predict = tiny_run("predict", tmp_path / "runs", f"--ckpt_path={checkpoint}", data=_data(pairs))
    assert main([*predict, f"--output_dir={fused}"]) == 0
    caplog.clear()
    score = ["report", "score", f"--infrared={pairs / 'ir'}", f"--visible={pairs / 'vi'}", "--metrics", "EN"]
    score += ["--fused", str(fused), str(pairs / "vi"), "--classic=false", f"--out={tmp_path / 'tables'}"]
    assert main([*score, f"--ckpt={checkpoint}"]) == 0
    assert f"fused {FOUND}" in caplog.text
    methods = set(read_table(tmp_path / "tables" / "summary.csv")["method"])
    assert methods == {"fused (trained on: 4 of 6)", "vi"}
    assert "fused (trained on: 4 of 6)" in (tmp_path / "tables" / "summary.tex").read_text(encoding="utf-8")
    old = _without_pictures(checkpoint, tmp_path / "old.ckpt")
    assert main([*score, f"--ckpt={old}"]) == 1
    assert "says that predict made them with this checkpoint" in capsys.readouterr().err
