"""What bilevel training buys: one detector, one budget, on single modalities, an average, and fusion by each scheme.

    python benchmarks/bilevel_study.py --root MSRS_FOLDER --weights yolov5n_coco.safetensors [--steps 600] [--jobs 1]

Every row is a real `main.py fit` and `main.py test` (its commands are printed) on MSRS's pairs with boxes (manifest
`msrs_detection`): YOLOv5n, frames of 320x256, batches of 4, the light fusion network, `--steps` detector steps. Rows of
PromptFusion start from one autoencoder, prompts and fusion of seed 0, trained without boxes on the same training pairs
(`--fusion_steps`). A row that is finished is not run again. Settings were chosen on the validation part; the table is
of the test part. Writes bilevel_study.md and .csv: the mean over seeds, and their spread where there are several.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402

SINGLE: Final = ("infrared", "visible", "average")
SCHEMES: Final = ("separate", "joint", "alternate", "value_function")
PROMPTFUSION: Final = ("promptfusion_separate", "promptfusion_joint", "promptfusion_value_function")
ROWS: Final = (*SINGLE, *SCHEMES, *PROMPTFUSION)
MANY_SEEDS: Final = ("infrared", "visible", "separate", "joint", "value_function", *PROMPTFUSION)
"""Rows of which a spread is wanted."""

COMMON: Final = (
    "--data=msrs_detection.yaml",
    "--loading.cache=ram",
    "--transforms.crop=null",
    "--transforms.flip=horizontal",
    "--transforms.rotate90=false",
    "--transforms.zoom=[0.8, 1.25]",
    "--transforms.test_resize=[256, 320]",
    "--transforms.jitter=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--images.images_per_dataset=4",
)
DETECTOR: Final = {
    "optimizer.betas": "[0.9, 0.999]",
    "optimizer.weight_decay": "0.0005",
    "optimizer.gradient_clip": "10",
    "schedule.start": "1e-4",
    "schedule.peak": "1e-3",
    "schedule.end": "1e-5",
    "schedule.warmup_fraction": "0.1",
    "schedule.decay": "cosine",
}
"""The detector's optimiser, the same in every row."""

PROMPTFUSION_FILES: Final = ("--config=promptfusion.yaml", "--config=promptfusion_cpu.yaml")
WARMUP: Final = 0.125
"""Share of the detector's steps before it may move PromptFusion; 3 epochs of 600 steps, as in the other rows."""


@dataclass(frozen=True)
class Run:
    """One row's run with one seed.

    Args:
        row: What the detector sees.
        seed: Of weights, order and augmentation.
        steps: Detector steps.
        folder: Where the study keeps its runs.
        fusion_steps: Of PromptFusion before its detector.
    """

    row: str
    seed: int
    steps: int
    folder: Path
    fusion_steps: int = 4000

    @property
    def name(self) -> str:
        """Folder of the run."""
        return f"{self.row}-seed{self.seed}-{self.steps}"

    @property
    def iterations(self) -> int:
        """Iterations in which the detector takes its steps: more where fusion's come apart from them."""
        if self._fusion_first:
            return round((2 - WARMUP) * self.steps)
        return 2 * self.steps if self.row in ("separate", "alternate") else self.steps

    @property
    def _fusion_first(self) -> bool:
        return self.row == "promptfusion_separate"

    def _method(self) -> list[str]:
        """Configuration and what a row changes of it."""
        if self.row in SINGLE:
            files = ["--config=detection.yaml", "--config=detection_cpu.yaml"]
            return [*files, f"--model.source.kind={self.row}"]
        if self.row in PROMPTFUSION:
            return [*PROMPTFUSION_FILES, *self._phases()]
        return [
            "--config=text_to_pixels.yaml",
            "--config=text_to_pixels_cpu.yaml",
            "--data.prompts.source=coarse",
            "--model.clip=random-tiny",
            f"--model.bilevel.scheme={self.row}",
            "--model.bilevel.warmup=3",
            "--model.bilevel.lower_steps=1",
            "--model.bilevel.value_steps=1",
        ]

    def _phases(self) -> list[str]:
        """PromptFusion's last phases, without new refinements, from the weights that all its rows start from."""
        scheme = self.row.removeprefix("promptfusion_")
        phases = {"autoencoder": 0, "prompts": 0, "fusion": 0, "detector": WARMUP, "bilevel": 1 - WARMUP}
        if self._fusion_first:  # as many steps of fusion as the others have, and then the detector's
            phases |= {"fusion": 1 - WARMUP, "detector": 1, "bilevel": 0}
        return [
            f"--init_from={fusion_run(self.folder, self.fusion_steps) / 'latest' / 'checkpoints' / 'last.ckpt'}",
            f"--model.phases={json.dumps(phases)}",
            f"--model.bilevel.scheme={'joint' if self._fusion_first else scheme}",
            "--model.prompts.refinement.rounds=0",
            "--model.lower.schedule.start=3e-4",
            "--model.lower.schedule.peak=3e-4",
            "--model.crops.size=96",
        ]

    def arguments(self, root: Path, weights: Path) -> list[str]:
        """Everything but the subcommand."""
        prefix = "" if self.row in SINGLE else "upper."
        return [
            *self._method(),
            *COMMON,
            *(f"--model.{prefix}{key}={value}" for key, value in DETECTOR.items()),
            f"--data.root={root}",
            "--model.detector.architecture=yolov5n",
            f"--model.detector.weights={weights}",
            f"--seed_everything={self.seed}",
            f"--loading.seed={self.seed}",
            f"--trainer.max_steps={self.iterations}",
            f"--trainer.val_check_interval={max(1, self.iterations // 4)}",
            f"--runs_dir={self.folder}",
            f"--run_name={self.name}",
        ]

    def record(self) -> dict[str, float] | None:
        """The finished run's scores."""
        path = self.folder / self.name / "result.json"
        found: dict[str, float] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        return found

    def execute(self, root: Path, weights: Path) -> None:
        """Trains, tests, and notes the scores; nothing if that was done before."""
        if self.record() is not None:
            return
        start = time.perf_counter()
        call(self.folder, self.name, "fit", self.arguments(root, weights))
        seconds = time.perf_counter() - start
        checkpoint = self.folder / self.name / "latest" / "checkpoints" / "last.ckpt"
        call(self.folder, self.name, "test", [*self.arguments(root, weights), f"--ckpt_path={checkpoint}"])
        tables = max((self.folder / self.name).glob("*/tables"), key=lambda path: path.stat().st_mtime)
        detection = pd.read_csv(tables / "detection.csv")
        fusion = pd.read_csv(tables / "test.csv").iloc[0]
        mean = detection[detection["class"] == "mean"].iloc[0]
        result = {"mAP50": mean["AP50"], "mAP50-95": mean["AP50_95"], "recall": mean["recall"]}
        result |= {f"AP50 {row['class']}": row["AP50"] for _, row in detection.iterrows() if row["class"] != "mean"}
        result |= {metric: fusion[metric] for metric in ("EN", "Qabf", "VIF", "SSIM")}
        result["seconds per step"] = seconds / self.steps
        content = json.dumps({k: float(v) for k, v in result.items()})
        (self.folder / self.name / "result.json").write_text(content, encoding="utf-8")


def call(folder: Path, name: str, subcommand: str, arguments: Sequence[str]) -> None:
    """Runs `main.py` with its output in a log."""
    log = folder / f"{name}-{subcommand}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        command = [sys.executable, str(ROOT / "main.py"), subcommand, *arguments]
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {subcommand} failed; see {log}")


def fusion_run(folder: Path, steps: int) -> Path:
    """Where the weights are that every row of PromptFusion starts from."""
    return folder / f"promptfusion-fusion-{steps}"


def train_fusion(folder: Path, steps: int, root: Path) -> None:
    """Autoencoder, prompts and fusion on the training pairs, without boxes; nothing if that was done before."""
    run = fusion_run(folder, steps)
    if (run / "latest" / "prompts.safetensors").is_file():
        return
    arguments = [
        *PROMPTFUSION_FILES,
        *COMMON,
        "--model.detector=null",
        "--model.phases={autoencoder: 30, prompts: 10, fusion: 85, bilevel: 0}",
        "--model.crops.size=96",
        f"--data.root={root}",
        f"--trainer.max_steps={steps}",
        f"--trainer.val_check_interval={max(1, steps // 2)}",
        f"--runs_dir={folder}",
        f"--run_name={run.name}",
    ]
    call(folder, run.name, "fit", arguments)


def table_rows(runs: Sequence[Run]) -> list[Row]:
    """Mean and spread (largest minus smallest) over the seeds of each row."""
    rows: list[Row] = []
    for name in dict.fromkeys(run.row for run in runs):
        results = pd.DataFrame([found for run in runs if run.row == name and (found := run.record()) is not None])
        if results.empty:
            continue
        cells = {"detector sees": name, "seeds": str(len(results))}
        for column in results:
            digits = 2 if column == "seconds per step" else 3
            spread = f" ({results[column].max() - results[column].min():.{digits}f})" if len(results) > 1 else ""
            cells[str(column)] = f"{results[column].mean():.{digits}f}{spread}"
        rows.append(cells)
    return rows


def main() -> None:
    """Runs what is missing, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="MSRS's folder")
    parser.add_argument("--weights", type=Path, required=True, help="where YOLOv5n starts from")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--fusion_steps", type=int, default=4000, help="of PromptFusion before its detector")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the rows that have a spread")
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "bilevel_study")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    seeds = {row: options.seeds if row in MANY_SEEDS else 1 for row in options.rows}
    runs = [
        Run(row, seed, options.steps, options.folder, options.fusion_steps)
        for seed in range(options.seeds)
        for row in options.rows
        if seed < seeds[row]
    ]
    machine = describe_machine(1)
    if any(run.row in PROMPTFUSION for run in runs):
        train_fusion(options.folder, options.fusion_steps, options.root.resolve())
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda run: run.execute(options.root.resolve(), options.weights.resolve()), runs))
    rows = table_rows(runs)
    show("YOLOv5n on MSRS's pairs with boxes", rows)
    found = [{"detector sees": run.row, "seed": run.seed, **(run.record() or {})} for run in runs]
    command = (
        f"python benchmarks/bilevel_study.py --root MSRS --weights yolov5n_coco.safetensors --steps {options.steps}"
    )
    text = heading("bilevel_study", "Bilevel schemes on MSRS", machine, command) + (
        f"{options.steps} detector steps, batch 4, frames of 320x256, light fusion network, {options.jobs} run(s) at a "
        f"time; From Text to Pixels with an untrained text tower (`random-tiny`), PromptFusion with prompts learnt on "
        f"the compact CLIP; 98 training, 14 validation, 40 test pairs. In brackets: largest minus smallest over the "
        f"seeds. [Every run](bilevel_study_per_run.csv).\n\n"
        f"{markdown(rows)}"
    )
    write(options.output, "bilevel_study", text, {"bilevel_study": rows, "bilevel_study_per_run": found})


if __name__ == "__main__":
    main()
