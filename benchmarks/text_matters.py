"""Does it matter whose sentence a pair is fused with? The light From Text to Pixels, trained on each pair's own.

    python benchmarks/text_matters.py --root FOLDER/MSRS [--detector YOLOV5N] [--steps 300] [--seeds 0 1 2]

Fusion is trained with `auto` prompts and the compact CLIP, on one thread: alone, or with a YOLOv5n by the value
function, which starts from those weights. Then each test pair is fused with its own sentence, with that of another pair
which says something else, and without any. The losses of the three, fusion's and the detector's, stand beside what the
seed of the training alone changes. Runs that are there are not made again.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Final, cast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402

from ivif.commands.cli import main as ivif  # noqa: E402
from ivif.contracts.batch import Batch, batch_to_float, collate  # noqa: E402
from ivif.datamodules.configuration import TransformConfig  # noqa: E402
from ivif.datamodules.datasets.prompts import PromptConfig  # noqa: E402
from ivif.datamodules.datasets.reading_config import ReadingConfig  # noqa: E402
from ivif.datamodules.msrs import MSRSDataModule  # noqa: E402
from ivif.datamodules.pipelines import training_frames  # noqa: E402
from ivif.lightning_modules.detection_sources import load_fusion  # noqa: E402
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask  # noqa: E402

SIZE: Final = (192, 256)


def train(root: Path, runs: Path, seed: int, steps: int, detector: Path | None) -> Path:
    """The checkpoint of one seed."""
    name = f"{'auto' if detector is None else 'detector'}-seed{seed}-{steps}"
    checkpoint = runs / name / "latest" / "checkpoints" / "last.ckpt"
    if not checkpoint.exists():
        options = ["--model.detector=null"] if detector is None else [f"--model.detector.weights={detector}"]
        options += ["--model.clip=compact", f"--data.root={root}"]
        options += ["--data.prompts.source=auto", f"--seed_everything={seed}"]
        options += [f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={steps}"]
        options += ["--checkpoint.monitor=null"]
        options += ["--trainer.accelerator=cpu", f"--transforms.resize={list(SIZE)}", "--trainer.limit_val_batches=0"]
        options += [f"--runs_dir={runs}", f"--run_name={name}", "--trainer.enable_progress_bar=false"]
        files = ["--config=text_to_pixels.yaml", "--config=text_to_pixels_cpu.yaml", "--data=msrs_detection.yaml"]
        if ivif(["fit", *files, *options]):
            raise SystemExit(1)
    return checkpoint


def batches(root: Path) -> Iterator[Batch]:
    """Every test pair as a batch of one, with the saliency that the loss needs."""
    drop = ReadingConfig(missing_labels="drop")
    data = MSRSDataModule(root=root, manifest="msrs_detection", reading=drop, prompts=PromptConfig("auto"))
    transforms = TransformConfig(resize=SIZE, saliency=True)
    (reader,) = data.stage_readers("test")
    for index in range(len(reader)):  # type: ignore[arg-type]
        sample = reader[index]
        for step in training_frames(transforms, data.box_rule()):
            sample = step(sample, torch.Generator())
        yield batch_to_float(collate([sample]))


def losses(checkpoint: Path, pairs: list[Batch]) -> tuple[dict[str, list[list[float]]], float]:
    """Each pair's losses with each of the three texts, and by how many grey levels another's text changes a picture."""
    task = cast("TextToPixelsTask", load_fusion(checkpoint)[0])
    network, prompts = task.level_modules()["lower"], [pair["prompt"][0] for pair in pairs]
    found: dict[str, list[list[float]]] = {"fusion": []}
    if task.part is not None:
        found["detector"] = []
    changes = []
    with torch.no_grad():
        for index, pair in enumerate(pairs):
            turned = prompts[index + 1 :] + prompts[:index]
            other = next(prompt for prompt in turned if prompt != prompts[index])
            pictures = []
            for rows in found.values():
                rows.append([])
            for text in (prompts[index], other, ""):
                batch = cast("Batch", {**pair, "prompt": [text]})
                found["fusion"][-1].append(float(task.fusion_loss("lower", network, batch).value))
                pictures.append(task.fused_luma(network, batch))
                if task.part is not None:
                    terms = task.part.terms(task.coloured(pictures[-1], batch["visible"])["fused"], batch)
                    found["detector"][-1].append(float(torch.stack(list(terms.values())).sum()))
            changes.append(255 * float((pictures[0] - pictures[1]).abs().mean()))
    return found, mean(changes)


def main() -> None:
    """Trains, measures, and prints a row of a Markdown table for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--detector", type=Path, help="weights that a YOLOv5n starts from (default: fusion alone)")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/text_matters"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    pairs = list(batches(options.root))
    own: dict[str, list[float]] = {}
    print(
        "| seed | loss | own | another pair's | none | own is better | grey levels |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for seed in options.seeds:
        checkpoint = train(options.root, options.runs, seed, options.steps, options.detector)
        found, change = losses(checkpoint, pairs)
        for name, rows in found.items():
            whose = [mean(column) for column in zip(*rows, strict=True)]
            better = sum(mine < other for mine, other, _ in rows)
            texts = " | ".join(f"{value:.4f}" for value in whose)
            print(f"| {seed} | {name} | {texts} | {better} of {len(pairs)} | {change:.2f} |", flush=True)
            own.setdefault(name, []).append(whose[0])
    for name, values in own.items():
        print(f"{name}: largest minus smallest own over seeds: {max(values) - min(values):.4f}")


if __name__ == "__main__":
    main()
