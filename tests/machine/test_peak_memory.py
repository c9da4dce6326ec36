"""What a process held at most is its own, not what the one that started it held."""

import resource
import sys
from pathlib import Path

import pytest
import torch

from ivif.machine.peak_memory import peak_resident
from ivif.testing.processes import run_python

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's mark is Linux's")
MUCH = 1_500_000_000


@LINUX
def test_a_large_parent_does_not_count() -> None:
    held = torch.ones(MUCH // 4)
    assert peak_resident() > MUCH
    child = "from ivif.machine.peak_memory import peak_resident; print('peak', peak_resident())"
    peak = int(run_python("-c", child).split()[-1])
    assert held[0] == 1
    assert 1e6 < peak < 1e9


@LINUX
def test_what_was_held_and_let_go_counts() -> None:
    child = """
from ivif.machine.peak_memory import peak_resident
before = peak_resident()
held = bytearray(10**9)
del held
print("more", peak_resident() - before)
"""
    assert int(run_python("-c", child).split()[-1]) > 9e8


def test_elsewhere_it_is_what_getrusage_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for platform, unit in (("linux", 1024), ("darwin", 1)):
        monkeypatch.setattr(sys, "platform", platform)
        assert peak_resident(tmp_path / "status") >= largest * unit
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n")
    assert peak_resident(tmp_path / "status") == 2048 * 1024
