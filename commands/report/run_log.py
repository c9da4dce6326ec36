"""What a run logged, as one table."""

from pathlib import Path

import pandas as pd

from ivif.commands.errors import UsageError


def read_log(run: Path) -> pd.DataFrame:
    """The rows of `metrics.csv`, one column per logged name and `step`.

    Raises:
        UsageError: If the run logged nothing, or the file is no log.
    """
    path = run / "metrics.csv"
    if not path.is_file():
        raise UsageError(f"'{path}' is missing. Give the folder of a training run.")
    try:
        rows = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' is no log: {error}. Give the folder of a training run.") from error
    if "step" not in rows:
        raise UsageError(f"'{path}' has no column 'step'. Give the folder of a training run.")
    if texts := [str(name) for name, column in rows.items() if not pd.api.types.is_numeric_dtype(column)]:
        raise UsageError(f"'{path}' is damaged: {', '.join(texts[:3])} holds text. Restore it, or remove those rows.")
    return rows
