"""What the notebooks' results must be: nbmake calls these with the values of a run, in the notebook's own kernel.

Each notebook's last code cell names its function in the metadata (`nbmake.post_cell_execute`).
"""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from ivif.metrics.fusion import FusionMetrics
from ivif.models.classic import CLASSIC_FUSIONS


def look_at_a_dataset(levels: pd.DataFrame, counts: pd.DataFrame, code: int, batch: Any) -> None:
    """Notebook 1: every pair is counted, nights are dark, the check found nothing wrong, crops hold their boxes."""
    assert code == 0
    assert counts["pairs"].to_dict() == {"train": 24, "val": 8, "test": 8}
    assert (counts.drop(columns="pairs").sum(axis=1) > 0).all()
    means = levels.groupby(["time", "modality"])["mean"].mean()
    assert means["night", "visible"] < 0.5 * means["day", "visible"]
    assert batch["infrared"].shape == (4, 1, 128, 128)
    assert 0 <= batch["visible"].min() < batch["visible"].max() <= 1
    assert sum(len(targets["labels"]) for targets in batch["targets"]) > 0


def bilevel_on_a_toy_problem(table: pd.DataFrame, ends: dict[int, Any]) -> None:
    """Notebook 5: the value function finds the optimum, and it alone; a weak penalty leaves the lower level behind."""
    assert table["distance"].idxmin() == "value_function"
    assert table["distance"]["value_function"] < 0.05
    assert (table.drop(index="value_function")["distance"] > 0.5).all()
    assert ends[50].distance < 0.05
    assert ends[1].distance > 2 * ends[50].distance


def fuse_a_pair(codes: dict[str, int], fused: dict[str, Tensor], batch: Any, summary: pd.DataFrame) -> None:
    """Notebook 2: every method trained and gives pictures; trained MGFusion is nearer to its sources than untrained."""
    assert codes == {"MGFusion": 0, "From Text to Pixels": 0, "PromptFusion": 0}
    assert set(fused) == {*CLASSIC_FUSIONS, *codes, "MGFusion, untrained"}
    for name, pictures in fused.items():
        assert pictures.shape == batch["visible"].shape, name
        assert torch.isfinite(pictures).all(), name
        assert pictures.std() > 0.02, name
    assert summary["SSIM"]["MGFusion"] > summary["SSIM"]["MGFusion, untrained"]
    assert summary["SSIM"]["average"] > summary["SSIM"]["maximum"]


def metrics_and_conventions(
    bits: float, nats: float, conventions: pd.DataFrame, table: pd.DataFrame, summary: pd.DataFrame
) -> None:
    """Notebook 3: nats and bits differ by ln 2, PSNR by 48 dB; files score as tensors; no rule wins everywhere."""
    assert nats / bits == pytest.approx(math.log(2))
    psnr = conventions.loc["PSNR"]
    assert psnr["ivif_zoo"] - psnr["standard"] == pytest.approx(20 * math.log10(255), abs=1e-3)
    assert conventions.loc["EN"].nunique() == 1
    assert len({table[metric].idxmax() for metric in ("EN", "SD", "VIF", "Qabf", "SSIM")}) >= 3
    assert table["SF"].idxmax() == "noise added"
    assert (summary["n"] == 8).all()
    assert summary["mean"].to_numpy() == pytest.approx(summary["from tensors"].to_numpy(), rel=1e-5)


def train_on_your_own_folder(code: int, trained: int, run: Path, fused: Path, table: pd.DataFrame) -> None:
    """Notebook 4: the folder is sound, the loss falls, every pair is fused and scored beside the classic rules."""
    assert (code, trained) == (0, 0)
    loss = pd.read_csv(run / "metrics.csv")["train/loss"].dropna()
    assert loss.iloc[-5:].mean() < 0.7 * loss.iloc[:5].mean()
    assert len(list(fused.glob("*.png"))) == 30
    assert set(table.index) == {"fused", *CLASSIC_FUSIONS}
    assert table.notna().all().all()


def read_a_finished_run(
    codes: list[int],
    config: dict[str, Any],
    log: pd.DataFrame,
    per_image: pd.DataFrame,
    output: Any,
    batch: Any,
    fuser: Any,
) -> None:
    """Notebook 6: the folder tells what ran and how it went; its checkpoint gives the network that was tested."""
    assert codes == [0, 0]
    assert config["trainer"]["max_steps"] == 90
    assert log["val/Qabf"].notna().sum() == 3
    loss = log["train/loss"].dropna()
    assert loss.iloc[-5:].mean() < 0.7 * loss.iloc[:5].mean()
    assert set(per_image["method"]) == {"MGFusion", *CLASSIC_FUSIONS}
    assert type(fuser.task).__name__ == "MGFusionTask"
    scored = FusionMetrics(["EN"])
    scored.update(output["fused"], batch["infrared"], batch["visible"], batch["dataset"], batch["name"])
    row = per_image[(per_image["method"] == "MGFusion") & (per_image["name"] == batch["name"][0])]
    assert scored.compute()["EN"].item() == pytest.approx(row["EN"].item(), rel=1e-5)
