"""From Text to Pixels through `main.py`: results of the epoch before, resuming, other data than it was trained on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ivif.commands.cli import main
from ivif.contracts.run_files import STORE_RECORD
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from tests.fakes import write_folder

METHOD = (
    "--config=text_to_pixels.yaml",
    "--config=text_to_pixels_cpu.yaml",
    "--config=ablations/text_to_pixels_memory.yaml",
)
SCENES = (
    "--data=synthetic.yaml",
    "--data.init_args.train_length=2",
    "--data.init_args.evaluation_length=1",
    "--data.init_args.size=[64,64]",
)
TINY = (
    "--model.init_args.clip=random-tiny",
    "--model.init_args.crops.size=32",
    "--model.init_args.network.channels=4",
    "--model.init_args.network.dilations=[1]",
    "--model.init_args.network.features=8",
    "--model.init_args.network.width=16",
    "--model.init_args.network.codebook_entries=8",
    "--model.init_args.network.decoder_channels=[8]",
    "--loading.batch_size=2",
    "--transforms.resize=[64,64]",
    "--trainer.accelerator=cpu",
    "--memory_guard.enabled=false",  # it measures a step of its own, which these tests would count
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.num_sanity_val_steps=0",
    "--evaluator.metrics=[EN]",
    "--evaluator.test_metrics=[EN]",
)
TWO_EPOCHS = ("--trainer.max_steps=-1", "--trainer.max_epochs=2", "--trainer.limit_val_batches=0")

Seen = list[tuple[int, bool]]


@pytest.fixture(scope="module")
def watched() -> Iterator[Seen]:
    """Of each training batch, the epoch and whether it brought results of the epoch before."""
    seen: Seen = []
    cut = TextToPixelsTask.level_batch

    def level_batch(self: TextToPixelsTask, batch: Any) -> Any:
        seen.append((self.current_epoch, "previous" in batch))
        return cut(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TextToPixelsTask, "level_batch", level_batch)
        yield seen


@pytest.fixture(scope="module")
def run(watched: Seen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IVIF_RUN_FOLDER", raising=False)
        assert main(["fit", *METHOD, *SCENES, *TINY, *TWO_EPOCHS, f"--runs_dir={folder}"]) == 0
    return (folder / "text-to-pixels-memory" / "latest").resolve()


def _test(run: Path, runs: Path, *data: str) -> int:
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    return main(["test", *METHOD, *data, *TINY, checkpoint, f"--runs_dir={runs}"])


def test_the_second_epoch_reads_what_the_first_one_left(run: Path, watched: Seen) -> None:
    assert watched[:2] == [(0, False), (1, True)]
    assert json.loads((run / "previous" / STORE_RECORD).read_text(encoding="utf-8")) == {"epoch": 1}
    pictures = sorted((run / "previous" / "synthetic").iterdir())
    assert [np.asarray(Image.open(path)).shape for path in pictures] == [(64, 64), (64, 64)]


def test_a_resumed_run_goes_on_reading_them(run: Path, watched: Seen, tmp_path: Path) -> None:
    before, own = len(watched), shutil.copytree(run, tmp_path / "run")
    assert main(["fit", "--resume", str(own), "--trainer.max_epochs=3"]) == 0
    assert watched[before:] == [(2, True)]
    assert json.loads((own / "previous" / STORE_RECORD).read_text(encoding="utf-8")) == {"epoch": 2}


def test_its_own_classes_are_scored(run: Path, tmp_path: Path) -> None:
    assert _test(run, tmp_path, *SCENES) == 0
    (table,) = tmp_path.rglob("tables/detection.csv")
    assert {"person", "car"} <= set(pd.read_csv(table)["class"])


def test_data_without_boxes_is_fused_and_no_detection_scored(run: Path, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pairs", 3, (64, 64))
    assert _test(run, tmp_path / "runs", "--data=folder.yaml", f"--data.init_args.root={root}") == 0
    assert list(tmp_path.rglob("tables/test.csv"))
    assert not list(tmp_path.rglob("tables/detection.csv"))


def test_boxes_of_other_classes_are_refused_unless_left_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "pairs", 3, (64, 64), classes=("ship", "buoy"))
    layout = "--data.init_args.layout={labels: voc, label_format: voc}"
    data = ("--data=folder.yaml", f"--data.init_args.root={root}", layout, "--data.init_args.classes=[ship, buoy]")
    assert _test(run, tmp_path / "runs", *data) == 1
    message = capsys.readouterr().err
    assert "the data has the classes ship, buoy" in message
    assert "reading.labels=false" in message
    assert _test(run, tmp_path / "runs", *data, "--data.init_args.reading.labels=false") == 0
