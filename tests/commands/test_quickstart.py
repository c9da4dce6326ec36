"""The scores that `make quickstart` ends with."""

from pathlib import Path

from ivif.commands.quickstart import SHOWN, scores


def _tested(path: Path, own: float) -> Path:
    names = ["dataset", "method", *SHOWN, "n"]
    rows = [
        ["made", method, *[str(score)] * len(SHOWN), "8"] for method, score in (("MGFusion", own), ("maximum", 0.7))
    ]
    path.write_text("\n".join(",".join(row) for row in (names, *rows)) + "\n")
    return path


def test_networks_stand_above_the_rules_which_come_once(tmp_path: Path) -> None:
    tables = {"own": _tested(tmp_path / "a.csv", 0.5), "released": _tested(tmp_path / "b.csv", 0.61234)}
    assert [list(row[:2]) for row in scores(tables).rows] == [
        ["own", "0.500"],
        ["released", "0.612"],
        ["maximum", "0.700"],
    ]
