"""`make weights`: every released network has a recipe, which is the command that its card names."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ivif.files.plain_yaml import load_plain
from ivif.files.released import read_released
from ivif.weights import find_weights, released_names
from ivif.weights.find import FOLDER
from scripts.train_weights import RECIPES, fit_arguments

SCRIPT = RECIPES.parent.parent / "scripts" / "train_weights.py"


def test_every_network_has_a_recipe() -> None:
    assert list(load_plain(RECIPES)) == released_names()


@pytest.mark.parametrize("name", released_names())
def test_a_recipe_is_what_the_file_was_made_by(name: str) -> None:
    recipe, release = load_plain(RECIPES)[name], read_released(find_weights(name))["release"]
    assert shlex.split(release["command"]) == ["ivif", "fit", *fit_arguments(name, recipe, "data")]
    assert (release["licence"], release["limits"]) == (recipe["licence"], recipe["limits"])


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_would_be_run_is_shown(tmp_path: Path) -> None:
    done = _run("mgfusion-light", "--root", "my data", "--out", str(tmp_path), "--dry_run")
    assert done.returncode == 0, done.stderr
    fit, pack = (shlex.split(line) for line in done.stdout.splitlines() if line.startswith("$"))
    assert fit[:4] == ["$", "python", "-m", "ivif"]
    assert fit[fit.index("--data.root") + 1] == "my data"
    assert f"--out={tmp_path}" in pack
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_lists_the_known() -> None:
    done = _run("mgfusion-heavy", "--dry_run")
    assert done.returncode == 2
    assert f"no recipe for mgfusion-heavy. Known: {', '.join(load_plain(RECIPES))}" in done.stderr
    assert "Traceback" not in done.stderr


def test_recipes_lie_beside_the_files() -> None:
    assert RECIPES.parent == FOLDER
