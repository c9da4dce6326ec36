"""`make quickstart`: the main job from beginning to end on generated scenes, through the commands that users type."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pandas as pd

from ivif.contracts.run_files import LAST, LOG

ROOT: Final = Path(__file__).resolve().parent.parent
LATEST: Final = Path("runs/quickstart/latest")


def main() -> int:
    """Trains, tests and predicts; says what came out and what to do next. Returns the exit code."""
    started = time.monotonic()
    checkpoint = str(LATEST / LAST)
    fused = str(LATEST / "fused")
    for arguments in (
        ["fit", "--config", "configs/quickstart.yaml"],
        ["test", "--config", "configs/quickstart.yaml", "--run_name", "quickstart-test", "--ckpt_path", checkpoint],
        ["predict", "--config", "configs/quickstart.yaml", "--ckpt_path", checkpoint, "--output_dir", fused],
    ):
        print(f"\n$ python main.py {' '.join(arguments)}", flush=True)
        command = [sys.executable, "main.py", *arguments]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - fixed above
        if code:
            print(f"quickstart stopped: `main.py {arguments[0]}` ended with exit code {code}", file=sys.stderr)
            return code
    _report(time.monotonic() - started)
    return 0


def _report(seconds: float) -> None:
    log = pd.read_csv(ROOT / LATEST / LOG)
    loss = log["train/loss"].dropna()
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
