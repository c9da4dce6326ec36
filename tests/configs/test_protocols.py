"""Every row of a detection table is trained alike: resolved configurations are compared, not files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ivif.commands.cli import main
from ivif.configs import CONFIGS
from tests.configs.test_configs import method_flags

DATASETS = ("m3fd", "msrs", "llvip")
SOURCES = ("infrared", "visible", "average", "folder")
IN_TURN: dict[str, dict[str, Any]] = {
    "separate": {"lower_share": 0.5},
    "alternate": {"lower_steps": 1, "upper_steps": 1, "unit": "epoch"},
}
"""Schemes whose detector steps in one half of the iterations, and by what settings."""
TOGETHER = ("joint", "value_function")


def resolved(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What `--print_config` prints."""
    with pytest.raises(SystemExit):
        main(["fit", *arguments, "--print_config"])
    found: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return found


def _options(dataset: str, name: str) -> list[str]:
    """The files of a row where fusion is trained too."""
    ablation = f"ablations/text_to_pixels_{name}.yaml"
    protocol = f"protocols/text_to_pixels_{dataset}{'_in_turn' if name in IN_TURN else ''}.yaml"
    files = ["text_to_pixels.yaml", *([ablation] if (CONFIGS / ablation).is_file() else []), protocol]
    return [f"--config={file}" for file in files]


def _shared(config: dict[str, Any], detector: dict[str, Any], share: float = 1.0) -> dict[str, Any]:
    """What a row has in common with the others.

    Args:
        config: Of its run.
        detector: Where that has optimiser and schedule of the detector.
        share: Of the iterations in which the detector steps.
    """
    model, data = config["model"]["init_args"], config["data"]
    trainer, loading = config["trainer"], config["loading"]
    parts = trainer["accumulate_grad_batches"] * model.get("bilevel", {}).get("accumulate", 1)
    batch = loading["batch_size"] * trainer["accumulate_grad_batches"]
    return {
        "detector": model["detector"],
        "training": model["training"],
        "optimizer": detector["optimizer"],
        "schedule": detector["schedule"],
        "data": (data["class_path"], {key: data["init_args"][key] for key in ("root", "manifest", "reading")}),
        "transforms": config["transforms"],
        "steps": trainer["max_steps"] * share,
        "epochs": trainer["max_epochs"],
        "batch": (batch, batch / parts, loading["share_batch"]),
        "seed": config["seed_everything"],
        "chosen by": (config["checkpoint"]["monitor"], config["checkpoint"]["save_top_k"]),
    }


@pytest.mark.parametrize("dataset", DATASETS)
def test_rows_share_all_that_trains_the_detector(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--config=detection.yaml", f"--config=protocols/detection_{dataset}.yaml"]
    plain = [resolved(capsys, *files, f"--model.source.kind={kind}") for kind in SOURCES]
    rows = [_shared(config, config["model"]["init_args"]) for config in plain]
    for name in (*IN_TURN, *TOGETHER):
        config = resolved(capsys, *_options(dataset, name))
        model = config["model"]["init_args"]
        assert {"scheme": name, **IN_TURN.get(name, {})}.items() <= model["bilevel"].items()
        rows.append(_shared(config, model["upper"], 0.5 if name in IN_TURN else 1.0))
    for row in rows[1:]:
        assert row == rows[0]
    assert rows[0]["training"]["augmentation"]["mosaic"] == 1.0
    assert rows[0]["steps"] > 1000


@pytest.mark.parametrize("preset", ["", "_cpu"])
def test_the_methods_files_alone_share_it_too(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("detection", "text_to_pixels")
    files = [[f"--config={name}.yaml", *([f"--config={name}_cpu.yaml"] if preset else [])] for name in names]
    plain, fused = (resolved(capsys, *each) for each in files)
    left = _shared(plain, plain["model"]["init_args"])
    assert left == _shared(fused, fused["model"]["init_args"]["upper"])


def test_promptfusion_from_fusion_shares_it(capsys: pytest.CaptureFixture[str]) -> None:
    data = "--data=msrs_detection.yaml"
    files = ["promptfusion.yaml", "promptfusion_cpu.yaml", "protocols/promptfusion_from_fusion_cpu.yaml"]
    fused = resolved(capsys, *(f"--config={file}" for file in files), data)
    steps = "--trainer.max_steps=600"
    plain = resolved(capsys, "--config=detection.yaml", "--config=detection_cpu.yaml", data, steps)
    left, right = _shared(plain, plain["model"]["init_args"]), _shared(fused, fused["model"]["init_args"]["upper"])
    assert left == right
    phases = fused["model"]["init_args"]["phases"]
    assert phases["detector"] + phases["bilevel"] == left["steps"]


@pytest.mark.parametrize("name", ["detection_msrs", "text_to_pixels_msrs", "text_to_pixels_msrs_in_turn"])
def test_a_protocol_runs(name: str, tmp_path: Path) -> None:
    line = method_flags([f"{name.partition('_msrs')[0]}.yaml", f"protocols/{name}.yaml"])
    assert main(["fit", *line, f"--runs_dir={tmp_path}"]) == 0
