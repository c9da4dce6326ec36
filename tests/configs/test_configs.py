"""Every committed configuration parses and runs every subcommand on generated data."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from ivif.commands.cli import main
from ivif.configs import CONFIGS
from ivif.contracts.class_paths import full_path
from ivif.models.classic import CLASSIC_FUSIONS
from ivif.testing.configurations import SHORT, ConfigurationTests

CLIP = "--model.init_args.clip=random-tiny"
MGFUSION = (
    CLIP,
    "--data.init_args.size=[48,56]",
    "--transforms.crop=32",
    "--model.init_args.network.channels=8",
    "--model.init_args.network.heads=2",
    "--model.init_args.network.blocks=1",
)
DETECTION = ("--data.init_args.size=[64,64]", "--transforms.resize=[64,64]")
TEXT_TO_PIXELS = (
    *DETECTION,
    "--model.init_args.detector.architecture=yolov5n",
    "--model.init_args.detector.image_size=64",
    "--model.init_args.crops.size=32",
    "--model.init_args.network.channels=4",
    "--model.init_args.network.dilations=[1]",
    "--model.init_args.network.features=8",
    "--model.init_args.network.width=16",
    "--model.init_args.network.heads=2",
    "--model.init_args.network.codebook_entries=8",
    "--model.init_args.network.decoder_channels=[8]",
)
PROMPTFUSION = (
    *DETECTION,
    "--model.init_args.detector.architecture=yolov5n",
    "--model.init_args.detector.image_size=64",
    "--model.init_args.crops.size=32",
    "--model.init_args.network.channels=4",
    "--model.init_args.network.blocks=1",
    "--model.init_args.network.heads=2",
    "--model.init_args.network.detail_channels=[4,4,4,4]",
)
SMALL = {
    "mgfusion": MGFUSION,
    "quickstart": MGFUSION,
    "text_to_pixels": TEXT_TO_PIXELS,
    "promptfusion": PROMPTFUSION,
    "detection": DETECTION,
}
"""What makes a run of each method's configuration take a second."""
TESTED_ELSEWHERE = ("cluster", "data", "logger", "protocols", "published", "searches", "studies", "sweeps")
"""Folders of configurations that are no overlays of one method: below, beside, and in tests/commands."""


def method_flags(files: Sequence[str]) -> list[str]:
    """Options that run a method's file, and overlays after it, in a second."""
    method = files[0].removesuffix(".yaml")
    return [*(f"--config={file}" for file in files), *SHORT, *SMALL[method], *clip_flags(method, files)]


def clip_flags(method: str, files: Sequence[str] = ()) -> list[str]:
    """A small encoder where the method has one and the ablation does not take it away, which it would undo."""
    if any("without_text" in file or "without_prompts" in file for file in files):
        return []
    return {"text_to_pixels": [CLIP], "promptfusion": ["--model.init_args.prompts.clip=random-tiny"]}.get(method, [])


class _Tests(ConfigurationTests):
    """Files beside a method's run among the slow tests; that they are accepted and change something is soon seen."""

    def options_for(self, files: Sequence[str]) -> Sequence[str]:
        method = files[0].removesuffix(".yaml")
        return [*SMALL[method], *clip_flags(method, files)]

    def parameters(self) -> dict[str, Sequence[Any]]:
        slow = [pytest.param(files, marks=pytest.mark.slow if _is_rare(files) else ()) for files in self.combinations()]
        return super().parameters() | {"files": slow}


def _is_rare(files: Sequence[str]) -> bool:
    """Whether a file is neither a method's own nor that for machines without a GPU."""
    return len(files) > 1 and not files[-1].endswith("_cpu.yaml")


class TestMGFusion(_Tests):
    config = "mgfusion.yaml"


class TestQuickstart(_Tests):
    config = "quickstart.yaml"


class TestTextToPixels(_Tests):
    config = "text_to_pixels.yaml"


class TestPromptFusion(_Tests):
    config = "promptfusion.yaml"


class TestDetection(_Tests):
    config = "detection.yaml"


COMBINATIONS = [
    files
    for tests in (TestMGFusion, TestQuickstart, TestTextToPixels, TestPromptFusion, TestDetection)
    for files in tests.combinations()
]


@pytest.mark.parametrize("files", [files for files in COMBINATIONS if _is_rare(files)], ids=lambda files: files[1])
def test_a_file_beside_a_method_s_is_accepted_and_changes_something(files: tuple[str, ...]) -> None:
    assert _printed(*files) != _printed(files[0])


@cache
def _printed(*files: str) -> str:
    with redirect_stdout(StringIO()) as printed, pytest.raises(SystemExit) as stopped:
        main(["fit", *(f"--config={file}" for file in files), "--print_config"])
    assert stopped.value.code == 0
    return printed.getvalue()


def test_no_configuration_is_left_out() -> None:
    tested = {file for files in COMBINATIONS for file in files}
    elsewhere = {f"{folder}/{path.name}" for folder in TESTED_ELSEWHERE for path in (CONFIGS / folder).glob("*.yaml")}
    everything = {str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml")}
    assert everything == tested | elsewhere | {"default.yaml", "classic.yaml"}


def test_a_fixed_rule_is_tested_and_fuses_without_weights(tmp_path: Path) -> None:
    line = ["--config=classic.yaml", *SHORT, "--model.init_args.method=maximum", f"--runs_dir={tmp_path / 'runs'}"]
    assert main(["test", *line]) == 0
    (table,) = tmp_path.rglob("tables/test.csv")
    assert sorted(pd.read_csv(table)["method"]) == sorted(CLASSIC_FUSIONS)
    assert main(["predict", *line, f"--output_dir={tmp_path / 'out'}"]) == 0
    assert list((tmp_path / "out").rglob("*.png"))
    assert main(["fit", *line]) == 1


@pytest.mark.parametrize("path", sorted((CONFIGS / "data").glob("*.yaml")), ids=lambda path: path.stem)
def test_data_configurations_are_accepted(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = yaml.safe_load(path.read_text(encoding="utf-8"))["class_path"]
    assert full_path(named).startswith("ivif.datamodules.")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "mgfusion.yaml", "--data", path.name, "--print_config"])
    assert stopped.value.code == 0
    assert f"class_path: {full_path(named)}" in capsys.readouterr().out


def test_data_files_name_one_dataset_each() -> None:
    readers = {path.stem for path in (CONFIGS.parent / "datamodules" / "datasets").glob("*.py")}
    for name in ("m3fd", "tno", "roadscene", "msrs", "llvip", "folder", "synthetic"):
        assert name in readers
        assert (CONFIGS / "data" / f"{name}.yaml").is_file()
        assert (CONFIGS.parent / "datamodules" / f"{name}.py").is_file()
