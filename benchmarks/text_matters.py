"""Does it matter whose sentence a pair is fused with? The light From Text to Pixels, trained on each pair's own.

    python benchmarks/text_matters.py --root FOLDER/MSRS [--steps 300] [--seeds 0 1] [--runs FOLDER]

Fusion alone is trained (no detector), with `auto` prompts and the compact CLIP, on one thread. Then each test pair is
fused with its own sentence, with that of another pair which says something else, and without any. The losses of the
three stand beside what the seed of the training alone changes. Runs that are there are not made again.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Final

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

SIZE: Final = (192, 256)


def train(root: Path, runs: Path, seed: int, steps: int) -> Path:
    """The checkpoint of one seed."""
    name = f"auto-seed{seed}-{steps}"
    checkpoint = runs / name / "latest" / "checkpoints" / "last.ckpt"
    if not checkpoint.exists():
        options = ["--model.detector=null", "--model.clip=compact", f"--data.root={root}"]
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
        sample.pop("targets", None)
        for step in training_frames(transforms, data.box_rule()):
            sample = step(sample, torch.Generator())
        yield batch_to_float(collate([sample]))


def losses(checkpoint: Path, pairs: list[Batch]) -> tuple[list[list[float]], float]:
    """Each pair's loss with each of the three texts, and by how many grey levels another's text changes a picture."""
    task, _ = load_fusion(checkpoint)
    network, prompts = task.level_modules()["lower"], [pair["prompt"][0] for pair in pairs]  # type: ignore[operator]
    found, changes = [], []
    with torch.no_grad():
        for index, pair in enumerate(pairs):
            turned = prompts[index + 1 :] + prompts[:index]
            other = next(prompt for prompt in turned if prompt != prompts[index])
            row, pictures = [], []
            for text in (prompts[index], other, ""):
                batch: Batch = {**pair, "prompt": [text]}
                row.append(float(task.fusion_loss("lower", network, batch).value))  # type: ignore[operator]
                pictures.append(task.fused_luma(network, batch))  # type: ignore[operator]
            found.append(row)
            changes.append(255 * float((pictures[0] - pictures[1]).abs().mean()))
    return found, mean(changes)


def main() -> None:
    """Trains, measures, and prints a row of a Markdown table for each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--runs", type=Path, default=Path("runs/text_matters"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    pairs = list(batches(options.root))
    own = []
    print("| seed | own | another pair's | none | own is better | grey levels |\n| --- | --- | --- | --- | --- | --- |")
    for seed in options.seeds:
        found, change = losses(train(options.root, options.runs, seed, options.steps), pairs)
        whose = [mean(column) for column in zip(*found, strict=True)]
        better = sum(mine < other for mine, other, _ in found)
        texts = " | ".join(f"{value:.4f}" for value in whose)
        print(f"| {seed} | {texts} | {better} of {len(pairs)} | {change:.2f} |", flush=True)
        own.append(whose[0])
    print(f"largest minus smallest own over seeds: {max(own) - min(own):.4f}")


if __name__ == "__main__":
    main()
