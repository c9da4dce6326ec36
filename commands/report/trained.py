"""Which of the scored pairs the weights behind a folder were trained on: `report score --ckpt`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ivif.callbacks.prediction_record import RECORD, noted_weights
from ivif.callbacks.trained_pairs import TRAINED_ON, TrainedPairs
from ivif.commands.errors import UsageError
from ivif.commands.report.score_inputs import Pair, ScoreInputs
from ivif.commands.report.scoring import Row
from ivif.commands.train.checkpoints import check_checkpoint
from ivif.contracts.trained_pictures import TrainedPictures
from ivif.datamodules.datasets.picture_ids import pair_ids, picture_id
from ivif.files.archives import load_plain
from ivif.files.digests import file_digest


def methods_of(checkpoints: Sequence[Path], fused: Mapping[str, Path]) -> dict[str, Path]:
    """Which method each checkpoint is that of, by what `predict` noted beside its pictures.

    Without a note, the only checkpoint is that of the only folder.

    Args:
        checkpoints: `--ckpt`.
        fused: Method -> its folder, or its picture.

    Returns:
        Method -> its checkpoint.

    Raises:
        UsageError: If a file is no checkpoint, or none of the folders is known to be made with it.
    """
    noted = {method: _weights(place) for method, place in fused.items()} if checkpoints else {}
    found: dict[str, Path] = {}
    for path in checkpoints:
        check_checkpoint(path, option="--ckpt")
        digest = file_digest(path)[:16]
        own = [method for method, weights in noted.items() if weights == digest]
        if not own and len(fused) == len(checkpoints) == 1 and None in noted.values():
            own = list(fused)
        if not own:
            raise UsageError(
                f"--ckpt {path}: no {RECORD} of the --fused folders ({', '.join(map(str, fused.values()))}) says that "
                f"predict made them with this checkpoint. Give the checkpoint of one of them; that of results without "
                f"{RECORD} can be given where they are the only --fused."
            )
        found |= dict.fromkeys(own, path)
    return found


def marked(rows: Sequence[Row], methods: Mapping[str, Path], inputs: ScoreInputs) -> list[Row]:
    """Rows that say with the method how many of its pairs it was trained on, where it was; a warning says so too.

    Args:
        rows: What was scored.
        methods: Method -> its checkpoint.
        inputs: The pairs.
    """
    labels = {}
    for method, checkpoint in methods.items():
        stored: Any = load_plain(checkpoint)
        trained = TrainedPairs(TrainedPictures.read(stored))
        for name, dataset in {row[1]: row[5] for row in rows if row[0] == method}.items():
            trained.look(dataset, name, _ids(inputs.pairs[name], inputs.max_pixels))
        trained.warn(method)
        if trained.concerns():
            labels[method] = f"{method} ({TRAINED_ON}: {trained.text()})"
    return [(labels.get(row[0], row[0]), *row[1:]) for row in rows]


def _ids(pair: Pair, max_pixels: int) -> str:
    if pair.record.visible.is_file():
        return pair_ids(pair.record.infrared, pair.record.visible, max_pixels)
    infrared, visible = ((plane[0] * 255).round().byte() for plane in pair.read())  # generated: 8 bits
    return picture_id(infrared[0].numpy()) + picture_id(visible.permute(1, 2, 0).numpy())


def _weights(place: Path) -> str | None:
    """The digest of the weights that made a folder's pictures; a data set's folder has the record above it."""
    record = next((path for path in (place / RECORD, place.parent / RECORD) if path.is_file()), None)
    if record is None:
        return None
    try:
        return "+".join(sorted({weights.rpartition("@")[2] for weights in noted_weights(record.parent)}))
    except FileExistsError:
        return None  # damaged, or nothing of ours
