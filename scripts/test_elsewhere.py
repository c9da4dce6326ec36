"""Runs `make test` from clones in places unlike this one: what passes there depends on no folder, user or clock.

    python scripts/test_elsewhere.py [--variant other-user|far-away|all] [arguments of pytest]

`other-user`: another user (where this one is root) with an empty HOME, blanks and non-ASCII letters in the path of the
clone, a short folder for what tests write, the C locale, and a random order, whose seed is printed.
`far-away`: fourteen hours ahead of UTC, long paths, and `pytest-of-root/pytest-0`, which pytest takes on a new machine.

The clones hold what is committed. Each has a virtual environment that borrows the packages of the one that runs this.
"""

import argparse
import os
import pwd
import random
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
OTHER_USER: Final = "nobody"


@dataclass(frozen=True)
class Variant:
    """Where a clone lies and what its tests are run with; paths are below a new folder.

    Args:
        clone: The clone.
        basetemp: pytest's folder.
        environment: Variables beside those of this process.
        as_other_user: Whether root hands the run to another user.
        in_random_order: Whether files, and the tests of each, are shuffled.
    """

    clone: str
    basetemp: str
    environment: Mapping[str, str] = field(default_factory=dict)
    as_other_user: bool = False
    in_random_order: bool = False


VARIANTS: Final = {
    "other-user": Variant("my clöne 图像", "t", {"LC_ALL": "C"}, as_other_user=True, in_random_order=True),
    "far-away": Variant(
        "/".join(["a-folder-with-a-long-name"] * 3) + "/clone",
        "/".join(["another folder with a long name"] * 3) + "/pytest-of-root/pytest-0",
        {"TZ": "Pacific/Kiritimati"},
    ),
}


def main() -> int:
    """Runs the chosen variants; returns 1 if one fails.

    Raises:
        SystemExit: If something that a variant needs is missing, in words.
    """
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--variant", choices=[*VARIANTS, "all"], default="all")
    options, arguments = parser.parse_known_args()
    if _git(ROOT, "status", "--porcelain"):
        print("Changes that are not committed are not tested.")
    chosen = VARIANTS if options.variant == "all" else {options.variant: VARIANTS[options.variant]}
    failed = [name for name, variant in chosen.items() if _run(name, variant, arguments) != 0]
    print(f"test-elsewhere: {len(chosen) - len(failed)} of {len(chosen)} passed", *failed, sep="; failed: ")
    return 1 if failed else 0


def _run(name: str, variant: Variant, arguments: list[str]) -> int:
    user = OTHER_USER if variant.as_other_user and os.geteuid() == 0 else None
    if variant.as_other_user and user is None:
        print("This is not root, so that the tests are run as this user and not as another one.")
    with tempfile.TemporaryDirectory(prefix="e", ignore_cleanup_errors=True) as place:
        clone, home, basetemp = (Path(place) / part for part in (variant.clone, "home", variant.basetemp))
        Path(place).chmod(0o755)
        home.mkdir()
        basetemp.parent.mkdir(parents=True, exist_ok=True)
        _git(ROOT, "clone", "--quiet", "--no-hardlinks", "--no-checkout", ".", str(clone))
        _git(clone, "checkout", "--quiet", "--detach", _git(ROOT, "rev-parse", "HEAD"))
        if user is not None:
            subprocess.run(["chown", "--recursive", user, place], check=True)
        _borrow_environment(clone / ".venv", user)
        options = [f"--basetemp={basetemp}", *_shuffling(variant), *arguments]
        command = ["make", "test", f"PYTEST_ARGS={shlex.join(options)}"]
        print(f"{name}: {shlex.join(command)} in '{clone}', as {user or 'this user'}", flush=True)
        environment = _environment({"HOME": str(home), **variant.environment})
        return subprocess.run(command, cwd=clone, env=environment, stdin=subprocess.DEVNULL, check=False,
                              **_identity(user)).returncode  # fmt: skip


def _borrow_environment(folder: Path, user: str | None) -> None:
    """A virtual environment with the packages of this one; the user must be able to run its interpreter."""
    system = shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
    interpreters = [path for path in (os.path.realpath(sys.executable), system) if path]
    if not any(_succeeds([python, "-m", "venv", "--without-pip", str(folder)], user) for python in interpreters):
        raise SystemExit(
            f"'{user or 'this user'}' can make no virtual environment with {' or '.join(interpreters)}. Install this "
            f"version of Python for all users, or let others enter the folders above it (chmod o+x)."
        )
    packages, own = sysconfig.get_path("purelib"), next(folder.glob("lib/python*/site-packages"))
    (own / "borrowed.pth").write_text(f"import site; site.addsitedir({packages!r})\n", encoding="utf-8")
    (folder / ".installed").touch()
    if not _succeeds([str(folder / "bin" / "python"), "-c", "import pytest, torch"], user):
        raise SystemExit(f"'{user or 'this user'}' cannot read {packages}: let others enter the folders above it.")


def _shuffling(variant: Variant) -> list[str]:
    return ["--random-order", f"--random-order-seed={random.randrange(10**6)}"] if variant.in_random_order else []


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's variables without those of make, whose settings are for this checkout; the same real pairs."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return {"IVIF_REAL_DATA": str(ROOT.parent / "shared" / "data"), **own, **changes}


def _identity(user: str | None) -> dict[str, Any]:
    """What `subprocess` needs to run something as that user."""
    return {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _succeeds(command: list[str], user: str | None) -> bool:
    try:
        return subprocess.run(command, cwd="/", check=False, **_identity(user)).returncode == 0
    except OSError:  # the user cannot reach the program
        return False


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
