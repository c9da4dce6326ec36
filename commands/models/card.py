"""The model card of released weights: Markdown with the metadata that Hugging Face's hub reads."""

from collections.abc import Mapping
from typing import Any, Final

import yaml

from ivif.commands.models.scores import METRICS, PLAIN_ROWS, SCENES, SIZE
from ivif.files.text_tables import TextTable

_CARD: Final = """---
{head}
---

# {name}

{task}, {parameters} parameters. Use it by name, `--ckpt_path {name}`, or in Python:
`ivif.load("{name}")`.

## How it was trained

- command: `{command}`
- commit: {commit}; seed: {seed}; steps: {steps}
- frozen encoder: {frozen}
- learnt from {seen}; the file holds their ids, so that tests say how many of their pairs it knows
- lists of pairs (how many, sha256 of their names): {lists}

## What it scores

On {scenes} generated test scenes of {size} (seed 0), as 8-bit pictures, without a prompt; higher is better
in all columns. `ivif models pack` measured it; a test repeats it.

{table}

## Where it fails

{limits}

## Terms

{licence}
"""


def model_card(release: Mapping[str, Any]) -> str:
    """The card, all of it from what the file says of itself.

    Args:
        release: As `ivif.commands.models.pack` writes it into the header.
    """
    head = {
        "library_name": "ivif-lightning",
        "pipeline_tag": "image-to-image",
        "license": "other",
        "license_name": "see-terms-below",
        "tags": ["image-fusion", "infrared", "visible", release["method"]],
    }
    seen = f"{release['pictures']} pictures" + ("" if release["complete"] else ", and others of which no ids were kept")
    lists = [f"{stage} ({own['pairs']}, {own['sha256']})" for stage, own in sorted(release["data"].items())]
    own = {**release, "frozen": release["frozen"] or "none"}
    own |= {
        "head": yaml.safe_dump(head, sort_keys=False).strip(),
        "seen": seen,
        "lists": ", ".join(lists) or "none kept",
    }
    own |= {"table": score_table(release["scores"]).markdown(), "scenes": SCENES, "size": f"{SIZE[1]}x{SIZE[0]}"}
    return _CARD.format_map(own)


def score_table(scores: Mapping[str, Mapping[str, float]]) -> TextTable:
    """Rows of `measure` as a table."""
    rows = [[row, *(f"{scores[row][name]:.4f}" for name in METRICS)] for row in ("network", *PLAIN_ROWS)]
    return TextTable(["", *METRICS], rows)
