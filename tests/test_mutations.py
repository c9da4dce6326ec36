"""The list of seeded faults: whether each still applies. `make test-mutations` shows that each is caught."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations import ROOT, Fault, faults
from tests.test_architecture import ROOMS

FAULTS = faults()


def test_every_room_has_faults() -> None:
    rooms = Counter(Path(fault.file).parts[0] for fault in FAULTS)
    assert len(FAULTS) >= 40
    assert {*ROOMS} - {*rooms} <= {"configs", "testing"}  # hold no rules of their own
    assert max(Counter(fault.name for fault in FAULTS).values()) == 1


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_applies_and_is_looked_for(fault: Fault, tmp_path: Path) -> None:
    target = tmp_path / fault.file
    target.parent.mkdir(parents=True)
    shutil.copy(ROOT / fault.file, target)
    fault.apply(tmp_path)
    assert target.read_text(encoding="utf-8") != (ROOT / fault.file).read_text(encoding="utf-8")
    if target.suffix == ".py":
        compile(target.read_text(encoding="utf-8"), fault.file, "exec")
    assert fault.tests
    assert [name for name in fault.tests if not (ROOT / name.partition("::")[0]).exists()] == []
