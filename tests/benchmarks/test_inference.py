"""The benchmark of inference: what it compares is what it says, and its table can be made."""

from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import inference
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.models.mgfusion import MGFusionConfig


def task() -> MGFusionTask:
    torch.manual_seed(0)
    return MGFusionTask("compact", MGFusionConfig(channels=4, heads=1, blocks=1, expansion=1.0)).eval()


def test_the_product_takes_the_networks_operations() -> None:
    count = inference.operations(task(), inference.scenes((64, 80), 1)[0])
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        inference.product(count)()
    assert abs(counter.get_total_flops() - count) <= 1024 * 1024
    assert count > 2 * 64 * 80 * 9 * 4 * 4  # more than one convolution


def test_each_form_is_run_once_more_than_counted_in_turns() -> None:
    called: list[str] = []
    seconds = inference.measure({name: partial(called.append, name) for name in "ab"}, 3)
    assert called == ["a", "b"] * 4
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}


def test_quality_is_that_of_the_form() -> None:
    network, pairs = inference.plain(task()), inference.scenes((64, 80), 2)
    forms = {inference.NETWORK: network, "darker": lambda *pair: network(*pair) // 2, "visible": lambda _, own: own}
    costs = inference.quality(forms, pairs)
    assert costs[inference.NETWORK][1] == 0
    brightest = max(int(network(*pair).max()) for pair in pairs)
    assert costs["darker"][1] == brightest - brightest // 2
    assert costs["visible"][0] > costs["darker"][0] > 0


def test_rows_compare_the_fastest_passes() -> None:
    seconds = {inference.PUBLISHED: [4.0, 3.0], inference.NETWORK: [2.0, 1.0, 3.0], inference.LIMIT: [0.5, 0.7]}
    costs = {inference.PUBLISHED: (0.1, 99), inference.NETWORK: (0.6, 0)}
    published, network, limit = inference.rows_of(seconds, costs)
    assert (network["pictures / s"], network["min / matrix product"], network["min / eager"]) == (
        "0.50",
        "2.00",
        "1.000",
    )
    assert (network["Qabf"], network["levels from eager"]) == ("0.6000", "0")
    assert (published["min / eager"], published["Qabf"], limit["Qabf"]) == ("3.000", "", "")


@pytest.mark.slow
def test_the_script_writes_its_tables(tmp_path: Path) -> None:
    small = ["--size=48x64", "--threads=1", "--rounds=1", "--scenes=1", "--files=2", "--no-compile"]
    inference.main([*small, f"--output={tmp_path}"])
    rows = pd.read_csv(tmp_path / "inference.csv").set_index("variant")
    assert list(rows.index) == [
        *("published blocks", "eager", "onnxruntime, float32", "onnxruntime, 8 bits", "ivif.load", "matrix product")
    ]
    assert rows["levels from eager"]["onnxruntime, float32"] <= 1
    assert rows["levels from eager"]["onnxruntime, 8 bits"] > 0
    assert (rows["pictures / s"] > 0).all()
    files = pd.read_csv(tmp_path / "inference_files.csv").set_index("variant")
    assert files["of the command's"]["command"] == 1
    text = (tmp_path / "inference.md").read_text(encoding="utf-8")
    assert "GFLOPs" in text
    assert "## From file to file" in text
