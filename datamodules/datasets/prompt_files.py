"""The files that prompts are kept in: a JSONL for many pairs, or a folder with a text file per pair."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ivif.files.errors import DatasetError
from ivif.files.text_files import EncodingError, read_text
from ivif.files.whole import write_whole

Origin = Literal["template", "brightness", "pictures", "dataset", "caption", "human"]
ORIGINS: Final = ("template", "brightness", "pictures", "dataset", "caption", "human")
"""How a prompt was made: from boxes and brightness, from brightness alone (time of day), from both pictures
(`picture_words`), one sentence for the data set, by a captioning model, by a person. Only `template`
tells a detector where objects are."""


class PromptError(DatasetError):
    """A prompt file or folder is missing, or holds something that cannot be used."""


@dataclass(frozen=True)
class PromptEntry:
    """One line of a prompt file; `source` says how the prompt was made, where that is known."""

    dataset: str
    name: str
    prompt: str
    source: Origin | None = None


def read_prompts(path: Path) -> list[PromptEntry]:
    """Reads a prompt file, one JSON object a line; blank lines are skipped, of two lines for one pair the last counts.

    Raises:
        PromptError: If the file is missing or a line is malformed; names file and line.
    """
    if path.exists() and not path.is_file():
        raise PromptError(f"The prompt file '{path}' is no regular file. Point `prompts.path` at a JSONL file.")
    try:
        # Not splitlines: it also splits at U+2028 and its like, which JSON allows inside a text.
        lines = read_text(path).split("\n")
    except EncodingError as error:
        raise PromptError(f"Cannot read the prompt file '{path}': {error}") from error
    except OSError as error:
        raise PromptError(
            f"Cannot read the prompt file '{path}': {error}. Write one with `ivif data prompts --out {path}`."
        ) from error
    return [_parse(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _parse(line: str, path: Path, number: int) -> PromptEntry:
    where = f"'{path}', line {number}"
    wanted = '{"dataset": "msrs", "name": "00001D", "prompt": "..."}'
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PromptError(f"{where}: not a JSON object ({error}). Each line looks like {wanted}.") from error
    if not isinstance(value, dict):
        raise PromptError(f"{where}: not a JSON object. Each line looks like {wanted}.")
    for key in ("dataset", "name", "prompt"):
        if not isinstance(value.get(key), str):
            raise PromptError(f"{where}: '{key}' is missing or not a text. Each line looks like {wanted}.")
    origin = value.get("source")
    if origin is not None and origin not in ORIGINS:
        raise PromptError(f"{where}: 'source' is {origin!r}; known: {', '.join(ORIGINS)}, or leave it out.")
    return PromptEntry(value["dataset"], value["name"], value["prompt"], origin)


def save_prompts(path: Path, entries: Iterable[PromptEntry]) -> None:
    """Writes a prompt file; a reader sees the old file or the new one, never a part."""
    lines = []
    for entry in entries:
        fields = {"dataset": entry.dataset, "name": entry.name, "prompt": entry.prompt, "source": entry.source}
        lines.append(json.dumps({key: value for key, value in fields.items() if value is not None}, ensure_ascii=False))
    write_whole(path, "".join(f"{line}\n" for line in lines))


def read_prompt_folder(folder: Path, names: Iterable[str], dataset: str) -> dict[str, PromptEntry]:
    """Text files by stem at any depth: `NAME.txt`, or the first of several captions, `NAME_1.txt`.

    Args:
        folder: Where the files lie.
        names: The pairs whose prompts are wanted.
        dataset: The pairs' data set.

    Returns:
        The prompts that are there, by name.

    Raises:
        PromptError: If there is no text file, two serve one pair, or one cannot be read.
    """
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("*.txt")):
        files.setdefault(file.stem, []).append(file)
    if not files:
        raise PromptError(
            f"No text files under '{folder}'. Point `prompts.path` at the folder that holds NAME.txt files."
        )
    known, table = set(names), {}
    for name in known:
        stem = Path(name).name
        numbered = f"{stem}_1"
        found = files.get(stem) or (files.get(numbered, []) if numbered not in known else [])
        if len(found) > 1:
            raise PromptError(
                f"'{name}' has {len(found)} prompts under '{folder}': '{found[0]}', '{found[1]}'. Point "
                f"`prompts.path` at one of their folders."
            )
        if found:
            table[name] = PromptEntry(dataset, name, _read_text(found[0]))
    return table


def _read_text(file: Path) -> str:
    try:
        return " ".join(read_text(file).split())
    except EncodingError as error:
        raise PromptError(f"Cannot read the prompt '{file}': {error}") from error
    except OSError as error:
        raise PromptError(f"Cannot read the prompt '{file}': {error}. Restore or remove it.") from error
