"""Pairs of a Ray dataset, fused by all workers of a Ray cluster, from where an earlier run came to.

A picture is written whole or not at all, and one that is there is not made again: the folder is the progress.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from ivif.datamodules.datasets.pairs.matching import match_folders
from ivif.files.digests import file_digest
from ivif.files.errors import UserError
from ivif.files.libraries import needed
from ivif.files.whole import whole_file
from ivif.image_ops.pictures import PNG
from ivif.inference.fuser import load_fuser
from ivif.weights import find_weights

RECORD: Final = "ray_fusion.json"
"""Says in the folder of fused pictures which network made them."""

_COLUMNS: Final = ("infrared", "visible")
_WRITTEN, _THERE, _FAILED = "written", "there", "failed"


class Outcome(NamedTuple):
    """How the pairs of a dataset ended.

    Attributes:
        written: Pictures made now.
        there: Pictures that were there.
        failed: Names of the others, and why.
    """

    written: int
    there: int
    failed: dict[str, str]


def folder_pairs(infrared: Path, visible: Path, pattern: str = "") -> list[dict[str, str]]:
    """The pairs of two folders, found as `predict` finds them: rows for `ray.data.from_items`.

    Args:
        infrared: Folder of the infrared pictures.
        visible: Folder of the visible ones.
        pattern: Regular expression that finds what partners share; empty: they have the same stem.

    Raises:
        PairingError: If a folder holds no pictures, or none pairs up.
    """
    found = match_folders(infrared, visible, pattern).records
    return [{"name": each.name, "infrared": str(each.infrared), "visible": str(each.visible)} for each in found]


def fuse_dataset(
    pairs: Any,
    out: Path,
    model: str | Path,
    *,
    workers: int = 1,
    cpus: float = 1.0,
    gpus: float = 0.0,
    batch: int = 16,
) -> Outcome:
    """Fuses each pair of a Ray dataset into `out/NAME.png`, which every machine of the cluster must see.

    Run it again after any end: what is there stays. A pair that cannot be read fails alone; a worker that dies is
    begun again by Ray.

    Args:
        pairs: `ray.data.Dataset` of rows with the files `infrared` and `visible`, and `name`, the picture's; without
            it the visible file's stem. `prompt`, if there is one, goes to a network that takes text.
        out: The folder.
        model: As `ivif.load` takes it.
        workers: How many fuse at a time, each with a network of its own.
        cpus: Processors of each.
        gpus: GPUs of each; a share of one, too.
        batch: Pairs that a worker is handed at a time.

    Returns:
        How many were written, were there, and failed, with the reasons.

    Raises:
        UserError: If Ray is not installed, columns are missing, names are not unique, or another network made what the
            folder holds.
        UnknownWeightsError: If there is no such model.
        OSError: If a picture cannot be written.
    """
    needed("ray", "fuse_dataset", "pip install 'ivif-lightning[ray]'")
    import ray.data

    columns = pairs.columns() or ()  # of a dataset that is read or computed Ray makes a part for it
    if missing := sorted(set(_COLUMNS) - set(columns)):
        raise UserError(f"The dataset has no column {' and no column '.join(missing)}: it needs infrared and visible.")
    _claim(out, find_weights(model, fetch=True))
    named_by = "name" if "name" in columns else "visible"
    _refuse_doubles(_name(row[named_by], named_by) for row in pairs.select_columns([named_by]).iter_rows())
    done = pairs.map_batches(
        _Worker,
        fn_constructor_args=(str(model), str(out.resolve()), "cuda" if gpus else "cpu"),
        compute=ray.data.ActorPoolStrategy(size=workers),
        batch_size=batch,
        num_cpus=cpus,
        num_gpus=gpus,
    )
    counts, failed = Counter[str](), dict[str, str]()
    for row in done.iter_rows():
        counts[row["state"]] += 1
        if row["state"] == _FAILED:
            failed[row["name"]] = row["reason"]
    return Outcome(counts[_WRITTEN], counts[_THERE], failed)


class _Worker:
    """An actor: a network, and the folder that it writes to."""

    def __init__(self, model: str, out: str, device: str) -> None:
        self._fuser = load_fuser(model, device)
        self._out = Path(out)

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, list[str]]:
        named_by = "name" if "name" in rows else "visible"
        names = [_name(each, named_by) for each in rows[named_by]]
        prompts = [str(prompt) for prompt in rows["prompt"]] if "prompt" in rows else [None] * len(names)
        ends = [
            self._end(name, str(infrared), str(visible), prompt)
            for name, infrared, visible, prompt in zip(names, rows["infrared"], rows["visible"], prompts, strict=True)
        ]
        return {"name": names, "state": [state for state, _ in ends], "reason": [reason for _, reason in ends]}

    def _end(self, name: str, infrared: str, visible: str, prompt: str | None) -> tuple[str, str]:
        path = self._out / f"{name}.png"
        if path.is_file():
            return _THERE, ""
        try:
            fused = self._fuser(infrared, visible, prompt)
        except (UserError, ValueError) as error:  # unreadable, no picture, a text for a network that takes none
            return _FAILED, str(error)
        with whole_file(path, durable=False) as stream:
            fused.save(stream, **PNG)
        return _WRITTEN, ""


def _name(value: Any, column: str) -> str:
    """The picture's name, by a value of its row's `name` or `visible`."""
    return str(value) if column == "name" else Path(str(value)).stem


def _refuse_doubles(names: Iterator[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"Two pairs have the name '{name}': one picture would replace the other. Name them apart.")
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise UserError(f"A pair has the name '{name}': pictures are stored by it, so it must be no path.")
        seen.add(name)


def _claim(out: Path, weights: Path) -> None:
    """Notes who fills the folder.

    Raises:
        UserError: If somebody else did.
    """
    record, digest = out / RECORD, file_digest(weights)
    if record.is_file():
        if (theirs := _weights_of(record)) != digest:
            raise UserError(f"'{out}' holds pictures of other weights ({theirs}). Give this model another folder.")
    elif out.is_dir() and any(out.iterdir()):
        raise UserError(f"'{out}' holds other files. Give an empty folder, or one that fuse_dataset made.")
    with whole_file(record) as stream:
        stream.write(json.dumps({"weights": digest}).encode())


def _weights_of(record: Path) -> str:
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["weights"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"'{record}' is damaged: it should say which weights made the folder's pictures.") from error
