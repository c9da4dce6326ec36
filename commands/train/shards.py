"""One shard of a `predict`: it claims its own part of a folder, and notes what it makes and that it is done."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ivif.callbacks.prediction_record import claim_pictures
from ivif.callbacks.prediction_shards import (
    DONE,
    Manifest,
    Shard,
    ShardError,
    begun_shards,
    check_begun,
    digest_of,
    note_done,
)
from ivif.callbacks.prediction_writer import PredictionWriter, picture_path
from ivif.commands.errors import UsageError
from ivif.commands.program import merge_line
from ivif.commands.train.run_folder import lock_run_folder, refuse_held, unlock_folder
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.start_checks import files_of
from ivif.files.inside import refuse_links_out
from ivif.files.whole import remove_empty


def chosen_shard(text: str | None, output: str | None, submitted: str | None) -> Shard | None:
    """The shard that `--shard` names, if it is given.

    Args:
        text: `--shard`.
        output: `--output_dir`.
        submitted: `--submit`.

    Raises:
        ShardError: If it names none.
        UsageError: If there is no folder that the shards would share, or all are to be submitted.
    """
    shard = None if text is None else Shard.of(text)
    given = f"--submit {submitted}" if submitted else f"--shard {shard}"
    if (shard or submitted) and not output:
        raise UsageError(f"{given} needs --output_dir: the folder in which all shards write.")
    if shard and submitted:
        raise UsageError(f"{given} makes all shards: leave out --shard {shard}.")
    return shard


def held_shard(output: Path, shard: Shard) -> Iterator[None]:
    """Holds a shard of a folder that no command holds as a whole; others may hold other shards of it.

    Raises:
        UsageError: If another process makes this shard, all pictures, or joins the shards, or nobody can write there.
        OutsideFileError: If something in the folder is a link out of it.
    """
    refuse_links_out(output)
    made = lock_run_folder(shard.folder(output), "output", "--output_dir")
    try:
        refuse_held(output)  # after the own claim: of two that begin together, one sees the other
        yield
    finally:
        unlock_folder(shard.folder(output))
        remove_empty(made)


def refuse_shards(output: Path) -> None:
    """Refuses to make all pictures of a folder in which shards were begun.

    Raises:
        ShardError: If there are some.
    """
    if begun := begun_shards(output):
        raise ShardError(
            f"'{output}' has shards ({', '.join(map(str, begun[:4]))}{', ...' if len(begun) > 4 else ''}). Go on with "
            f"--shard, or, if all are done, join them: {merge_line(output)}"
        )


def manifest_of(
    shard: Shard, made_by: dict[str, str], classes: Sequence[str], output: Path, data: FusionDataModule
) -> Manifest:
    """What a shard makes; the data forget all other pairs."""
    names = [path.relative_to(output).as_posix() for path in pictures_of(output, data)]
    data.skip_predictions(lambda dataset, name, _: not shard.holds(dataset, name))
    pictures = dict(_sizes(output, data))
    return Manifest(made_by, list(classes), len(names), digest_of(names), pictures)


def pictures_of(folder: Path, data: FusionDataModule) -> Iterator[Path]:
    """Where the fused image of every pair goes."""
    readers = data.stage_readers(data.predict_stage)
    for reader in readers:
        for name in reader.names:  # type: ignore[attr-defined]
            yield picture_path(folder, reader.dataset_name, name, len(readers) > 1)  # type: ignore[attr-defined]


def _sizes(output: Path, data: FusionDataModule) -> Iterator[tuple[str, int]]:
    """The name of every picture, with the bytes of its pair's files."""
    readers = data.stage_readers(data.predict_stage)
    sizes: list[int] = []
    for reader in readers:
        files = files_of(reader)
        if files is None:
            sizes += [0] * len(reader)  # type: ignore[arg-type]
        else:
            sizes += [one.infrared.stat().st_size + one.visible.stat().st_size for one in files.records]
    for path, size in zip(pictures_of(output, data), sizes, strict=True):
        yield path.relative_to(output).as_posix(), size


def claim_shard(shard: Shard, manifest: Manifest, writer: PredictionWriter, pictures: Sequence[Path]) -> None:
    """Refuses a shard that does not fit to what is in the folder; has the writer note what it makes.

    Args:
        shard: Which.
        manifest: What it makes.
        writer: What writes, and where.
        pictures: Where its pictures go.

    Raises:
        ShardError: If the folder has shards of another number, settings or pairs.
        FileExistsError: If it holds one of the pictures, made otherwise.
    """
    output = Path(str(writer.output_dir))
    noted = check_begun(shard, manifest, output)
    claim_pictures(output, manifest.made_by, pictures, manifest.classes, noted)
    writer.prepare = partial(_begin, shard, manifest)
    writer.finish = partial(_finish, shard, manifest, writer)


def _begin(shard: Shard, manifest: Manifest, output: Path) -> None:
    (shard.folder(output) / DONE).unlink(missing_ok=True)
    manifest.write(shard.folder(output))


def _finish(shard: Shard, manifest: Manifest, writer: PredictionWriter, output: Path) -> list[Path]:
    """Notes that the shard is done, where all of it is there; detections are gathered of all shards together."""
    detects = "boxes" in manifest.made_by
    left = sum(not writer.is_finished(output / name, detects) for name in manifest.pictures)
    if left:
        print(f"Shard {shard} is not done: {left} of its {len(manifest.pictures)} pictures are left.")
        return []
    if shard not in begun_shards(output):  # one without pairs, for which nothing began
        manifest.write(shard.folder(output))
    note_done(shard, output, len(manifest.pictures))
    print(f"Shard {shard} is done: {len(manifest.pictures)} pictures. When all are: {merge_line(output)}")
    return []
