"""`ivif data prompts`: one prompt per pair, as JSONL."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import Dataset

from ivif.contracts.batch import Sample, plane_to_float
from ivif.datamodules.datasets.prompt_files import Origin, PromptEntry, PromptError, read_prompts, save_prompts
from ivif.datamodules.datasets.prompts import PromptableReader, PromptConfig, PromptedDataset, Source
from ivif.files.text_output import cell
from ivif.machine.devices import choose_device
from ivif.machine.processors import usable_processors
from ivif.models.captioner import DEFAULT_COCA, Captioner, build_captioner

By = Literal["auto", "template", "dataset", "coca"]
BY: Final[tuple[By, ...]] = ("auto", "template", "dataset", "coca")
"""How prompts can be made: from both pictures, from boxes and brightness, the data set's sentence, or a caption of each
modality."""

Made = tuple[int, str, Origin | None]
"""Index of a pair, its prompt, how that was made."""

Maker = Callable[[PromptableReader, Sequence[int]], Iterator[list[Made]]]
"""Makes the prompts of the pairs at the given indices, as many at once as suits it."""

SAVE_SECONDS: Final = 10.0
"""Seconds between two saves, which follow whole batches. A run that is killed loses what it made in
them and its last batch; one that is interrupted or ends with an error loses only the batch."""

DECODERS: Final = 4
"""Most threads that decode the next batch while the captioner works on this one."""


@dataclass(frozen=True)
class CaptionConfig:
    """How `coca` captions.

    Args:
        coca: Which model; see `ivif.models.captioner.build_captioner`.
        batch_size: Pairs at once; each is two images.
        device: `auto` (a GPU where there is one), or a torch device such as `cpu` or `cuda:1`.
    """

    coca: str = DEFAULT_COCA
    batch_size: int = 16
    device: str = "auto"


def write_prompts(
    readers: Sequence[Dataset[Sample]],
    out: Path,
    by: By = "template",
    captions: CaptionConfig = CaptionConfig(),
    console: Console | None = None,
) -> int:
    """Writes the prompts of all pairs, with a progress bar, and says how many; continues a file that is already there.

    Args:
        readers: Readers of pairs; prompts that they carry already are not used.
        out: The JSONL file.
        by: `auto` says what both pictures tell, `template` describes boxes and brightness, `dataset` gives every pair
            its data set's sentence, `coca` captions the infrared and the visible image.
        captions: How `coca` does that.
        console: Where the progress bar and the report go; standard output by default.

    Returns:
        The exit code, 0.

    Raises:
        PromptError: If `out` exists and is malformed, `by` is unknown, there is no pair, or memory does not suffice.
        ClipWeightsError: If the captioner's weights are missing; says what to fetch and where to put it.
        ValueError: If `captions` names no device or an impossible batch size.
    """
    console = console or Console()
    made = extend_prompts(readers, out, by, captions, console)
    origins = Counter(entry.source for entry in made)
    kinds = ", ".join(f"{count} {origin}" for origin, count in origins.items())
    total = len(read_prompts(out))
    said = f"{len(made)} new prompts{f' ({kinds})' if made else ''}, {total} in all: {out}"
    console.print(cell(said), soft_wrap=True)
    if origins["template"]:
        console.print(
            "Those called 'template' are made from boxes: do not use those of test pairs while scoring mAP.",
            soft_wrap=True,
        )
    return 0


def extend_prompts(
    readers: Sequence[Dataset[Sample]],
    out: Path,
    by: By = "template",
    captions: CaptionConfig = CaptionConfig(),
    console: Console | None = None,
) -> list[PromptEntry]:
    """Adds the prompts of pairs that `out` does not have yet; what it has stays, whoever wrote it.

    Args:
        readers: As for `write_prompts`, and so are the others.
        out: The JSONL file.
        by: How to make them.
        captions: How `coca` captions.
        console: Where the progress bar is drawn.

    Returns:
        The entries that were added.

    Raises:
        PromptError: As for `write_prompts`.
    """
    if by not in BY:
        raise PromptError(f"Prompts cannot be made by '{by}'; known: {', '.join(BY)}.")
    sources = [_unwrapped(reader) for reader in readers]
    if not any(len(reader) for reader in sources):
        raise PromptError("There is no pair to write a prompt for. Check the data set's root and the stage.")
    entries = read_prompts(out) if out.exists() else []
    before = len(entries)
    left = _missing(sources, entries)
    if not any(left):
        return []
    make = _maker(by, captions)
    saved = time.monotonic()
    try:
        with closing(_made(sources, left, make, console)) as made:
            for batch in made:
                entries += batch
                if time.monotonic() - saved >= SAVE_SECONDS:
                    save_prompts(out, entries)
                    saved = time.monotonic()
    finally:
        if len(entries) > before:
            save_prompts(out, entries)
    return entries[before:]


def _missing(sources: Sequence[PromptableReader], entries: Sequence[PromptEntry]) -> list[list[int]]:
    """The indices of pairs without a prompt, per reader; a pair that two readers have belongs to the first."""
    known = {(entry.dataset, entry.name) for entry in entries}
    left: list[list[int]] = []
    for reader in sources:
        names = [(reader.dataset_name, name) for name in reader.names]
        left.append([index for index, name in enumerate(names) if name not in known])
        known.update(names)
    return left


def _made(
    sources: Sequence[PromptableReader], left: Sequence[Sequence[int]], make: Maker, console: Console | None
) -> Generator[list[PromptEntry]]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bar:
        for reader, indices in zip(sources, left, strict=True):
            done = len(reader) - len(indices)
            task = bar.add_task(escape(reader.dataset_name), total=len(reader), completed=done)
            names = reader.names
            for batch in make(reader, indices):
                bar.advance(task, len(batch))
                yield [
                    PromptEntry(reader.dataset_name, names[index], prompt, origin) for index, prompt, origin in batch
                ]


def _maker(by: By, captions: CaptionConfig) -> Maker:
    if by == "coca":
        return _captions_by(captions)
    sources: dict[By, Source] = {"auto": "auto", "template": "fine", "dataset": "coarse"}
    config = PromptConfig(sources[by])

    def make(reader: PromptableReader, indices: Sequence[int]) -> Iterator[list[Made]]:
        prompted = PromptedDataset(reader, config)
        for index in indices:
            yield [(index, prompted.prompt(index), prompted.origin(index))]

    return make


def _captions_by(config: CaptionConfig) -> Maker:
    """The maker of captions; the model is built here, so that missing weights end the command before any image is read.

    Raises:
        ValueError: If the batch size or the device is impossible.
        ClipWeightsError: If the weights are missing.
    """
    if config.batch_size < 1:
        raise ValueError(f"--batch_size is {config.batch_size}; it must be at least 1.")
    device = choose_device(config.device)
    captioner = build_captioner(config.coca).to(device)

    def make(reader: PromptableReader, indices: Sequence[int]) -> Iterator[list[Made]]:
        batches = [indices[start : start + config.batch_size] for start in range(0, len(indices), config.batch_size)]
        with ThreadPoolExecutor(min(DECODERS, usable_processors())) as pool:
            coming = [pool.submit(reader.__getitem__, index) for index in (batches[0] if batches else ())]
            for batch, following in zip(batches, [*batches[1:], ()], strict=True):
                samples = [decoded.result() for decoded in coming]
                coming = [pool.submit(reader.__getitem__, index) for index in following]
                prompts = _caption_pairs(captioner, samples)
                yield [(index, prompt, "caption") for index, prompt in zip(batch, prompts, strict=True)]

    return make


def _caption_pairs(captioner: Captioner, samples: Sequence[Sample]) -> list[str]:
    planes = [plane_to_float(plane) for sample in samples for plane in (sample["infrared"], sample["visible"])]
    try:
        captions = captioner.caption(planes)
    except torch.OutOfMemoryError as error:
        raise PromptError(
            f"The device's memory does not suffice to caption {len(samples)} pairs at once: lower --batch_size, take "
            f"--coca coca_ViT-B-32, or --device cpu. What was made so far is saved; the same command continues it."
        ) from error
    return [join_captions(*both) for both in zip(captions[::2], captions[1::2], strict=True)]


def join_captions(infrared: str, visible: str) -> str:
    """One prompt of two captions; a modality without a caption is left out.

    Example:
        >>> join_captions("A man on a street.", "A dark street.")
        'Infrared: A man on a street. Visible: A dark street.'
    """
    named = {"Infrared": infrared, "Visible": visible}
    return " ".join(f"{name}: {caption}" for name, caption in named.items() if caption)


def _unwrapped(reader: Dataset[Sample]) -> PromptableReader:
    inner = reader.reader if isinstance(reader, PromptedDataset) else reader
    if not isinstance(inner, PromptableReader):
        raise PromptError(f"{type(reader).__name__} is not a reader of pairs: it has no names, boxes or image sizes.")
    return inner
