"""A package of somebody else's brings a method, a dataset, a metric and a scheme: nothing is changed here for it.

Its source tree lies in `package/`. The tests below install it into a temporary folder and use it by the command line.
"""

import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from ivif.commands.cli import main
from ivif.contracts import plugins
from ivif.lightning_modules.detection_sources import DetectionSource, build_source
from ivif.testing import make_batch
from ivif.testing.processes import run_python
from tests.commands.runs import QUIET
from tests.fakes import write_folder

PACKAGE = Path(__file__).parent / "package"
QUICK = (
    "--config=tiny.yaml",
    "--model.init_args.network.channels=4",
    *QUIET,
    "--evaluator.metrics=[EN, Dark]",
    "--evaluator.test_metrics=[EN, Dark]",
)
ONE_EPOCH = ("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1", "--run_name=tiny")
DETECTOR = (
    "--data=synthetic.yaml",
    "--data.init_args.train_length=2",
    "--data.init_args.evaluation_length=1",
    "--data.init_args.size=[64,64]",
    "--transforms.resize=[64,64]",
    "--loading.num_workers=0",
    "--model.init_args.detector.architecture=yolov5n",
    "--model.init_args.detector.image_size=64",
    "--trainer.max_steps=1",
    "--trainer.log_every_n_steps=1",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
)
"""A detector for a step, on generated scenes."""


def _pairs(root: Path) -> str:
    """Six pairs in the layout of the package's dataset, as an option."""
    write_folder(root, 6)
    (root / "ir").rename(root / "warm")
    (root / "vi").rename(root / "seen")
    return f"--data.init_args.root={root}"


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package where pip would leave it, on the path of this process."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    site = tmp_path / "site"
    shutil.copytree(PACKAGE / "tiny_fusion", site / "tiny_fusion")
    record = site / "tiny_fusion-0.1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1\n", "utf-8")
    groups = {
        group: "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    }
    text = "\n".join(f"[{group}]\n{entries}" for group, entries in groups.items())
    (record / "entry_points.txt").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(str(site))
    plugins.installed.cache_clear()
    yield
    plugins.installed.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tiny_fusion"]:
        del sys.modules[name]


@pytest.mark.usefixtures("_installed")
def test_a_method_is_trained_listed_and_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*QUICK, _pairs(tmp_path / "pairs"), f"--runs_dir={tmp_path / 'runs'}"]
    assert main(["fit", *line, *ONE_EPOCH]) == 0
    run = tmp_path / "runs" / "tiny" / "latest"
    assert pd.read_csv(run / "metrics.csv")["val/Dark"].dropna().between(0, 1).all()
    assert "class_path: tiny_fusion.TinyFusionTask" in (run / "config.yaml").read_text(encoding="utf-8")
    source = build_source(DetectionSource("checkpoint", run / "checkpoints" / "last.ckpt"))
    picture = source(make_batch())
    assert picture.shape == (2, 3, 24, 32)
    assert torch.isfinite(picture).all()
    capsys.readouterr()
    assert main(["--help"]) == 0
    assert "TinyFusionTask (tiny_fusion)" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main(["fit", "--model.help=TinyFusionTask"])
    assert "--model.network.channels" in capsys.readouterr().out


@pytest.mark.slow
def test_an_installed_package_passes_its_tests_and_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(PACKAGE, source)
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", site)
    run_python(*pip, source)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    line = [*QUICK, _pairs(tmp_path / "pairs"), "--runs_dir=runs"]
    ivif = ("-m", "ivif")
    run_python(*ivif, "fit", *line, *ONE_EPOCH)
    checkpoint = "runs/tiny/latest/checkpoints/last.ckpt"
    run_python(*ivif, "test", *line, f"--ckpt_path={checkpoint}")
    (table,) = (tmp_path / "runs").rglob("tables/test.csv")
    assert "TinyFusion" in set(pd.read_csv(table)["method"])
    run_python(*ivif, "predict", *line, f"--ckpt_path={checkpoint}", "--output_dir=fused")
    assert [path.name for path in (tmp_path / "fused").rglob("*.png")] == ["001.png"]
    folders = ("--infrared=pairs/warm", "--visible=pairs/seen", "--fused=pairs/seen", "--out=scores")
    run_python(*ivif, "report", "score", *folders, "--metrics", "Dark")
    assert "Dark ↓" in (tmp_path / "scores" / "summary.md").read_text(encoding="utf-8")
    fusion = ("--model.init_args.source.kind=checkpoint", f"--model.init_args.source.checkpoint={checkpoint}")
    run_python(*ivif, "fit", "--config=detection.yaml", *DETECTOR, *fusion, "--runs_dir=runs")
    levels = ("--config=text_to_pixels.yaml", "--config=text_to_pixels_cpu.yaml", "--model.init_args.clip=null")
    scheme = "--model.init_args.bilevel.scheme=every_other"
    run_python(*ivif, "fit", *levels, *DETECTOR, scheme, "--run_name=levels", "--runs_dir=runs")
    assert "bilevel/upper_loss" in (tmp_path / "runs" / "levels" / "latest" / "metrics.csv").read_text("utf-8")
    monkeypatch.chdir(source)
    passed = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "test_tiny_fusion.py")
    assert " passed" in passed
