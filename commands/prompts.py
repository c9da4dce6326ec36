"""`main.py data prompts`: one prompt per pair, as JSONL."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import Dataset

from datamodules.datasets.batch import Sample
from datamodules.datasets.prompts import (
    Origin,
    PromptableReader,
    PromptConfig,
    PromptedDataset,
    PromptEntry,
    PromptError,
    read_prompts,
    save_prompts,
)

Maker = Callable[[int], str]
"""The prompt of the pair at an index."""

MAKERS: Final[dict[Origin, Callable[[PromptableReader], Maker]]] = {
    "template": lambda reader: PromptedDataset(reader, PromptConfig("fine")).prompt,
    "dataset": lambda reader: PromptedDataset(reader, PromptConfig("coarse")).prompt,
}
"""How each kind of prompt is made, by what its lines say in `source`."""

SAVE_EVERY: Final = 500
"""New prompts between two saves; an interrupted run loses no more than these."""


def write_prompts(
    readers: Sequence[Dataset[Sample]], out: Path, by: Literal["template", "dataset"] = "template"
) -> int:
    """Writes the prompts of all pairs, with a progress bar, and says how many; continues a file that is already there.

    Args:
        readers: Readers of pairs; prompts that they carry already are not used.
        out: The JSONL file.
        by: `template` describes boxes and brightness, `dataset` gives every pair its data set's sentence.

    Returns:
        The exit code, 0.

    Raises:
        PromptError: If `out` exists and is malformed, `by` is unknown, or there is no pair.
    """
    console = Console()
    made = extend_prompts(readers, out, by, console)
    total = len(read_prompts(out))
    console.print(f"{made} new prompts, {total} in all: {out}", soft_wrap=True)
    if by == "template":
        console.print("They are made from boxes: do not use those of test pairs while scoring mAP.", soft_wrap=True)
    return 0


def extend_prompts(readers: Sequence[Dataset[Sample]], out: Path, by: Origin, console: Console | None = None) -> int:
    """Adds the prompts of pairs that `out` does not have yet; what it has stays, whoever wrote it.

    Args:
        readers: Readers of pairs.
        out: The JSONL file.
        by: A key of `MAKERS`.
        console: Where the progress bar is drawn.

    Returns:
        How many prompts were added.

    Raises:
        PromptError: As for `write_prompts`.
    """
    if by not in MAKERS:
        raise PromptError(f"Prompts cannot be made by '{by}'; known: {', '.join(MAKERS)}.")
    sources = [_unwrapped(reader) for reader in readers]
    if not any(len(reader) for reader in sources):
        raise PromptError("There is no pair to write a prompt for. Check the data set's root and the stage.")
    entries = read_prompts(out) if out.exists() else []
    before = len(entries)
    known = {(entry.dataset, entry.name) for entry in entries}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    with bar:
        for reader in sources:
            make = MAKERS[by](reader)
            for index, name in enumerate(bar.track(reader.names, description=reader.dataset_name)):
                if (reader.dataset_name, name) in known:
                    continue
                known.add((reader.dataset_name, name))
                entries.append(PromptEntry(reader.dataset_name, name, make(index), by))
                if (len(entries) - before) % SAVE_EVERY == 0:
                    save_prompts(out, entries)
    save_prompts(out, entries)
    return len(entries) - before


def _unwrapped(reader: Dataset[Sample]) -> PromptableReader:
    inner = reader.reader if isinstance(reader, PromptedDataset) else reader
    if not isinstance(inner, PromptableReader):
        raise PromptError(f"{type(reader).__name__} is not a reader of pairs: it has no names, boxes or image sizes.")
    return inner
