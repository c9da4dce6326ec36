"""How pictures pair up: one grammar for readers, `fit`, `predict`, `report score` and `data check`.

1. **Place.** The pictures of a modality are one file, or those of a folder: those that lie directly in it, or, where
   none does, all below it. One folder may hold both modalities: then a folder of a picture's path says which it is
   (`set00/V000/lwir/I01216.jpg`), or a word of its name (`0001_ir.png`, `FLIR_00006_PreviewData.jpeg`); a picture that
   says nothing may be the partner of one that does (`0001.png` of `0001_ir.png`).
2. **Key.** Partners share the folders below their place, without those that name a modality, and the stem, in any
   case: both pictures of KAIST above have `set00/V000/I01216`. Where no two pictures share that, words that name a
   modality are left out of stems, too: `0001_ir` and `0001_vis` both become `0001`. A pattern takes the place of
   stems: its first group, or the whole match where it has none, in the stem; where that does not match, in the name
   with its ending. Two files are a pair whatever they are called, if each is given as a file.
3. **Name.** The key as the visible picture spells it, its folders joined by `_`; folders `train`, `val` and `test` are
   left out where names are unique without them. Results are stored as `NAME.png`.
4. **Result.** A fused picture belongs to the pair whose name its stem is, in any case; or the end of whose path it is
   (`test_0001` is of `.../test/vi/0001.png`, whatever folder was given as place); or else to that of the same key.
5. A picture is never its own partner: not as the same file, nor by a link.
6. **Stage and sequence.** A folder `train`, `val` or `test` is the split of what lies below it. All other folders of a
   key are its sequence, which is never divided between stages.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ivif.datamodules.datasets.io import IMAGE_SUFFIXES
from ivif.files.errors import PairingError
from ivif.files.names import file_name

Modality: TypeAlias = Literal["infrared", "visible"]
Key: TypeAlias = tuple[str, ...]

INFRARED_WORDS: Final = ("infrared", "ir", "inf", "thermal", "lwir", "fir", "tir", "previewdata")
VISIBLE_WORDS: Final = ("visible", "visual", "vis", "vi", "rgb", "color", "colour", "optical")
"""Words that say what a picture is, in any case and set off by anything but letters: `IR1`, `thermal_8_bit`."""

INFRARED_FOLDERS: Final = ("ir", "infrared", "Ir", "IR", "thermal", "inf", "lwir")
VISIBLE_FOLDERS: Final = ("vi", "visible", "Vis", "VIS", "vis", "rgb", "visual")
"""Spellings of a dataset's two folders that users have, found in any case; the first that exists counts."""

_WHOLE_FOLDERS: Final[dict[Modality, tuple[str, ...]]] = {
    "infrared": ("t", "i", "trainimgr", "valimgr", "testimgr"),
    "visible": ("v", "trainimg", "valimg", "testimg"),
}
"""Names of folders that say it as a whole: of VT5000, GTOT, DroneVehicle."""

STAGE_OF_WORD: Final[Mapping[str, str]] = {
    **dict.fromkeys(("train", "training", "trainimg", "trainimgr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valimg", "valimgr"), "val"),
    **dict.fromkeys(("test", "testing", "testimg", "testimgr"), "test"),
}
"""Folders, and words of a pair list, that are a split."""

_FILLERS: Final = ("8", "14", "16", "bit", "bits", "image", "images", "img", "imgs", "data", "frames")
"""What may stand beside a modality's word in the name of a folder without telling it from its partner."""

LONGEST_JOINED: Final = 200
"""Bytes of a name that is joined of several folders."""


def _set_off(words: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W\d_])(?:{'|'.join(words)})(?![^\W\d_])", re.IGNORECASE)


_WORDS: Final[dict[Modality, re.Pattern[str]]] = {
    "infrared": _set_off(INFRARED_WORDS),
    "visible": _set_off(VISIBLE_WORDS),
}
_LETTERS: Final[dict[Modality, re.Pattern[str]]] = {
    "infrared": re.compile(r"(?<=\d)_?[ti]$|(?<=[\d_]_)[ti]$", re.IGNORECASE),
    "visible": re.compile(r"(?<=\d)_?[vw]$|(?<=[\d_]_)[vw]$", re.IGNORECASE),
}
"""Letters behind a number: DJI_0001_T and DJI_0001_V (or W), 00001i and 00001v."""

_BETWEEN: Final = " _-.()[]"


@dataclass(frozen=True)
class Picture:
    """A picture file below its place.

    Args:
        path: The file.
        folders: The folders between the place and the file.
        inode: The file's number in its file system, which two names of one file share.
        is_link: Whether the file is a symbolic link.
    """

    path: Path
    folders: tuple[str, ...] = ()
    inode: int = 0
    is_link: bool = False


def modality_of(folders: Sequence[str], stem: str) -> Modality | None:
    """What a picture is, by its innermost folder that says so, or by its name; None where neither does."""
    for folder in reversed(folders):
        if kind := _said_by_folder(folder):
            return kind
    return _said(_WORDS, stem) or _said(_LETTERS, stem)


def _said_by_folder(folder: str) -> Modality | None:
    whole = next((kind for kind, names in _WHOLE_FOLDERS.items() if folder.casefold() in names), None)
    return whole or _said(_WORDS, folder)


def _said(words: Mapping[Modality, re.Pattern[str]], text: str) -> Modality | None:
    kinds = [kind for kind, expression in words.items() if expression.search(text)]
    return kinds[0] if len(kinds) == 1 else None


def bare_stem(stem: str) -> str:
    """A stem without the word that names a modality: `0001` of `0001_ir`, `FLIR_00006` of `FLIR_00006_RGB`."""
    for words in (_WORDS, _LETTERS):
        if kind := _said(words, stem):
            return _without(words[kind], stem)
    return stem


def _without(expression: re.Pattern[str], text: str) -> str:
    parts = [part.strip(_BETWEEN) for part in expression.split(text)]
    return "_".join(filter(None, parts))


def bare_folders(folders: Iterable[str]) -> tuple[str, ...]:
    """Folders without what names a modality: `set00 V000` of `set00 V000 lwir`, `train` of `images_thermal_train`."""
    bare: list[str] = []
    for folder in folders:
        kind, stage = _said_by_folder(folder), STAGE_OF_WORD.get(folder.casefold())
        if kind is None:
            bare.append(folder)
        elif stage:  # DroneVehicle says it twice: train/trainimg
            bare += [stage] if stage not in bare else []
        else:
            left = re.split(r"[\W_]+", _without(_WORDS[kind], folder)) if _said(_WORDS, folder) else []
            bare += ["_".join(kept)] if (kept := [word for word in left if word and word not in _FILLERS]) else []
    return tuple(bare)


@dataclass(frozen=True)
class Naming:
    """What of a picture's path counts as its key.

    Args:
        pattern: A regular expression, which takes the place of stems; None: stems.
        words: Whether words that name a modality count.
    """

    pattern: re.Pattern[str] | None = None
    words: bool = True

    def spelled(self, path: Path, folders: Iterable[str] = ()) -> Key | None:
        """The key as a path spells it: folders and stem; None where the pattern does not match, or nothing is left."""
        if self.pattern is not None:
            stem = captured(self.pattern, path.stem) or captured(self.pattern, path.name)
            return (*bare_folders(folders), stem) if stem else None
        kept = bare_folders(folders)
        stem = path.stem if self.words else bare_stem(path.stem)
        return (*kept, stem) if stem else kept or None

    def key(self, path: Path, folders: Iterable[str] = ()) -> Key | None:
        """What partners share: the spelled key in lower case."""
        return folded(spelled) if (spelled := self.spelled(path, folders)) else None


def captured(pattern: re.Pattern[str], text: str) -> str:
    """The first group of a match, or the whole match of a pattern without groups; empty where there is none."""
    found = pattern.search(text)
    return (found.group(1 if pattern.groups else 0) or "") if found else ""


def compiled(pattern: str, option: str) -> re.Pattern[str] | None:
    """The regular expression of an option; None where it is empty.

    Raises:
        PairingError: If it is malformed; names the option.
    """
    try:
        return re.compile(pattern) if pattern else None
    except re.error as error:
        raise PairingError(f"{option}: the pattern '{pattern}' is not a regular expression: {error}.") from error


def folded(key: Iterable[str]) -> Key:
    """A key in lower case."""
    return tuple(part.casefold() for part in key)


def stage_of(key: Sequence[str]) -> str:
    """The split that a folder of a key names; empty where none does."""
    return next((STAGE_OF_WORD[part.casefold()] for part in key[:-1] if part.casefold() in STAGE_OF_WORD), "")


def sequence_of(key: Sequence[str]) -> str:
    """The folders of a key, which name a sequence; empty where there are none but a split."""
    return "/".join(_without_stage(key[:-1]))


def _without_stage(folders: Sequence[str]) -> list[str]:
    return [folder for folder in folders if folder.casefold() not in STAGE_OF_WORD]


def pair_names(keys: Sequence[Key]) -> list[str]:
    """The names of pairs, from their spelled keys: unique in any case, unless keys are not."""
    for separator, with_stages in (("_", False), ("_", True), ("__", True)):
        names = [_joined(key, separator, with_stages) for key in keys]
        if len({name.casefold() for name in names}) == len(names):
            break
    return names


def _joined(key: Key, separator: str, with_stage: bool) -> str:
    parts = key if with_stage else [*_without_stage(key[:-1]), key[-1]]
    return parts[0] if len(parts) == 1 else file_name(separator.join(parts), longest=LONGEST_JOINED)


def path_ends(path: Path, naming: Naming = Naming(words=False)) -> list[str]:
    """What a result of a picture may be called: the ends of its path as names, in lower case, shortest first.

    Args:
        path: The picture.
        naming: What of it counts.
    """
    key = naming.key(path, path.absolute().parent.parts[1:])
    return ["_".join(key[-count:]) for count in range(1, len(key) + 1)] if key else []


def without_ending(text: str) -> str:
    """A name without the ending of a picture, which lists of names may or may not have."""
    return text[: -len(Path(text).suffix)] if Path(text).suffix.lower() in IMAGE_SUFFIXES else text
