"""Where the host waits for the device: what makes it wait, in which line of ours, in which line of a library."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
_OWN = f"{REPOSITORY}/"
_TESTS = f"{REPOSITORY}/tests/"
_PACKAGES = "site-packages/"


class Wait(NamedTuple):
    """One reason to wait: what, in which of our lines, and in which line of a library that this line called, if any."""

    kind: str
    site: str
    library: str = ""

    def __str__(self) -> str:
        return f"{self.kind:<14} {self.site}{f'  ({self.library})' if self.library else ''}"


Waits = Counter[Wait]

_open: list[Waits] = []


def note(kind: str) -> None:
    """Counts one wait, where somebody counts."""
    if _open:
        wait = Wait(kind, *_lines())
        for counter in _open:
            counter[wait] += 1


@contextmanager
def counted() -> Iterator[Waits]:
    """What the host waits for while this is open."""
    found: Waits = Counter()
    _open.append(found)
    try:
        yield found
    finally:
        _open[:] = [counter for counter in _open if counter is not found]


def table(found: Waits) -> str:
    """One line for each, the most frequent first."""
    return "\n".join(
        f"{count:4d}  {wait}" for wait, count in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _lines() -> tuple[str, str]:
    """The innermost line of the repository (tests only where there is no other), and of a library that it called."""
    library, test = "", ""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_TESTS):
            test = test or ("" if "/pretend_gpu/" in name else f"{name[len(_OWN) :]}:{frame.f_lineno}")
        elif name.startswith(_OWN) and _PACKAGES not in name:
            return f"{name[len(_OWN) :]}:{frame.f_lineno}", library
        elif not library and _PACKAGES in name and f"{_PACKAGES}torch/" not in name:
            library = f"{name.split(_PACKAGES)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return (test or "outside", library)
