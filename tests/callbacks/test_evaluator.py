"""What the Evaluator scores, logs and writes."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor

from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.parts_summary import PartsSummary
from ivif.callbacks.prediction_writer import PredictionWriter
from ivif.callbacks.tables import ResultTable
from ivif.contracts.batch import Batch
from ivif.files.table_files import read_table
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.metrics import FusionMetrics
from ivif.metrics.functional import entropy, qabf
from ivif.metrics.preparation import GreyLevels, grey_levels
from ivif.models.classic import CLASSIC_FUSIONS
from ivif.testing.batches import MadeData, make_sample, quiet_trainer
from tests.inputs import brings


def _test(folder: Path, **options: object) -> pd.DataFrame:
    trainer = quiet_trainer(folder, callbacks=[Evaluator(test_metrics=["EN", "Qabf"], **options)])  # type: ignore[arg-type]
    trainer.test(ClassicFusionTask("maximum"), MadeData(), verbose=False)
    return pd.read_csv(folder / "tables" / "test.csv")


def test_the_table_has_the_method_the_classic_rows_and_every_dataset(tmp_path: Path) -> None:
    table = _test(tmp_path)
    assert set(table["dataset"]) == {"made", "other", "all"}
    assert list(table[table["dataset"] == "all"]["method"]) == ["maximum", "average", "laplacian_pyramid", "contourlet"]
    assert table[table["dataset"] == "all"]["n"].tolist() == [5, 5, 5, 5]
    assert set(table["convention"]) == {"standard"}
    sizes = {"made": "32x24", "other": "41x33", "all": "2 sizes (32x24 to 41x33)"}
    assert table["size"].tolist() == [sizes[dataset] for dataset in table["dataset"]]
    text = (tmp_path / "tables" / "test.md").read_text(encoding="utf-8")
    assert "| EN ↑ |" in text
    assert "| laplacian_pyramid |" in text
    rows = read_table(tmp_path / "tables" / "test_per_image.csv")
    assert len(rows) == 20
    assert rows[rows["method"] == "average"]["EN"].mean() == pytest.approx(
        table[(table["dataset"] == "all") & (table["method"] == "average")]["EN"].item()
    )


@brings(
    "tables",
    "the tables of `test` and `validate`",
    "works",
    "each says over how many images and at what size it was scored, and marks the best of each metric by its direction",
)
def test_tables_say_their_images_and_sizes_and_mark_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {name: FusionMetrics(["Qcv", "SCD"]) for name in ("mine", "same", "other")}
    infrared, visible = torch.rand(2, 1, 1, 40, 48)
    for method, metrics in scores.items():
        fused = visible if method == "other" else (infrared + visible) / 2
        metrics.update(fused, infrared, visible, ["made"], ["one"])
        if method != "same":
            metrics.update(fused[..., :24], infrared[..., :24], visible[..., :24], ["made"], ["two"])
    table = ResultTable("standard", scores)
    table.show()
    shown = capsys.readouterr().out
    assert "made: means over 2 images, 2 sizes (24x40 to 48x40), convention 'standard'" in shown
    mine, same, other = table.summary["Qcv"]
    assert mine < other
    assert table.summary["n_SCD"].tolist() == [2, 1, 0]  # the difference to a source itself has no variance
    rows = [line for line in table.markdown().splitlines() if line.startswith("| made")]
    assert rows[0].startswith(f"| made | mine | **{mine:.4f}** | ")
    assert rows[0].endswith(" | 2 | 2 sizes (24x40 to 48x40) | 0 |")
    assert rows[1].startswith(f"| made | same | {same:.4f} | ")
    assert rows[1].endswith(" | 1 | 48x40 | 0 |")
    assert rows[2].startswith(f"| made | other | {other:.4f} | - (n=0) |")
    assert "**" not in rows[1] + rows[2]
    assert f" {mine:.4f}* " in shown


def test_the_cost_of_a_picture_is_a_column_on_request(tmp_path: Path) -> None:
    table = _test(tmp_path / "asked", efficiency="64x48")
    costs = ["parameters (M)", "GFLOPs", "ms", "memory (MiB)", "measured at"]
    of_method, of_rule = (table[table["method"] == name].iloc[0] for name in ("maximum", "average"))
    assert [of_method["parameters (M)"], of_method["GFLOPs"]] == ["0", "0"]
    assert float(of_method["memory (MiB)"]) >= 64 * 48 * 4 / 2**20
    assert of_method["measured at"].startswith("64x48, CPU, ")
    assert list(of_rule[costs]) == ["-"] * 5
    text = (tmp_path / "asked" / "tables" / "test.md").read_text(encoding="utf-8")
    assert "| GFLOPs | ms | memory (MiB) | measured at |" in text
    assert not set(costs) & set(_test(tmp_path / "plain").columns)
    with pytest.raises(ValueError, match=r"evaluator\.efficiency: '640' is no size\. Write width x height"):
        Evaluator(efficiency="640")


def test_classic_rows_can_be_left_out(tmp_path: Path) -> None:
    assert set(_test(tmp_path, classic_rows=False)["method"]) == {"maximum"}


def test_scores_are_those_of_the_saved_colour_pictures(tmp_path: Path) -> None:
    _test(tmp_path)
    writer = PredictionWriter(tmp_path / "fused")
    quiet_trainer(tmp_path, callbacks=[writer]).predict(
        ClassicFusionTask("maximum"), MadeData(), return_predictions=False
    )
    rows = read_table(tmp_path / "tables" / "test_per_image.csv")
    row = rows[(rows["method"] == "maximum") & (rows["dataset"] == "made") & (rows["name"] == "0001")].iloc[0]
    saved = np.asarray(Image.open(tmp_path / "fused" / "made" / "0001.png"), dtype=np.float64)
    assert saved.shape == (24, 32, 3)
    assert np.abs(saved[..., 0] - saved[..., 2]).max() > 5
    sample = make_sample(1)
    fused, visible = (_luma(image) for image in (saved, sample["visible"].permute(1, 2, 0).double().numpy()))
    infrared = sample["infrared"][None].float()
    assert row["EN"] == pytest.approx(entropy(fused).item(), rel=1e-6)
    assert row["Qabf"] == pytest.approx(qabf(fused, infrared, visible).item(), rel=1e-5)


def _luma(rgb: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> torch.Tensor:
    grey = np.floor(rgb @ np.array([0.299, 0.587, 0.114]) + 0.5 + 1e-9)
    return torch.from_numpy(grey).float()[None, None]


def test_validation_logs_overall_and_per_dataset(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, callbacks=[Evaluator(metrics=["EN"])])
    (first, second) = trainer.validate(ClassicFusionTask("average"), MadeData(), verbose=False)
    logged = {**first, **second}
    assert set(logged) == {"val/EN", "val/made/EN", "val/other/EN"}
    assert logged["val/EN"] == pytest.approx((3 * logged["val/made/EN"] + 2 * logged["val/other/EN"]) / 5, rel=1e-5)


def test_validation_by_itself_prints_and_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = quiet_trainer(tmp_path, callbacks=[Evaluator(metrics=["EN"])])
    logged = trainer.validate(ClassicFusionTask("average"), MadeData(), verbose=False)
    table = pd.read_csv(tmp_path / "tables" / "val.csv").set_index("dataset")
    assert table["method"].tolist() == ["average"] * 3
    assert table.loc["all", "EN"] == pytest.approx({**logged[0], **logged[1]}["val/EN"], rel=1e-5)
    printed = capsys.readouterr().out
    assert "all: means over 5 images" in printed
    assert f"{float(table['EN']['all']):.4f}" in printed


@brings(
    "tables",
    "`fit` with validation pairs",
    "works",
    "each validation says its scores in one line; the table of the network's parts has no count of operations",
)
def test_validation_within_training_logs_and_says_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = quiet_trainer(tmp_path, callbacks=[Evaluator(metrics=["EN"]), PartsSummary()], max_epochs=2)
    with caplog.at_level(logging.INFO):
        trainer.fit(_Trainable(), MadeData())
    entropy = trainer.callback_metrics["val/EN"].item()
    lines = [line for line in caplog.messages if line.startswith("Validation")]
    assert lines == [f"Validation in epoch {n}, step {2 * n + 2}, 5 pairs: EN {entropy:.4g}" for n in (0, 1)]
    printed = capsys.readouterr().out
    assert "Trained: 1 of 1 parameters" in printed
    assert "means over" not in printed
    assert "FLOPs" not in printed
    assert not (tmp_path / "tables").exists()


class _Trainable(ClassicFusionTask):
    """The average, with a weight that makes no difference."""

    def __init__(self) -> None:
        super().__init__("average")
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.loss_weights = {"nothing": 1.0}

    def losses(self, fused: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"nothing": self.weight.square()}


def test_a_convention_changes_the_figures(tmp_path: Path) -> None:
    standard = Evaluator(metrics=["MI"])
    natural = Evaluator(metrics=["MI"], convention="cddfuse")
    values = [
        quiet_trainer(tmp_path, callbacks=[evaluator]).validate(
            ClassicFusionTask("average"), MadeData(), verbose=False
        )[0]
        for evaluator in (standard, natural)
    ]
    assert values[0]["val/made/MI"] == pytest.approx(values[1]["val/made/MI"] / np.log(2), rel=1e-5)


@pytest.mark.parametrize(("options", "known"), [({"metrics": ["PSNRX"]}, "PSNR"), ({"convention": "mine"}, "cddfuse")])
def test_unknown_names_are_refused_before_any_run(options: dict[str, object], known: str) -> None:
    with pytest.raises(ValueError, match=known):
        Evaluator(**options)  # type: ignore[arg-type]


def test_a_classic_row_is_what_its_own_task_scores(tmp_path: Path) -> None:
    table = _test(tmp_path)  # of the maximum
    trainer = quiet_trainer(tmp_path / "own", callbacks=[Evaluator(test_metrics=["EN", "Qabf"])])
    trainer.test(ClassicFusionTask("average"), MadeData(), verbose=False)
    own = pd.read_csv(tmp_path / "own" / "tables" / "test.csv")
    for rows in (table, own):
        rows.sort_values(["dataset", "method"], inplace=True, ignore_index=True)
    pd.testing.assert_frame_equal(table, own)


def test_undefined_values_are_counted_per_metric(tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, callbacks=[Evaluator(test_metrics=["SCD"])])
    data = MadeData()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassicFusionTask, "fuse_images", lambda _self, batch: batch["infrared"])
        patch.setattr("ivif.lightning_modules.tiles.recolor", lambda fused, _chroma: fused.expand(-1, 3, -1, -1))
        trainer.test(ClassicFusionTask("average"), data, verbose=False)
    table = pd.read_csv(tmp_path / "tables" / "test.csv").query("method == 'average' and dataset == 'all'").iloc[0]
    assert table["n"] == 5
    assert table["n_SCD"] == 0
    assert table["undefined"] == 5


def test_sources_are_prepared_once_for_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []

    def counted(image: Tensor | GreyLevels, eight_bit: bool = True) -> Tensor:
        if not isinstance(image, GreyLevels):
            calls.append(tuple(image.shape))
        return grey_levels(image, eight_bit)

    monkeypatch.setattr("ivif.callbacks.evaluator.grey_levels", counted)
    monkeypatch.setattr("ivif.metrics.fusion.grey_levels", counted)
    _test(tmp_path)
    rows = 1 + len(set(CLASSIC_FUSIONS) - {"maximum"})
    assert len(calls) == 5 * (2 + rows)  # of five images: two sources, and one fused image per row
