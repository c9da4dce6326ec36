"""Trains the networks of `weights/` again, each by its recipe, and packs it there with its card.

    python scripts/train_weights.py [NAME ...] [--root data] [--out weights] [--dry_run]

`make weights` calls it; WEIGHTS="NAME ..." and ROOT=FOLDER are its arguments. A recipe of `weights/recipes.yaml` is the
command of a run, which reads the public datasets below ROOT. A run that was stopped goes on; one that is finished is
packed again: remove `runs/NAME` where its recipe has changed since.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ivif.contracts.run_files import LAST  # noqa: E402
from ivif.files.plain_yaml import load_plain  # noqa: E402

RECIPES: Final = ROOT / "weights" / "recipes.yaml"
STOPPED: Final = 75
"""Exit code of a run that was asked to stop."""


def main() -> int:
    """Trains and packs what is asked for, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    recipes: dict[str, Any] = load_plain(RECIPES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(recipes)}; all of them by default")
    parser.add_argument("--root", default="data", help="the folder that holds the datasets")
    parser.add_argument("--out", default=str(RECIPES.parent), help="where the released files go")
    parser.add_argument("--dry_run", action="store_true", help="only show the commands")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in recipes]:
        parser.error(f"no recipe for {', '.join(unknown)}. Known: {', '.join(recipes)}.")
    for name in options.names or recipes:
        if code := _train(name, recipes[name], options):
            return code
    return 0


def _train(name: str, recipe: dict[str, Any], options: argparse.Namespace) -> int:
    """One network; returns the exit code of the command that failed, or 0."""
    run = ROOT / "runs" / name / "latest"
    begun = (run / LAST).is_file()
    fit = ["--resume", str(run.resolve())] if begun else fit_arguments(name, recipe, options.root)
    texts = [f"--{key}={recipe[key]}" for key in ("licence", "limits")]
    pack = ["models", "pack", f"--ckpt_path={run}", f"--name={name}", f"--out={options.out}", *texts]
    for arguments in (["fit", *fit], pack):
        print(f"\n$ python -m ivif {shlex.join(arguments)}", flush=True)
        if options.dry_run:
            continue
        command = [sys.executable, "-m", "ivif", *arguments]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            again = "; the same command goes on" if code == STOPPED else ""
            print(f"{name}: ended with exit code {code}{again}", file=sys.stderr)
            return code
    return 0


def fit_arguments(name: str, recipe: dict[str, Any], root: str) -> list[str]:
    """Options of `fit` behind a recipe, with the datasets in the folder `root`."""
    words = [word.replace("{root}", root) for word in shlex.split(recipe["fit"])]
    return [*words, "--run_name", name]


if __name__ == "__main__":
    sys.exit(main())
