"""The wheel: everything that the rooms hold is in it, and it works in an environment without this repository."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import setuptools

from tests.test_architecture import ROOMS

ROOT = Path(__file__).resolve().parent.parent
SHORT = (
    "--config=quickstart.yaml",
    "--data.init_args.train_length=4",
    "--data.init_args.evaluation_length=1",
    "--data.init_args.size=[64,96]",
    "--transforms.crop=32",
    "--trainer.max_steps=2",
    "--trainer.val_check_interval=1",
    "--trainer.accelerator=cpu",
)


def _committed() -> list[Path]:
    """Files that git knows, and that are still there, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, encoding="utf-8")
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_every_file_of_the_rooms_belongs_to_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    rule: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **options: rule.update(options))
    runpy.run_path(str(ROOT / "setup.py"))
    assert rule["package_dir"] == {"ivif": "ivif"} | {f"ivif.{room}": room for room in ROOMS}
    patterns = ["*.py", *rule["package_data"][""]]
    left_out = [
        path
        for path in _committed()
        if path.parts[0] in ROOMS
        and not (
            ".".join(("ivif", *path.parent.parts)) in rule["packages"]
            and any(fnmatch(path.name, pattern) for pattern in patterns)
        )
    ]
    assert left_out == []


def _run(*command: object, folder: Path) -> str:
    """What a command prints, in a folder, without what leads this process to the repository."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "IVIF_PLUGINS")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The interpreter of an environment with the dependencies, in which the wheel of the working tree is installed."""
    source = tmp_path / "source"
    for path in _committed():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    _run(*pip, "wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, folder=tmp_path)
    _run(sys.executable, "-m", "venv", "--without-pip", "env", folder=tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=tmp_path).strip())
    # A path in a .pth file is searched, but its own .pth files, as of an editable install, are not read.
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    (wheel,) = tmp_path.glob("*.whl")
    install = ("install", "--no-deps", "--no-index", "--no-compile", "--ignore-installed", wheel)
    _run(*pip, "--python", python, *install, folder=tmp_path)
    shutil.rmtree(source)
    return python


def _files(site: Path) -> set[Path]:
    return {path.relative_to(site) for path in site.rglob("*")}


@pytest.mark.slow
def test_the_wheel_works_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    folder, ivif = tmp_path / "empty", python.with_name("ivif")
    folder.mkdir()
    package = Path(_run(python, "-c", "import ivif; print(ivif.__file__)", folder=folder).strip()).parent
    assert package.is_relative_to(tmp_path / "env")
    before = _files(package.parent)
    inside = {Path(*path.parts[1:]) for path in before if path.parts[0] == "ivif"}
    assert {path for path in _committed() if path.parts[0] in ROOMS} <= inside
    assert "fit" in _run(ivif, "--help", folder=folder)
    _run(ivif, "fit", *SHORT, folder=folder)
    (readme,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    _run(python, "-m", "ivif", "data", "scenes", "--out=scenes", "--count=2", "--size=[64,96]", folder=folder)
    for source, name in (("ir", "thermal.png"), ("vi", "camera.png")):
        shutil.copy(min((folder / "scenes" / source).iterdir()), folder / name)
    assert "Qabf" in _run(python, "-c", readme, folder=folder)
    line = ("fuse", "thermal.png", "camera.png", "--out=fused.png", "--model=runs/quickstart/latest")
    assert "fused.png" in _run(ivif, *line, folder=folder)
    pictures = ("--infrared=scenes/ir", "--visible=scenes/vi", "--fused=scenes/vi")
    _run(ivif, "report", "score", *pictures, "--out=scores", "--metrics=EN", folder=folder)
    assert "maximum" in (folder / "scores" / "summary.md").read_text(encoding="utf-8")
    assert _files(package.parent) == before
