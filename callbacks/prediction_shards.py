"""Parts of one `predict` that several commands make side by side in one folder: whose a pair is, and what is done."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from ivif.callbacks.prediction_record import differing
from ivif.files.errors import UserError
from ivif.files.inside import read_inside
from ivif.files.whole import write_whole

SHARDS: Final = "shards"
"""Folder of the records of shards, in that of the pictures, until `predict merge` joins them."""

MANIFEST: Final = "manifest.json"
DONE: Final = "done.json"

_FOLDER: Final = re.compile(r"(\d{1,6})-of-(\d{1,6})")
_DIGEST_BYTES: Final = 8


class ShardError(UserError):
    """Shards that do not fit together, or are not complete."""


@dataclass(frozen=True, order=True)
class Shard:
    """One of several parts of a set of pairs.

    Args:
        index: Which, from 1.
        count: How many there are.
    """

    index: int
    count: int

    @classmethod
    def of(cls, text: str) -> Self:
        """The shard that is written as `2/4`.

        Raises:
            ShardError: If the text is no shard, or none of so many.
        """
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None:
            raise ShardError(f"--shard {text}: give which of how many, such as 2/4.")
        index, count = int(found[1]), int(found[2])
        if not 1 <= index <= count:
            raise ShardError(f"--shard {text}: shards are counted from 1, the last of {count} is {count}/{count}.")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, dataset: str, name: str) -> bool:
        """Whether a pair is of this shard: a hash of its names says so, whatever other pairs there are."""
        digest = hashlib.blake2b(f"{dataset}/{name}".encode(errors="surrogateescape"), digest_size=_DIGEST_BYTES)
        return int.from_bytes(digest.digest()) % self.count == self.index - 1

    def folder(self, output: Path) -> Path:
        """Where its records lie."""
        return output / SHARDS / f"{self.index}-of-{self.count}"


@dataclass(frozen=True)
class Manifest:
    """What a shard makes.

    Args:
        made_by: What decides the pictures, as in the record of the folder.
        classes: What is detected, in the order of its numbers.
        pairs: How many pairs all shards have together.
        names: A hash of their pictures' names.
        pictures: Its own pictures, with the bytes of the two files that each is made of (0 where there are none).
    """

    made_by: dict[str, str]
    classes: list[str]
    pairs: int
    names: str
    pictures: dict[str, int]

    def __post_init__(self) -> None:
        """Refuses what a damaged file may hold.

        Raises:
            ValueError: If a value is of another kind.
        """
        texts = [*self.made_by, *self.made_by.values(), *self.classes, *self.pictures, self.names]
        numbers = [self.pairs, *self.pictures.values()]
        if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, int) for one in numbers):
            raise ValueError("it lists no pictures of a shard")

    def refuse_other(self, before: "Manifest", shard: Shard, own: bool) -> None:
        """Refuses to go on with shards that were begun with other settings or pairs.

        Args:
            before: What is there.
            shard: Whose that is.
            own: Whether it is the same shard, begun earlier.

        Raises:
            ShardError: Says what differs.
        """
        remedy = "Choose another --output_dir, or remove the folder."
        if before.made_by != self.made_by or before.classes != self.classes:
            there = before.made_by | {"classes": ", ".join(before.classes)}
            now = self.made_by | {"classes": ", ".join(self.classes)}
            raise ShardError(f"Shard {shard} was begun with other settings ({differing(there, now)}). {remedy}")
        if (before.pairs, before.names) != (self.pairs, self.names):
            raise ShardError(
                f"The pairs are others than when shard {shard} was begun: {before.pairs} there, {self.pairs} now"
                f"{', of other names' if before.pairs == self.pairs else ''}. {remedy}"
            )
        if own and before.pictures != self.pictures:
            name = next((one for one, size in self.pictures.items() if size != before.pictures.get(one)), "")
            raise ShardError(f"The files of the pair of '{name}' have changed since shard {shard} was begun. {remedy}")

    def write(self, folder: Path) -> None:
        """Writes it into the folder of a shard."""
        write_whole(folder / MANIFEST, json.dumps(asdict(self)) + "\n")


def digest_of(names: Iterable[str]) -> str:
    """One hash of all names, whatever their order."""
    return hashlib.sha256("\0".join(sorted(names)).encode(errors="surrogateescape")).hexdigest()


def begun_shards(output: Path) -> list[Shard]:
    """The shards whose records lie in a folder of pictures, in their order; `output` may be missing."""
    found = [_FOLDER.fullmatch(path.parent.name) for path in (output / SHARDS).glob(f"*/{MANIFEST}")]
    return sorted(Shard(int(one[1]), int(one[2])) for one in found if one)


def read_manifest(shard: Shard, output: Path) -> Manifest:
    """What a shard that was begun makes.

    Raises:
        ShardError: If the file is damaged.
        OutsideFileError: If it is a link out of the folder.
    """
    path = shard.folder(output) / MANIFEST
    try:
        return Manifest(**json.loads(read_inside(path, output)))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ShardError(
            f"'{path}' is damaged ({error}). Remove it and '{output / SHARDS}', or choose another --output_dir."
        ) from error


def check_begun(shard: Shard, manifest: Manifest, output: Path) -> set[str]:
    """Refuses a shard that does not fit to what is in the folder.

    Returns:
        The pictures that it has noted as its own at an earlier start.

    Raises:
        ShardError: If the folder has shards of another number, settings or pairs.
    """
    begun = begun_shards(output)
    if other := next((one for one in begun if one.count != shard.count), None):
        raise ShardError(
            f"--shard {shard}: '{output}' has shards of {other.count} ({other}). Go on with these, or choose another "
            f"--output_dir."
        )
    others = [one for one in begun if one != shard]
    for one in ([shard] if shard in begun else []) + others[:1]:
        manifest.refuse_other(read_manifest(one, output), one, own=one == shard)
    return set(manifest.pictures) if shard in begun else set()


def note_done(shard: Shard, output: Path, pictures: int) -> None:
    """Notes that all pictures of a shard are there."""
    write_whole(shard.folder(output) / DONE, json.dumps({"pictures": pictures}) + "\n")


def is_done(shard: Shard, output: Path) -> bool:
    """Whether a shard has noted that."""
    return (shard.folder(output) / DONE).is_file()


def whole_of(manifests: Mapping[Shard, Manifest], output: Path) -> tuple[Manifest, Sequence[str]]:
    """What all shards together make.

    Args:
        manifests: Those that were begun.
        output: The folder of the pictures.

    Returns:
        One of the manifests, and the names of all pictures.

    Raises:
        ShardError: If some are missing or not done, or they do not fit together.
    """
    if not manifests:
        raise ShardError(f"'{output}' has no shards to join: make them with `predict --shard 1/4 --output_dir ...`.")
    first, one = min(manifests.items())
    for shard, manifest in manifests.items():
        if shard.count != first.count:
            raise ShardError(
                f"'{output}' has shards of {first.count} and of {shard.count}. Remove those of one number."
            )
        manifest.refuse_other(one, first, own=False)
    left = [Shard(index, first.count) for index in range(1, first.count + 1)]
    left = [shard for shard in left if shard not in manifests or not is_done(shard, output)]
    if left:
        named = ", ".join(map(str, left[:4])) + (", ..." if len(left) > 4 else "")
        raise ShardError(
            f"{len(left)} of the {first.count} shards in '{output}' are not done: {named}. Run each with --shard, and "
            f"join them then."
        )
    names = [name for manifest in manifests.values() for name in manifest.pictures]
    if len(names) != one.pairs or digest_of(names) != one.names:
        raise ShardError(f"The shards in '{output}' list {len(names)} pictures, and should list {one.pairs} others.")
    return one, names


def settings_of_boxes(manifest: Manifest) -> dict[str, Any] | None:
    """The options of files of detections; None where nothing is detected."""
    return json.loads(manifest.made_by["boxes"]) if "boxes" in manifest.made_by else None
