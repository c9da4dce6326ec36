"""What a packed folder of one's own knows of its options, so that `root` alone is enough to read it."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ivif.datamodules.datasets.packed.table import PackError, Table
from ivif.files.errors import plain_name
from ivif.files.names import printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

L = TypeVar("L", bound="DataclassInstance")

GIVEN: Final = "packed"
"""Stands for a folder, list or expression that was given: its result is in the table, nothing looks for it again."""

_KEPT: Final = ("name", "label_format")


def options_of_folder(layout: "DataclassInstance", classes: Sequence[str], label_classes: Sequence[str]) -> Any:
    """What a table keeps of the options: no path and no expression, but which of them were given.

    Args:
        layout: The `FolderLayout`.
        classes: The classes that the reader uses.
        label_classes: What ids in its YOLO files mean, where the user said it.
    """
    values = asdict(layout)
    return {
        "layout": {name: value if name in _KEPT or not value else GIVEN for name, value in values.items()},
        "layout_digest": _digest(layout),
        "classes": list(classes),
        "label_classes": list(label_classes),
    }


def settle_folder(
    root: Path, table: Table, layout: L, classes: Sequence[str], label_classes: Sequence[str]
) -> tuple[L, tuple[str, ...], tuple[str, ...]]:
    """Layout, `classes` and `label_classes` of a packed folder.

    Args:
        root: The pack.
        table: Its table.
        layout: As given: nothing, or what the folder was packed with.
        classes: As given; those that are win.
        label_classes: The same.

    Raises:
        PackError: If another layout is given than the pack was made with, or its table cannot be.
    """
    try:
        stored = {name: str(value) for name, value in table.options["layout"].items()}
        packed = replace(layout, **stored)
        plain_name(stored["name"], "layout.name")
        names = [tuple(map(str, table.options[kind])) for kind in ("classes", "label_classes")]
        digest = table.options["layout_digest"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = printable(error)[:100]
        raise PackError(
            f"'{printable(root)}': the options of its table cannot be ({reason}). Pack it again."
        ) from error
    if layout not in (type(layout)(), packed) and _digest(layout) != digest:
        raise PackError(
            f"'{printable(root)}' is packed: which pairs, labels and lists it has was settled then, by another "
            f"`layout` than is given now. Leave `layout` out, or pack the folder again."
        )
    return packed, tuple(classes) or names[0], tuple(label_classes) or names[1]


def _digest(layout: "DataclassInstance") -> str:
    return hashlib.sha256(repr(sorted(asdict(layout).items())).encode()).hexdigest()
