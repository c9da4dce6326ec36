"""One run of a study: fit, then each test, as commands of their own; what is done is not done again."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ivif.commands.errors import UsageError
from ivif.commands.study.folds import FOLDER, FOLDS
from ivif.commands.study.planned import AFTER, PlannedRun, changes
from ivif.commands.study.record import OWN, PROGRESS, State, StudyRun
from ivif.commands.train.run_folder import RUN_FOLDER_VARIABLE, lock_run_folder, unlock_folder
from ivif.contracts.run_files import CONFIG, LAST
from ivif.files.inside import OutsideFileError, read_inside
from ivif.files.whole import write_whole
from ivif.machine.termination import EXIT_TERMINATED

STOPPED: Final = 75
_SHARED: Final = ("--trainer.accelerator", "--trainer.limit_test_batches", "--loading.")
"""Options of a fit that its tests have too."""
_COUNTED: Final = re.compile(r"Scored: (\d+) of (\d+) pairs")


@dataclass
class Execution:
    """A run on its way; `progress.json` in its folder says how far it came.

    Attributes:
        study: The study's folder.
        run: What is to be run.
        doing: What it does now, for the table on the terminal.
        process: The command that runs now.
        progress: How far it came, as in the file.
        environment: Environment variables of its commands, beside those of this process.
    """

    study: Path
    run: PlannedRun
    doing: str = "waiting"
    process: subprocess.Popen[bytes] | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads how far it came.

        Raises:
            UsageError: If it was begun with other settings.
        """
        self._read()

    def _read(self) -> None:
        path = self.folder / PROGRESS
        settings = self.run.settings()
        try:
            self.progress = json.loads(read_inside(path, self.study)) if path.is_file() else {}
            old = self.progress.get("digest") is not None  # of versions before 2026-12
            changed = (
                "an earlier version began it" if old else changes(self.progress.get("settings", settings), settings)
            )
        except (ValueError, AttributeError, TypeError) as error:
            raise UsageError(f"'{path}' is damaged: {error}. Remove '{self.folder}' to run it anew.") from error
        if changed:
            raise UsageError(
                f"{self.run.name}: its configuration has changed since it was begun in '{self.folder}' ({changed}). "
                f"Give the study's file another name, or remove that folder to run it anew."
            )
        self.progress["settings"] = settings

    @property
    def folder(self) -> Path:
        """Where the run keeps everything."""
        return self.study / self.run.name

    def finished(self) -> bool:
        """Whether nothing is left to do."""
        trained = self.run.kind == "folder" or "trained" in self.progress
        return trained and all(test.name in self.progress.get("tests", {}) for test in self.run.tests)

    def execute(self) -> StudyRun:
        """Does what is left, in the folder of the run, which it claims; a failure is noted, not raised."""
        try:
            lock_run_folder(self.folder, "run", "--studies_dir")
        except (UsageError, OutsideFileError) as refused:
            self.doing = "failed"
            return self.record(problem=str(refused))
        try:
            self._read()  # another process may have had it until now
            record = self._do()
            self._note(OWN, asdict(record))
        except UsageError as refused:
            self.doing = "failed"
            return self.record(problem=str(refused))
        finally:
            unlock_folder(self.folder)
        return record

    def _do(self) -> StudyRun:
        try:
            if self.run.kind == "run" and "trained" not in self.progress:
                self._fit()
            for test in self.run.tests:
                if test.name not in self.progress.setdefault("tests", {}):
                    do = self._score if self.run.kind == "folder" else self._test
                    do(test.name, test.arguments)
        except _EndedError as ended:
            self.doing = "stopped" if ended.stopped else "failed"
            return self.record(problem=str(ended))
        self.doing = "finished"
        return self.record()

    def record(self, problem: str = "") -> StudyRun:
        """Its entry in the record of the study."""
        run, tests = self.run, self.progress.get("tests", {})
        state: State = "finished" if self.finished() else "waiting"
        if self.doing in ("stopped", "failed"):
            state = "stopped" if self.doing == "stopped" else "failed"
        trained = str(self.progress.get("trained", ""))
        tables = tuple(str(tests[test.name]) for test in run.tests if test.name in tests)
        folder = run.name if run.kind == "folder" else trained
        return StudyRun(
            run.row, run.kind, run.config, run.arguments, run.data, run.seed, run.fold, folder, tables, state, problem,
            run.name,
        )  # fmt: skip

    def _fit(self) -> None:
        """Trains, or goes on where it was stopped."""
        place = self.folder / "fit"
        begun = [path.parent.parent for path in place.glob(f"*/{LAST}") if (path.parent.parent / CONFIG).is_file()]
        begun = [path for path in begun if not path.is_symlink()]
        newest = max(begun, key=lambda path: path.name, default=None)
        if newest is not None:
            arguments = ["fit", "--resume", str(newest)]
        else:
            arguments = ["fit", *self._arguments(), f"--runs_dir={self.folder}", "--run_name=fit"]
        self._call("fit", arguments)
        trained = (newest or place / "latest").resolve().relative_to(self.study.resolve())
        self._note("trained", str(trained))

    def _arguments(self) -> list[str]:
        """Options of the training, with the checkpoint that it begins from."""
        words = self._placed(self.run.arguments)
        if not self.run.after:
            return words
        path = self.study / self.run.after / PROGRESS
        before = json.loads(read_inside(path, self.study)) if path.is_file() else {}
        if "trained" not in before:
            raise _EndedError(f"{self.run.after}, from which it begins, was not trained")
        checkpoint = str(self.study / before["trained"] / LAST)
        return [word.replace(AFTER, checkpoint) for word in words]

    def _placed(self, words: Sequence[str]) -> list[str]:
        """Options with the folder of the folds."""
        return [word.replace(FOLDS, str(self.study / FOLDER)) for word in words]

    def _test(self, name: str, options: Sequence[str]) -> None:
        checkpoint = self.study / self.progress["trained"] / LAST
        places = [f"--runs_dir={self.folder}", f"--run_name={name}"]
        shared = [word for word in self.run.arguments if word.startswith(_SHARED)]
        self._call(name, ["test", *shared, *options, f"--ckpt_path={checkpoint}", *places])
        tables = (self.folder / name / "latest-test").resolve() / "tables"
        self._note_test(name, str(tables.relative_to(self.study.resolve())))

    def _score(self, name: str, options: Sequence[str]) -> None:
        out = self.folder / name
        (fused,) = self.run.arguments
        places = [f"--fused={fused}", f"--out={out}", "--classic=false", "--overwrite=true"]
        self._call(name, ["report", "score", *self._placed(options), *places])
        counted = _COUNTED.search(self._log(name).read_text(encoding="utf-8", errors="replace"))
        if counted and counted[1] != counted[2]:
            raise _EndedError(f"'{fused}' has usable pictures of {counted[1]} of {counted[2]} pairs; see {out}")
        self._note_test(name, str(out.relative_to(self.study)))

    def _call(self, name: str, arguments: list[str]) -> None:
        """Runs a command with its output in a log.

        Raises:
            _EndedError: If it fails or is stopped.
        """
        self.doing = name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write()
        environment = {key: value for key, value in os.environ.items() if key != RUN_FOLDER_VARIABLE}
        environment |= self.environment
        with self._log(name).open("wb") as log:
            command = [sys.executable, "-m", "ivif", *arguments]
            self.process = subprocess.Popen(  # noqa: S603 - this program itself
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
            )
            code = self.process.wait()
        self.process = None
        if code:
            stopped = code in (STOPPED, 130, EXIT_TERMINATED) or code < 0
            raise _EndedError(f"{name} ended with exit code {code}: {self._last_line(name)}", stopped)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _last_line(self, name: str) -> str:
        text = self._log(name).read_text(encoding="utf-8", errors="replace")
        errors = [line for line in text.splitlines() if line.startswith("error:")]
        return f"{errors[-1].removeprefix('error: ') if errors else 'see'} ({self._log(name)})"

    def _note(self, key: str, value: Any) -> None:
        self.progress[key] = value
        self._write()

    def _note_test(self, name: str, tables: str) -> None:
        self.progress.setdefault("tests", {})[name] = tables
        self._write()

    def _write(self) -> None:
        write_whole(self.folder / PROGRESS, json.dumps(self.progress, indent=1) + "\n")


class _EndedError(Exception):
    """A command that did not end well.

    Args:
        message: How it ended.
        stopped: Whether it can go on.
    """

    def __init__(self, message: str, stopped: bool = False) -> None:
        super().__init__(message)
        self.stopped = stopped
