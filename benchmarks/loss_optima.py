"""What a loss asks for: each loss minimised over the fused picture itself, without any network, and scored.

    python benchmarks/loss_optima.py --data FOLDER [--pairs 4] [--steps 150] [--pictures FOLDER]

A network can come no nearer to what its loss wants than the picture that minimises it. Where that picture is bad, or
worse than a plain rule, longer training makes results worse. Pairs are spread over the validation part of the manifest
`four_datasets`; the fused luma starts from the maximum of both sources, and Adam moves its pixels, with a step that
falls to nothing. Plain rules stand beside.
"""

import argparse
import sys
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Final, cast

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

import pandas as pd  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from rich.progress import track  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.contracts.batch import batch_to_float, collate  # noqa: E402
from ivif.datamodules.start_checks import spread  # noqa: E402
from ivif.datamodules.unified import UnifiedDataModule  # noqa: E402
from ivif.image_ops.color import luma  # noqa: E402
from ivif.losses.gradient import gradient_max_loss  # noqa: E402
from ivif.losses.intensity import intensity_max_loss  # noqa: E402
from ivif.losses.preservation import preservation_terms  # noqa: E402
from ivif.metrics import METRICS, suite  # noqa: E402
from ivif.metrics.functional.triplet import Triplet  # noqa: E402
from ivif.models.classic import CLASSIC_FUSIONS  # noqa: E402

SCORES: Final = ("EN", "SD", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM", "Qcv")
"""By these rows are ranked: brightness and contrast, information, edges, likeness, and what the eye sees."""

TERMS: Final = {"intensity": intensity_max_loss, "gradient": gradient_max_loss}

LOSSES: Final[dict[str, dict[str, float]]] = {
    "MGFusion's": {"intensity": 0.2, "gradient": 1},
    "PromptFusion's": {"intensity": 1, "gradient": 10},
    "signed gradient": {"intensity": 1, "signed_gradient": 10},
    "edges": {"intensity": 1, "edges": 0.5},
    "signed gradient, edges": {"intensity": 1, "signed_gradient": 5, "edges": 1},
    "edges, similarity": {"intensity": 1, "edges": 0.5, "similarity": 0.5},
    "edges, information": {"intensity": 1, "edges": 0.5, "information": 0.1},
    "balanced": {
        "intensity": 1,
        "signed_gradient": 5,
        "edges": 0.5,
        "similarity": 0.5,
        "information": 0.05,
        "differences": 0.05,
    },
}
"""Weights of terms: papers' own by their names, the others beside an intensity term."""


def weighted(fused: Tensor, infrared: Tensor, visible: Tensor, weights: Mapping[str, float]) -> Tensor:
    """A loss of these weights, a scalar."""
    others = {name: weight for name, weight in weights.items() if name not in TERMS}
    values = preservation_terms(fused, infrared, visible, others)
    values |= {name: TERMS[name](fused, infrared, visible) for name in TERMS if name in weights}
    return torch.stack([weights[name] * value for name, value in values.items()]).sum()


def minimise(infrared: Tensor, visible: Tensor, weights: Mapping[str, float], steps: int) -> Tensor:
    """The fused luma, (B, 1, H, W) in [0, 1], that a loss wants of two pictures, as far as so many steps lead to it."""
    fused = torch.maximum(infrared, visible).mul(0.98).add_(0.01).requires_grad_(True)
    optimiser = torch.optim.Adam([fused], lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, steps)
    for _ in range(steps):
        (fused.grad,) = torch.autograd.grad(weighted(fused, infrared, visible, weights), [fused])
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            fused.clamp_(0, 1)
    return fused.detach()


def score(fused: Tensor, infrared: Tensor, visible: Tensor) -> dict[str, float]:
    """The metrics of a picture that is rounded as a file would be; all in [0, 1]."""
    grey = (image.mul(255).round() for image in (fused, infrared, visible))
    return {name: value.item() for name, value in suite("standard").score(Triplet(*grey), SCORES).items()}


def main() -> None:
    """Writes a table for each dataset."""
    options = _options()
    torch.set_num_threads(1)
    machine = describe_machine(1)
    data = UnifiedDataModule(options.data, options.datasets, manifest="four_datasets")
    found: list[dict[str, object]] = []
    for reader in data.stage_readers("val"):
        for index in track(spread(len(cast("Sized", reader)), options.pairs), "minimising"):
            batch = batch_to_float(collate([reader[index]]))
            infrared, visible = batch["infrared"], luma(batch["visible"])
            pictures = {name: rule(infrared, visible) for name, rule in CLASSIC_FUSIONS.items()}
            pictures |= {name: minimise(infrared, visible, LOSSES[name], options.steps) for name in LOSSES}
            dataset, pair = batch["dataset"][0], batch["name"][0]
            for name, fused in pictures.items():
                found.append({"dataset": dataset, "row": name, **score(fused, infrared, visible)})
                if options.pictures:
                    _write_picture(options.pictures / dataset / pair / f"{name}.png", fused)
    _report(pd.DataFrame(found), machine, options.output)


def rows_of(means: pd.DataFrame) -> list[Row]:
    """Rows by their mean rank, the best first; `means` has a row each, and metrics as columns."""
    ranks = pd.DataFrame({name: means[name].rank(ascending=not METRICS[name].higher_is_better) for name in SCORES})
    order = ranks.mean(axis=1).sort_values().index
    return [
        {"row": str(row)}
        | {name: f"{means.loc[row, name]:.4g} ({ranks.loc[row, name]:.0f})" for name in SCORES}
        | {"mean rank": f"{ranks.loc[row].mean():.2f}"}
        for row in order
    ]


def _report(found: pd.DataFrame, machine: str, output: Path | None) -> None:
    """Prints the tables, and writes them where there is a folder for them."""
    parts, table = [], []
    for dataset, scores in found.groupby("dataset", sort=False):
        rows = rows_of(scores.drop(columns="dataset").groupby("row", sort=False).mean())
        count = scores.groupby("row").size().iloc[0]
        show(f"{dataset}, {count} validation pairs", rows)
        parts.append(f"## {dataset}, {count} validation pairs\n\n{markdown(rows)}")
        table += [{"dataset": str(dataset), **row} for row in rows]
    if output:
        note = "Means, and in brackets the rank among these rows; Qcv is better where it is lower.\n"
        losses = "\n".join(f"- {name}: {_sum(weights)}" for name, weights in LOSSES.items())
        page = heading("loss_optima", "What each loss asks for", machine)
        write(output, "loss_optima", "\n".join([page + note, losses, "", *parts]), {"loss_optima": table})


def _sum(weights: Mapping[str, float]) -> str:
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.items())


def _write_picture(path: Path, fused: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(fused[0, 0].mul(255).round().byte().numpy()).save(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="Folder of the datasets' folders.")
    parser.add_argument("--datasets", nargs="+", default=["roadscene", "msrs"], help="Which of them.")
    parser.add_argument("--pairs", type=int, default=4, help="Pairs of each.")
    parser.add_argument("--steps", type=int, default=150, help="Steps of Adam on each picture.")
    parser.add_argument("--pictures", type=Path, default=None, help="Folder for the pictures; none by default.")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="Folder for the table.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
