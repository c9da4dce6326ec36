"""What `make audit` asks: can the lock be installed, is a vulnerability known, what are the parts?

    python scripts/audit.py [--out FOLDER]

The tools (uv, pip-audit, cyclonedx-py) lie beside the interpreter that runs this; all three ask over the network.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = "requirements.lock"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs every check, whatever the others say. Returns 1 where one found something wrong, 0 elsewhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / ".cache" / "audit", help="Folder of the bill of materials.")
    out = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    checks: tuple[Callable[[Path], bool], ...] = (lock_installs, no_known_vulnerability, bill_of_materials)
    results = [check(out) for check in checks]
    return 0 if all(results) else 1


def lock_installs(out: Path) -> bool:
    """Whether every pin can be had with a hash that the lock names. Nothing is installed."""
    target = ["--target", str(out / "nowhere"), "--python-version", "3.11"]
    done = _run("uv", "pip", "install", "--dry-run", "--require-hashes", *target, "--requirement", LOCK)
    if done.returncode:
        print(f"Lock: {LOCK} cannot be installed:\n{done.stderr.strip()}")
        print("Where the index was reached, `make lock` writes the file anew: see what it changes.")
        return False
    print(f"Lock: every package of {LOCK} can be installed with its hashes.")
    return True


def no_known_vulnerability(out: Path) -> bool:
    """Whether no pinned version is known to be vulnerable; true, with a sentence, where nobody could be asked."""
    del out
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
        done = _run("pip-audit", *options, "--output", str(answer), "--requirement", LOCK)
        if not answer.is_file():
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            print(f"Vulnerabilities: NOT CHECKED, pip-audit had no answer from its service ({reason}).")
            return True
        packages: list[dict[str, Any]] = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
    return _judge(packages)


def _judge(packages: Sequence[dict[str, Any]]) -> bool:
    """Prints what the service said; one that knows no package at all has said nothing."""
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):
        print("Vulnerabilities: NOT CHECKED, the index that pip-audit asked serves no vulnerability data.")
        return True
    if unknown:
        print(f"Vulnerabilities: not checked for {', '.join(unknown)}, which the service does not know.")
    found = [(package, entry) for package in packages for entry in package.get("vulns", ())]
    for package, entry in found:
        fixed = ", ".join(entry["fix_versions"]) or "no version yet"
        print(f"Vulnerabilities: {package['name']} {package['version']}: {entry['id']}, fixed in {fixed}.")
    if not found:
        print(f"Vulnerabilities: none is known for the other {len(packages) - len(unknown)} packages.")
    return not found


def bill_of_materials(out: Path) -> bool:
    """Whether the parts could be written, as CycloneDX JSON: names, versions, hashes."""
    target = out / "sbom.cdx.json"
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--output-file", str(target)]
    done = _run("cyclonedx-py", "requirements", *options, LOCK)
    if done.returncode:
        print(f"Bill of materials: cyclonedx-py failed.\n{done.stderr.strip()}")
        return False
    print(f"Bill of materials: '{target}', {len(json.loads(target.read_text(encoding='utf-8'))['components'])} parts.")
    return True


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).parent / tool)
    return subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)


if __name__ == "__main__":
    sys.exit(main())
