"""What a part of the GPU check found, written to a file after each case: what was measured survives the part's end."""

import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ivif.files.whole import write_whole


@dataclass
class Report:
    """Rows, what was left out and what failed, each with its case.

    Args:
        file: Where to, as JSON.
        seconds: No case begins later than this after the report was made.
        device: `cuda`, or `cpu` in a rehearsal.
        rehearse: Whether sizes are tiny.
        long: Whether there is time for more cases.
    """

    file: Path
    seconds: float
    device: str
    rehearse: bool = False
    long: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds until no case begins any more."""
        return self._end - time.monotonic()

    def case(self, name: str, run: Callable[[], Mapping[str, Any]], needs: float = 1.0) -> bool:
        """Runs a case and keeps its row; a missing package, too little memory or time leave it out, with the reason.

        Args:
            name: Of the case.
            run: Gives the row; its entry `fault`, where there is one, says why the case failed all the same.
            needs: Seconds without which it does not begin.

        Returns:
            Whether a package was missing.
        """
        if self.left < needs:
            self.leave_out(name, "no time was left")
            return False
        try:
            row = {"case": name, **run()}
        except ModuleNotFoundError as error:
            self.leave_out(name, f"needs {error.name}, which is not installed")
            return True
        except torch.OutOfMemoryError:
            self.leave_out(name, "does not fit into the device's memory")
        except Exception as error:
            traceback.print_exc()
            self.fail(name, f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")
        else:
            self.rows.append(row)
            if row.get("fault"):
                self.fail(name, row["fault"])
            print(f"{name}: {row}", file=sys.stderr, flush=True)
            self.write()
        return False

    def leave_out(self, name: str, reason: str) -> None:
        """Notes a case that was not run."""
        self.left_out.append({"case": name, "reason": reason})
        self.write()

    def fail(self, name: str, reason: str) -> None:
        """Notes a case that went wrong."""
        self.failed.append({"case": name, "reason": reason})
        self.write()

    def write(self) -> None:
        """The file, whole at any moment."""
        found = {"rows": self.rows, "left_out": self.left_out, "failed": self.failed}
        write_whole(self.file, json.dumps(found), durable=False)
