"""What messages about pairing advise is done, option for option, and must help."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from ivif.commands.cli import main
from tests.commands.test_scored_pairs import write_pair
from tests.inputs import brings
from tests.refusals import accepted

ADVISED = re.compile(r"--[a-z_.]+(?: (?:'[^']*'|/\S+|folder\.yaml|FILE))?")
"""An option, and its value where one is advised."""

Make = Callable[[Path], list[str]]


def _check(root: Path, *more: str) -> list[str]:
    return ["data", "check", "--data", "folder.yaml", "--data.root", str(root), "--data.train_fraction", "0", *more]


def _numbers(root: Path) -> list[str]:
    for number in (1, 2):
        write_pair(root / "ir" / f"hot-{number:03}.png", root / "vi" / f"cold-{number:03}a.png", number)
    return _check(root)


def _no_pattern(root: Path) -> list[str]:
    write_pair(root / "ir" / "hot.png", root / "vi" / "seen.png")
    return _check(root)


def _one_place(root: Path) -> list[str]:
    write_pair(root / "both" / "hot.png", root / "both" / "seen.png")
    return _check(root, "--data.layout.infrared", "both", "--data.layout.visible", "both")


def _twice(root: Path) -> list[str]:
    write_pair(root / "ir" / "hot.png", root / "vi" / "hot.png")
    write_pair(root / "ir" / "hot.bmp", root / "vi" / "seen.png")
    return _check(root)


def _other_names(root: Path) -> list[str]:
    write_pair(root / "hot" / "hot.png", root / "cold" / "seen.png")
    return _check(root)


def _named_dataset(root: Path) -> list[str]:
    for number in (1, 2):
        write_pair(root / "cropinfrared" / f"a{number}.jpg", root / "crop_LR_visible" / f"b{number}.jpg", number)
    return ["data", "check", "--data", "roadscene.yaml", "--data.root", str(root)]


def _missing_list(root: Path) -> list[str]:
    write_pair(root / "hot" / "hot.png", root / "cold" / "seen.png")
    return _check(root, "--data.layout.pairs", "nowhere.csv")


def _missing_names(root: Path) -> list[str]:
    write_pair(root / "ir" / "hot.png", root / "vi" / "hot.png")
    return _check(root, "--data.layout.test_list", "nowhere.txt")


def _unclear_sequence(root: Path) -> list[str]:
    write_pair(root / "ir" / "hot.png", root / "vi" / "hot.png")
    return _check(root, "--data.layout.sequence", "(\\d)", "--data.train_fraction", "0.5")


def _value(option: str, root: Path) -> list[str]:
    """What a user would give for an option without an advised value."""
    pictures = sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix in (".png", ".jpg"))
    infrared = next(path for path in pictures if path.stem.startswith("hot"))
    visible = next((path for path in pictures if path.stem == "seen"), pictures[-1])
    (root / "mine.csv").write_text(f"infrared,visible\n{infrared},{visible}\n")
    (root / "mine.txt").write_text("hot\n")
    answers = {
        "--data.layout.pairs": "mine.csv",
        "--data.layout.infrared": str(infrared),
        "--data.layout.visible": str(visible),
        "--data.layout.test_list": "mine.txt",
        "--data.layout.sequence": "(h)",
        "--data.root": str(root),
    }
    return [option, answers[option]]


@pytest.mark.parametrize(
    ("make", "done"),
    [
        (_numbers, ["--data.layout.pattern"]),
        (_no_pattern, ["--data.layout.pairs"]),
        (_one_place, ["--data.layout.pairs"]),
        (_one_place, ["--data.layout.infrared", "--data.layout.visible"]),
        (_twice, ["--data.layout.pairs"]),
        (_other_names, ["--data.root", "--data.layout.infrared", "--data.layout.visible"]),
        (_named_dataset, ["--data", "--data.layout.infrared", "--data.layout.visible", "--data.layout.pattern"]),
        (_missing_list, ["--data.layout.pairs"]),
        (_missing_names, ["--data.layout.test_list"]),
        (_unclear_sequence, ["--data.layout.sequence"]),
    ],
)
@brings("pairs", "pictures that do not pair", "refused", "the options that the message advises are tried by a test")
def test_advice_helps(make: Make, done: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    command = [*make(root), "--out", str(tmp_path / "out")]
    capsys.readouterr()
    assert main(command) == 1
    message = capsys.readouterr().err
    advised = {words[0]: words for found in ADVISED.findall(message) if (words := shlex.split(found))}
    assert set(done) <= set(advised), message
    more: list[str] = []
    for option in done:
        words = advised[option]
        more += words if len(words) == 2 and words[1] != "FILE" else _value(option, root)
    accepted([*command, *more], capsys)
