"""The driver of the GPU check: what it keeps, what it names, when it ends a part, what it leaves alone."""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from benchmarks import gpu_check, tables
from benchmarks.gpu.report import Report
from benchmarks.gpu.runs import differences
from benchmarks.gpu.tasks import configured
from benchmarks.gpu.waits import expected_waits
from ivif.lightning_modules.mgfusion import MGFusionTask

STUCK = """
import json, subprocess, sys, time
from pathlib import Path
from types import SimpleNamespace
report, beside = Path(sys.argv[1]), Path(sys.argv[2])
report.write_text(json.dumps({"rows": [{"case": "first"}], "left_out": [], "failed": []}))
child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(5); open({str(beside)!r}, 'w')"])
time.sleep(60)
"""


def _committed() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in gpu_check.RESULTS.rglob("*") if path.is_file()}


def test_a_rehearsal_writes_json_and_pages_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = _committed()
    assert gpu_check.main(["--rehearse", "--only", "metrics", "--out", str(tmp_path)]) == 0
    document = json.loads((tmp_path / "gpu_check.json").read_text(encoding="utf-8"))
    part = document["parts"]["metrics"]
    assert document["rehearsal"]
    assert part["state"] == "done"
    assert [row["case"] for row in part["rows"]][1:3] == ["EN alone", "SD alone"]
    assert "| metrics | done | 22 | 0 | 0 |" in (tmp_path / "gpu_check.md").read_text(encoding="utf-8")
    assert (tmp_path / "metrics.md").read_text(encoding="utf-8").startswith(tables.GPU_SECTION)
    assert _committed() == before
    assert "metrics: done, 22 rows" in capsys.readouterr().err


def test_a_part_is_ended_at_its_limit_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outlived = tmp_path / "outlived"
    monkeypatch.setattr(gpu_check, "RESERVE", 0.0)
    monkeypatch.setattr(
        gpu_check, "part_command", lambda *given: [sys.executable, "-c", STUCK, str(given[1]), str(outlived)]
    )
    begun = time.monotonic()
    found = gpu_check.run_part("networks", 2.0, rehearse=True, long=False)
    assert time.monotonic() - begun < 5
    assert (found["state"], found["rows"]) == ("ended at its limit", [{"case": "first"}])
    time.sleep(max(0.0, 6 - (time.monotonic() - begun)))
    assert not outlived.exists()


def test_parts_end_within_the_time_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    clock = iter(range(0, 10_000, 60))  # a minute passes between any two looks at the clock

    def run(name: str, seconds: float, *_: bool) -> dict[str, object]:
        given.append(seconds)
        return {"state": "done", "rows": [], "left_out": [], "failed": [], "seconds": 0, "limit": seconds}

    monkeypatch.setattr(gpu_check, "run_part", run)
    monkeypatch.setattr(gpu_check, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    limits = {name: both[False] for name, both in gpu_check.LIMITS.items()}
    gpu_check.check(list(limits), rehearse=True, long=False, limits=limits)
    assert given == [80, 75, 130, 45, 45, 35, 20, -5]


def test_a_part_without_time_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    found = gpu_check.run_part("waits", 1.0, rehearse=True, long=False)
    assert found["state"] == "left out"
    assert "left out, no time was left (1): waits" in gpu_check.summary("waits", found)


def test_a_case_without_row_is_named_with_its_reason(tmp_path: Path) -> None:
    def missing() -> dict[str, object]:
        raise ModuleNotFoundError("No module named 'open_clip'", name="open_clip")

    def too_large() -> dict[str, object]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def wrong() -> dict[str, object]:
        raise ValueError("first line\nsecond line")

    report = Report(tmp_path / "report.json", 60, "cpu")
    for run in (missing, too_large, wrong, lambda: {"x": 1, "fault": "differs"}, lambda: {"x": 2}):
        report.case(getattr(run, "__name__", ""), run)
    report.case("late", lambda: {"x": 3}, needs=61)
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [row["x"] for row in found["rows"]] == [1, 2]
    assert [own["reason"] for own in found["left_out"]] == [
        "needs open_clip, which is not installed",
        "does not fit into the device's memory",
        "no time was left",
    ]
    assert [own["reason"] for own in found["failed"]] == ["ValueError: first line", "differs"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--rehearse", "--out", str(gpu_check.RESULTS)], "--rehearse measures nothing"),
        (["--pages", "missing.json"], "no such file"),
        (["--only", "nothing"], "invalid choice"),
    ],
)
def test_a_mistake_is_named(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_check.parse(arguments)
    assert reason in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_check.parse([])
    assert "finds no CUDA device" in capsys.readouterr().err


def test_the_pages_of_a_rehearsal_are_not_committed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    earlier, before = tmp_path / "gpu_check.json", _committed()
    earlier.write_text(json.dumps({"rehearsal": True, "parts": {}}), encoding="utf-8")
    assert gpu_check.main(["--pages", str(earlier)]) == 2
    assert "rehearsal" in capsys.readouterr().out
    assert _committed() == before


def test_a_page_measured_anew_keeps_its_gpu_section(tmp_path: Path) -> None:
    tables.write(tmp_path, "page", "# Page\n\n| a |\n", {})
    tables.write_gpu_section(tmp_path, "page", "## On a GPU\n\nfirst\n")
    tables.write_gpu_section(tmp_path, "page", "## On a GPU\n\nsecond\n")
    tables.write(tmp_path, "page", "# Page\n\n| b |\n", {})
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert text == f"# Page\n\n| b |\n\n{tables.GPU_SECTION}## On a GPU\n\nsecond\n"


def test_methods_are_built_as_their_configurations_say() -> None:
    base, light = (cast("MGFusionTask", configured("mgfusion", light, packages=False)) for light in (False, True))
    assert (base.network_config.channels, light.network_config.channels) == (32, 16)


def test_the_first_weights_that_differ_are_named() -> None:
    first = {"a": torch.zeros(2), "b": torch.ones(3), "c": torch.ones(1)}
    row = differences(first, {**first, "b": torch.tensor([1.0, 1.5, 1.0]), "c": torch.zeros(1)})
    assert (row["tensors"], row["different"], row["furthest"]) == (3, 2, 1.0)
    assert row["fault"] == "2 of 3 tensors differ, the first is b"
    assert "fault" not in differences(first, dict(first))


def test_expected_waits_are_read_without_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "table.py"
    table.write_text("import nowhere\n\nEXPECTED = {'mgfusion': 3}\n", encoding="utf-8")
    monkeypatch.setattr("benchmarks.gpu.waits.EXPECTED_WAITS", table)
    assert expected_waits() == {"mgfusion": 3}
    table.unlink()
    assert expected_waits() == {}


@pytest.mark.slow
def test_every_part_can_be_rehearsed(tmp_path: Path) -> None:
    assert gpu_check.main(["--rehearse", "--out", str(tmp_path)]) == 0
    parts = json.loads((tmp_path / "gpu_check.json").read_text(encoding="utf-8"))["parts"]
    assert list(parts) == list(gpu_check.LIMITS)
    assert all(part["rows"] for part in parts.values())
