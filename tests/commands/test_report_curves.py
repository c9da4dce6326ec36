"""Curves of a run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ivif.commands.errors import UsageError
from ivif.commands.report.charts import draw_curves, read_log
from ivif.commands.report.command import main


def test_curves_are_drawn_from_the_log(tmp_path: Path) -> None:
    steps = range(10)
    log = pd.DataFrame(
        {"step": steps, "train/loss": [1 / (1 + s) for s in steps], "val/Qabf": [0.1 * s for s in steps]}
    )
    log.to_csv(tmp_path / "metrics.csv", index=False)
    assert main(["run", str(tmp_path), "--curves", str(tmp_path / "out" / "curves.png")]) == 0
    drawn = np.asarray(Image.open(tmp_path / "out" / "curves.png").convert("RGB"))
    blue = (drawn[..., 2].astype(int) - drawn[..., 0] > 80).mean(axis=0)
    assert blue[: drawn.shape[1] // 2].any()
    assert blue[drawn.shape[1] // 2 :].any()


def test_a_folder_without_training_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"metrics\.csv"):
        main(["run", str(tmp_path), "--curves", str(tmp_path / "curves.png")])


def test_metrics_can_be_chosen_and_a_log_without_losses_is_explained(tmp_path: Path) -> None:
    pd.DataFrame({"step": [0, 1], "train/loss": [2.0, 1.0], "val/EN": [6.0, 7.0]}).to_csv(tmp_path / "metrics.csv")
    drawn = []
    for options in ([], ["--metrics", "EN"]):
        assert main(["run", str(tmp_path), "--curves", str(tmp_path / "curves.png"), *options]) == 0
        drawn.append(np.asarray(Image.open(tmp_path / "curves.png").convert("L")))
    right = drawn[0].shape[1] // 2
    assert (drawn[0][:, right:] != drawn[1][:, right:]).any()
    pd.DataFrame({"step": [0], "val/EN": [6.0]}).to_csv(tmp_path / "metrics.csv")
    with pytest.raises(UsageError, match="log_every_n_steps"):
        main(["run", str(tmp_path), "--curves", str(tmp_path / "curves.png")])


def test_a_log_is_a_table_with_a_row_for_each_logging_call(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss,val/EN\n0,2.0,\n1,1.0,\n1,,7.0\n")
    log = read_log(tmp_path)
    assert log["train/loss"].dropna().tolist() == [2.0, 1.0]
    assert log.loc[log["val/EN"].notna(), "step"].tolist() == [1]


def test_a_figure_shows_the_metrics_that_were_logged() -> None:
    log = pd.DataFrame({"step": [0, 1, 2], "train/loss": [3.0, 2.0, 1.0], "val/EN": [np.nan, 6.0, 7.0]})
    loss, validation = draw_curves(log, ("EN", "VIF")).axes
    assert np.asarray(loss.lines[0].get_ydata()).tolist() == [3.0, 2.0, 1.0]
    assert [line.get_label() for line in validation.lines] == ["EN"]
    assert np.asarray(validation.lines[0].get_ydata()).tolist() == [6.0, 7.0]
