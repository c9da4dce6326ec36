"""Opens a W&B run that asks to be online where no server is; prints whether it is offline, the seconds, the losses."""

import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ivif.callbacks.wandb_run import WandbRun
from tests.wandb_records import history


def main(folder: Path) -> None:
    """One run with one value, opened and closed as a trainer does it."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel("INFO")
    logger = WandbRun("online")
    logger.place(folder / "run", "fit")
    started = time.monotonic()
    offline = logger.experiment.offline
    seconds = time.monotonic() - started
    logger.log_metrics({"train/loss": 0.5}, step=1)
    logger.finalize("success")
    (written,) = (folder / "run" / "wandb").glob("offline-run-*")
    losses = [row["train/loss"] for row in history(written)]
    print(f"RESULT {offline} {seconds:.2f} {losses}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
