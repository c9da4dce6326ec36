"""What an import may load, seen in a process of its own: a script that scores images should not wait for a trainer."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("lightning", "open_clip", "ultralytics", "wandb", "matplotlib", "pandas", "faster_coco_eval")
ROOMS = ("bilevel", "contracts", "image_ops", "losses", "machine", "scenes")
"""Of which every module is light."""


def modules_of(room: str) -> list[str]:
    """Every module of a room, by its name in the package."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / room).rglob("*.py"))]
    return [".".join(("ivif", *path.parts)).removesuffix(".__init__") for path in paths]


NETWORKS = [f"ivif.models.{name}" for name in ("mgfusion", "text_to_pixels", "promptfusion", "classic", "clip")]
READERS = [f"ivif.datamodules.datasets.{name}" for name in ("m3fd", "tno", "roadscene", "msrs", "llvip", "folder")]
LIGHT = {
    "the package": (["ivif"], (*HEAVY, "torch")),
    "run folders": (["ivif.commands.train.run_folder"], (*HEAVY, "torch")),
    "metrics": (["ivif.metrics"], (*HEAVY, "torchmetrics", "torchvision", "scipy")),
    "networks": (NETWORKS, (*HEAVY, "torchmetrics", "torchvision", "timm")),
    "readers and detectors": ([*READERS, "ivif.models.detection"], (*HEAVY, "torchmetrics")),
    "rooms": ([name for room in ROOMS for name in modules_of(room)], (*HEAVY, "torchmetrics", "torchvision")),
}
"""What is imported in one process, and packages that this must not load."""

COMMANDS = {
    "report score --help": (*HEAVY, "torch", "numpy"),
    "data --help": (*HEAVY, "torch", "numpy"),
    "data scenes --help": (*HEAVY, "torch", "numpy"),
    "fit --config mgfusion.yaml --print_config": ("open_clip", "ultralytics", "wandb", "pandas", "scipy", "cv2"),
}
"""Command line: packages that it must not load; Lightning itself needs torchmetrics, and with it matplotlib."""


def loaded_by(code: str, packages: tuple[str, ...]) -> list[str]:
    """Which of the packages are there after the code was run; its output is not looked at."""
    script = f"{code}\nimport sys; print('loaded:', *sorted(set(sys.modules) & set({packages!r})))"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    return ended.stdout.rpartition("loaded:")[2].split()


@pytest.mark.parametrize("what", LIGHT)
def test_an_import_loads_no_more_than_it_needs(what: str) -> None:
    modules, packages = LIGHT[what]
    assert loaded_by(f"import {', '.join(modules)}", packages) == []


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_loads_no_more_than_it_needs(line: str) -> None:
    code = (
        f"import sys; sys.argv = ['main.py', *{line.split()!r}]\nfrom ivif.__main__ import main\n"
        f"try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
    )
    assert loaded_by(code, COMMANDS[line]) == []


def test_these_checks_can_fail() -> None:
    assert loaded_by("import pandas", HEAVY) == ["pandas"]
