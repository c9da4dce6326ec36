"""`make quickstart`: the main job from beginning to end on generated scenes, through the commands that users type."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pandas as pd
from rich.console import Console

from ivif.contracts.run_files import LAST, LOG
from ivif.files.text_tables import TextTable

ROOT: Final = Path(__file__).resolve().parent.parent
LATEST: Final = Path("runs/quickstart/latest")
RELEASED: Final = "mgfusion-light"
TUNING_STEPS: Final = 150
TESTED: Final = {
    "trained just now": "quickstart-test",
    f"{RELEASED}, trained on real pairs": "quickstart-released",
    f"{RELEASED}, {TUNING_STEPS} steps on these scenes": "quickstart-tuned-test",
}
"""What the scores at the end call a network, and the name of its test."""
SHOWN: Final = ("Qabf", "VIF", "SSIM", "AG", "MI")


def main() -> int:
    """Trains from nothing and from released weights, tests, predicts; says what came out. Returns the exit code."""
    started = time.monotonic()
    config = ["--config", "configs/quickstart.yaml"]
    own = [*config, "--ckpt_path", str(LATEST / LAST)]
    tuned = [*config, "--ckpt_path", f"runs/quickstart-tuned/latest/{LAST}"]
    steps = ["--trainer.max_steps", str(TUNING_STEPS), "--trainer.val_check_interval", str(TUNING_STEPS)]
    scenes = ["--data", "synthetic.yaml", "--data.evaluation_length", "8", "--data.size", "[240,320]"]
    for arguments in (
        ["fit", *config],
        ["test", *own, "--run_name", "quickstart-test"],
        ["predict", *own, "--output_dir", str(LATEST / "fused")],
        ["test", "--ckpt_path", RELEASED, *scenes, "--run_name", "quickstart-released"],
        ["fit", *config, "--init_from", RELEASED, *steps, "--run_name", "quickstart-tuned"],
        ["test", *tuned, "--run_name", "quickstart-tuned-test"],
    ):
        print(f"\n$ python main.py {' '.join(arguments)}", flush=True)
        command = [sys.executable, "main.py", *arguments]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - fixed above
        if code:
            print(f"quickstart stopped: `main.py {arguments[0]}` ended with exit code {code}", file=sys.stderr)
            return code
    _report(time.monotonic() - started)
    return 0


def scores(tables: dict[str, Path]) -> TextTable:
    """The scores of several networks on the same scenes, and those of the plain rules.

    Args:
        tables: What a network is called -> the `test.csv` of its test.
    """
    rows: dict[str, list[str]] = {}
    for name, path in tables.items():
        for place, found in pd.read_csv(path).iterrows():
            row = name if place == 0 else str(found["method"])
            rows.setdefault(row, [row, *(f"{found[metric]:.3f}" for metric in SHOWN)])
    plain = [row for row in rows if row not in tables]
    title = "On 8 generated scenes that no network has seen; higher is better"
    return TextTable(["", *SHOWN], [rows[row] for row in (*tables, *plain)], title)


def _report(seconds: float) -> None:
    log = pd.read_csv(ROOT / LATEST / LOG)
    loss = log["train/loss"].dropna()
    tables = {row: ROOT / "runs" / name / "latest-test" / "tables" / "test.csv" for row, name in TESTED.items()}
    scores(tables).show(Console())
    print(
        f"\nDone in {seconds:.0f} s. The loss fell from {loss.iloc[:3].mean():.4f} to {loss.iloc[-3:].mean():.4f}.\n\n"
        f"Look at\n"
        f"  {LATEST}/panels/      infrared | visible | fused, from the first validation to the last\n"
        f"  {LATEST}/fused/       the fused test scenes as PNG\n"
        f"  {LATEST}/metrics.csv  every logged value\n"
        f"  runs/quickstart-test/latest/tables/test.md  the scores, with the classic rows\n\n"
        f"Next, with your own pairs (folders ir/ and vi/) or one of the public datasets (DATASETS.md):\n"
        f"  python main.py data check --data folder.yaml --data.root FOLDER\n"
        f"  python main.py fit --config mgfusion.yaml --config mgfusion_cpu.yaml --data folder.yaml"
        f" --data.root FOLDER --model.clip compact\n"
        f"(`compact` knows generated scenes and stands in for CLIP; MODELS.md says where to get the real one.)"
    )


if __name__ == "__main__":
    sys.exit(main())
