"""The pins: `requirements.lock` and `constraints.txt` say the same, fit pyproject.toml and name no host."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import audit

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
HASHED = re.compile(r"[\w.-]+==\S+( ; .+)?( --hash=sha256:[0-9a-f]{64})+")


def _lines(text: str) -> list[str]:
    """The entries of a requirements file, each on one line, without comments."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def _pins(text: str) -> dict[str, set[str]]:
    """Package -> its version with its marker; some have one version for an old Python and another one else."""
    pins: dict[str, set[str]] = {}
    for line in _lines(text):
        requirement = Requirement(line.partition(" --hash")[0])
        pins.setdefault(canonicalize_name(requirement.name), set()).add(
            f"{requirement.specifier}; {requirement.marker}"
        )
    return pins


def test_lock_and_constraints_name_the_same_versions() -> None:
    assert _pins(LOCK) == _pins(CONSTRAINTS)


def test_every_entry_of_the_lock_has_hashes_and_nothing_else() -> None:
    assert [line for line in _lines(LOCK) if not HASHED.fullmatch(line)] == []


@pytest.mark.parametrize(
    "entry",
    [
        "torch==2.15.0",
        "torch>=2.15.0 --hash=sha256:" + "0" * 64,
        "torch==2.15.0 --hash=md5:" + "0" * 32,
        "--index-url simple",
        "-e .",
    ],
)
def test_the_rule_of_hashes_can_fail(entry: str) -> None:
    assert HASHED.fullmatch("torch==2.15.0 ; sys_platform == 'linux' --hash=sha256:" + "0" * 64)
    assert not HASHED.fullmatch(entry)


def test_the_pins_fit_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = [Requirement(text) for group in groups for text in group]
    pins = {canonicalize_name(pin.name): pin for pin in map(Requirement, _lines(CONSTRAINTS))}
    wrong = []
    for requirement in asked:
        if requirement.name == project["name"]:
            continue
        (pinned,) = pins[canonicalize_name(requirement.name)].specifier
        if not requirement.specifier.contains(pinned.version):
            wrong.append(f"{requirement} is not met by {pinned.version}: run make lock")
    assert wrong == []


@pytest.mark.parametrize("text", [LOCK, CONSTRAINTS], ids=["lock", "constraints"])
def test_the_pins_name_no_address(text: str) -> None:
    assert "://" not in text
    assert re.search(r"^torch==", text, re.MULTILINE)
    assert re.search(r"^lightning==2\.6\.", text, re.MULTILINE)
    assert not re.search(r"^lightning==2\.6\.[23]\b", text, re.MULTILINE)


SOUND = {"name": "torch", "version": "2.15.0", "vulns": []}
UNSOUND = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.0"]}]}
UNKNOWN = {"name": "wandb", "skip_reason": "not found"}
TAKE_OUTPUT = 'while [ "$1" != {option} ]; do shift; done; cp {source} "$2"'


def _tools(folder: Path, monkeypatch: pytest.MonkeyPatch, answer: list[dict[str, object]] | None, uv: str) -> None:
    """Puts programs in the place of the audit's tools, with this answer of the vulnerability service."""
    (folder / "answer").write_text(json.dumps({"dependencies": answer}), encoding="utf-8")
    (folder / "parts").write_text('{"components": [{}, {}]}', encoding="utf-8")
    asked = TAKE_OUTPUT.format(option="--output", source=f"'{folder}/answer'")
    scripts = {
        "uv": uv,
        "pip-audit": "echo trace >&2; echo no such host >&2; exit 1" if answer is None else asked,
        "cyclonedx-py": TAKE_OUTPUT.format(option="--output-file", source=f"'{folder}/parts'"),
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))


@pytest.mark.parametrize(
    ("answer", "uv", "code", "said"),
    [
        ([SOUND], "exit 0", 0, "none is known for the other 1 packages"),
        ([SOUND, UNKNOWN], "exit 0", 0, "not checked for wandb"),
        ([SOUND, UNSOUND], "exit 0", 1, "pillow 1.0: PYSEC-1, fixed in 2.0"),
        ([UNKNOWN], "exit 0", 0, "NOT CHECKED, the index that pip-audit asked serves no vulnerability data"),
        (None, "exit 0", 0, "NOT CHECKED, pip-audit had no answer from its service (no such host)"),
        ([SOUND], "echo hashes differ >&2; exit 1", 1, "hashes differ"),
    ],
    ids=["sound", "unknown-package", "vulnerable", "no-service", "no-network", "lock"],
)
def test_an_audit_runs_every_check_and_says_what_it_could_not_ask(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: list[dict[str, object]] | None,
    uv: str,
    code: int,
    said: str,
) -> None:
    _tools(tmp_path, monkeypatch, answer, uv)
    assert audit.main(["--out", str(tmp_path / "out")]) == code
    out = capsys.readouterr().out
    assert said in out
    assert "none is known" not in out or answer != [UNKNOWN]
    assert out.count("Vulnerabilities: ") >= 1
    assert out.endswith("2 parts.\n")
