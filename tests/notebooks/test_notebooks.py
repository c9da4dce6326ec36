"""Notebooks are clean, define nothing, end in a checked result, and run in the interpreter that tests them.

pytest runs them themselves through nbmake (`notebooks/*.ipynb` are test items); what their results must be stands in
`tests/notebooks/expected.py`, which nbmake calls in the notebook's own kernel.
"""

import ast
import inspect
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from jupyter_client.manager import KernelManager
from nbmake.nb_run import NotebookRun

from tests.notebooks import expected

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ABSOLUTE = re.compile(r"(?<![\w.:/}])/(home|root|tmp|work|Users|mnt|opt|var)\b|\b[A-Z]:\\\\")

Cell = dict[str, Any]


def _cells(path: Path, kind: str) -> list[Cell]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def _source(cell: Cell) -> str:
    return "".join(line for line in cell["source"] if not line.startswith("%"))


def _definitions(source: str) -> list[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return [type(node).__name__ for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def _checks(path: Path) -> list[str]:
    found: list[str] = []
    for cell in _cells(path, "code"):
        found += cell["metadata"].get("nbmake", {}).get("post_cell_execute", [])
    return found


def test_the_six_are_there_in_order() -> None:
    assert [path.name[:3] for path in NOTEBOOKS] == ["01_", "02_", "03_", "04_", "05_", "06_"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_counts_or_machine_specific_paths(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for cell in _cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    assert not ABSOLUTE.search(text)
    assert json.loads(text)["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_is_defined_and_the_path_of_modules_is_left_alone(path: Path) -> None:
    assert [found for cell in _cells(path, "code") for found in _definitions(_source(cell))] == []
    assert not [cell for cell in _cells(path, "code") if "sys.path" in _source(cell)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_say_what_they_do_and_show_a_result(path: Path) -> None:
    words = sum(len("".join(cell["source"]).split()) for cell in _cells(path, "markdown"))
    assert words > 150
    sources = [_source(cell) for cell in _cells(path, "code")]
    assert isinstance(ast.parse(sources[-1]).body[-1], ast.Expr)
    assert not any(isinstance(node, ast.Assert) for source in sources for node in ast.walk(ast.parse(source)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_result_is_checked_when_they_run(path: Path) -> None:
    """The last code cell hands its values to the function of that name, and those are names of the notebook."""
    name = path.stem[3:]
    assert callable(getattr(expected, name))
    parameters = ", ".join(inspect.signature(getattr(expected, name)).parameters)
    checks = [f"from tests.notebooks.expected import {name}", f"{name}({parameters})"]
    assert _checks(path) == checks
    assert _cells(path, "code")[-1]["metadata"] == {"nbmake": {"post_cell_execute": checks}}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for cell in _cells(path, "markdown"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", "".join(cell["source"])):
            assert (path.parent / target).exists(), target


def test_the_readme_lists_each_of_them() -> None:
    readme = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\((\d\d_\w+\.ipynb)\)", readme) == [path.name for path in NOTEBOOKS]


def test_pytest_collects_them(pytestconfig: pytest.Config) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert "notebooks" in settings["testpaths"]
    assert pytestconfig.getoption("nbmake")
    assert 0 < pytestconfig.getoption("nbmake_timeout") <= int(settings["timeout"])


def test_the_kernel_is_this_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine where no kernel was ever registered."""
    for variable in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    assert KernelManager(kernel_name="python3").format_kernel_cmd()[0] == sys.executable


def test_the_rules_can_fail() -> None:
    assert _definitions("def f():\n    pass") == ["FunctionDef"]
    assert _definitions("key = lambda x: x") == ["Lambda"]
    assert ABSOLUTE.search('root="/home/me/data"')
    assert not ABSOLUTE.search('root="/data/MSRS", "runs/tmp/x", "../work"')


def test_a_wrong_result_fails_the_run(tmp_path: Path) -> None:
    metadata = {"nbmake": {"post_cell_execute": ["from math import isnan", "assert isnan(value)"]}}
    cell: Cell = {"cell_type": "code", "id": "a", "metadata": metadata, "outputs": [], "execution_count": None}
    for source, fails in (("value = 1.0", True), ("value = float('nan')", False)):
        content = {
            "cells": [cell | {"source": source}],
            "metadata": json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))["metadata"],
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (tmp_path / "one.ipynb").write_text(json.dumps(content), encoding="utf-8")
        run = NotebookRun(tmp_path / "one.ipynb", default_timeout=60)
        if fails:
            with pytest.raises(Exception, match="Post cell execution failed"):
                run.execute()
        else:
            assert run.execute().error is None


def test_expectations_can_fail() -> None:
    """A value function that stays where it started is not what notebook 5 promises."""
    table = pd.DataFrame({"distance": {"value_function": 1.0, "joint": 5.0}})
    with pytest.raises(AssertionError):
        expected.bilevel_on_a_toy_problem(table, {})
    with pytest.raises(AssertionError):
        expected.train_on_your_own_folder(0, 1, ROOT, ROOT, table)
