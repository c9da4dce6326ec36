"""Free memory, of the machine and of the control groups that hold the process."""

from pathlib import Path

import pytest
import torch

from ivif.machine.free_memory import free_memory

CPU = torch.device("cpu")
GIB = 2**30


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def system(tmp_path: Path) -> Path:
    _write(tmp_path, proc__meminfo=f"MemTotal: 99 kB\nMemAvailable: {8 * GIB // 1024} kB\n")
    return tmp_path


def test_without_groups_it_is_what_the_kernel_calls_available(system: Path) -> None:
    assert free_memory(CPU, system) == 8 * GIB


def test_a_group_of_version_2_bounds_it_and_its_parents_do_too(system: Path) -> None:
    group = "sys__fs__cgroup__job__step"
    _write(system, proc__self__cgroup="0::/job/step\n")
    _write(system, **{f"{group}__memoryDOTmax": "max", f"{group}__memoryDOTcurrent": str(GIB)})
    assert free_memory(CPU, system) == 8 * GIB
    _write(system, sys__fs__cgroup__job__memoryDOTmax=str(4 * GIB), sys__fs__cgroup__job__memoryDOTcurrent=str(3 * GIB))
    assert free_memory(CPU, system) == GIB
    _write(system, sys__fs__cgroup__job__memoryDOTstat=f"anon 5\ninactive_file {GIB}\n")
    assert free_memory(CPU, system) == 2 * GIB


def test_in_a_container_the_group_is_mounted_as_the_root(system: Path) -> None:
    _write(system, proc__self__cgroup="0::/of/the/host\n")
    _write(system, sys__fs__cgroup__memoryDOTmax=str(2 * GIB), sys__fs__cgroup__memoryDOTcurrent=str(3 * GIB))
    assert free_memory(CPU, system) == 0


def test_a_group_of_version_1_bounds_it_unless_it_has_no_limit(system: Path) -> None:
    group = "sys__fs__cgroup__memory__job"
    _write(system, proc__self__cgroup="3:cpu:/job\n2:hugetlb,memory:/job\n")
    limit, usage = f"{group}__memoryDOTlimit_in_bytes", f"{group}__memoryDOTusage_in_bytes"
    _write(system, **{limit: str(9223372036854771712), usage: str(GIB)})
    assert free_memory(CPU, system) == 8 * GIB
    _write(system, **{limit: str(4 * GIB)}, **{f"{group}__memoryDOTstat": f"total_inactive_file {GIB // 2}\n"})
    assert free_memory(CPU, system) == 4 * GIB - GIB + GIB // 2


def test_where_nothing_is_known_nothing_is_said(tmp_path: Path) -> None:
    assert free_memory(CPU, tmp_path) is None
    assert free_memory(torch.device("meta")) is None


def test_this_machine_has_some() -> None:
    free = free_memory(CPU)
    assert free is None or 2**20 < free < 2**50
