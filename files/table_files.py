"""Tables of results as CSV files, read so that every name is the text that was written."""

import csv
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from ivif.files.text_output import quoted, unquoted
from ivif.files.whole import write_whole

TEXTS: Final = ("dataset", "method", "class", "name", "convention", "metric", "direction", "size", "reference")
"""Columns that hold texts, in whatever table: a pair may be called `00000`, a class `NA`."""

_UNDEFINED: Final = ("", "nan")
"""What NaN is written as."""


def write_table(table: pd.DataFrame, path: Path, undefined: str = "") -> None:
    """Writes a CSV file, without the index, that is either complete or as before.

    A text that a spreadsheet would take for a formula gets a quote before it, which `read_table` takes away.

    Args:
        table: Its rows.
        path: The file; its folder is made.
        undefined: What stands for NaN, empty or `nan`.

    Raises:
        OSError: If it cannot be written.
    """
    texts = {name: table[name].map(quoted) for name in table.columns if name in TEXTS}
    # Python leaves a carriage return bare, at which readers end the row
    bare = any("\r" in str(text) for column in texts.values() for text in column)
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if bare else csv.QUOTE_MINIMAL
    write_whole(path, table.assign(**texts).to_csv(index=False, na_rep=undefined, quoting=quoting))


def read_table(path: Path) -> pd.DataFrame:
    """Reads such a table: `TEXTS` letter for letter, all other columns as numbers where they are numbers.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no CSV table.
    """
    columns = pd.read_csv(path, nrows=0).columns
    table = pd.read_csv(
        path,
        dtype={name: str for name in columns if name in TEXTS},
        keep_default_na=False,  # it takes `NA`, `null` and `None` for missing values, in columns of texts too
        na_values={name: list(_UNDEFINED) for name in columns if name not in TEXTS},
    )
    return table.assign(**{name: table[name].map(unquoted) for name in columns if name in TEXTS})
