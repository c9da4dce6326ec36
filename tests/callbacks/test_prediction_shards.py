"""Which pair is of which shard, and which shards fit together."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ivif.callbacks.prediction_shards import (
    MANIFEST,
    Manifest,
    Shard,
    ShardError,
    begun_shards,
    check_begun,
    digest_of,
    note_done,
    read_manifest,
    whole_of,
)
from tests.refusals import refusal

NAMES = [f"pair{number:03}" for number in range(200)]
MADE_BY = {"task": "T", "weights": "abc", "data": 'Reader {"root": "x", "reading": {"mode": "type", "other": 1}}'}


def _manifest(shard: Shard, names: list[str] = NAMES) -> Manifest:
    own = {f"{name}.png": 10 for name in names if shard.holds("tno", name)}
    return Manifest(MADE_BY, [], len(names), digest_of(f"{name}.png" for name in names), own)


def _begin(output: Path, *shards: str, done: bool = True) -> dict[Shard, Manifest]:
    for shard in map(Shard.of, shards):
        _manifest(shard).write(shard.folder(output))
        if done:
            note_done(shard, output, 1)
    return {shard: read_manifest(shard, output) for shard in begun_shards(output)}


def test_every_pair_is_of_one_shard_whatever_others_there_are() -> None:
    shards = [Shard(index, 7) for index in range(1, 8)]
    for name in NAMES:
        assert sum(shard.holds("tno", name) for shard in shards) == 1
    counts = [sum(shard.holds("tno", name) for name in NAMES) for shard in shards]
    assert min(counts) > 10
    assert [name for name in NAMES[:12] if Shard(1, 4).holds("tno", name)] == ["pair002", "pair004"]  # on any machine
    assert any(Shard(1, 4).holds("tno", name) != Shard(1, 4).holds("other", name) for name in NAMES)


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "-1/4", "1/0", "1/4/2", " 1/4", "1/99999999"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    refusal(lambda: Shard.of(text), ShardError, f"--shard {text}")


def test_shards_are_found_again_in_their_order(tmp_path: Path) -> None:
    _begin(tmp_path, "10/12", "2/12")
    (tmp_path / "shards" / "jobs").mkdir()
    assert begun_shards(tmp_path) == [Shard(2, 12), Shard(10, 12)]
    assert begun_shards(tmp_path / "nowhere") == []


def test_another_number_settings_pairs_or_files_are_refused(tmp_path: Path) -> None:
    first, second = Shard.of("1/2"), Shard.of("2/2")
    _begin(tmp_path, "1/2")
    own = _manifest(first)
    assert check_begun(first, own, tmp_path) == set(own.pictures)
    assert check_begun(second, _manifest(second), tmp_path) == set()
    refusal(lambda: check_begun(Shard.of("1/3"), own, tmp_path), ShardError, "--shard 1/3", "has shards of 2 (1/2)")
    other = replace(_manifest(second), made_by=MADE_BY | {"weights": "def"})
    refusal(lambda: check_begun(second, other, tmp_path), ShardError, "Shard 1/2", "weights 'abc' there, 'def' now")
    changed = replace(own, made_by=MADE_BY | {"data": MADE_BY["data"].replace("type", "minmax")})
    message = refusal(lambda: check_begun(first, changed, tmp_path), ShardError, "data.reading.mode")
    assert "reading.other" not in message
    fewer = _manifest(second, NAMES[:-1])
    refusal(lambda: check_begun(second, fewer, tmp_path), ShardError, "200 there, 199 now")
    renamed = _manifest(second, [*NAMES[:-1], "another"])
    refusal(lambda: check_begun(second, renamed, tmp_path), ShardError, "200 there, 200 now, of other names")
    grown = replace(own, pictures=own.pictures | {"pair005.png": 11})
    refusal(lambda: check_begun(first, grown, tmp_path), ShardError, "pair of 'pair005.png' have changed")


def test_all_shards_are_the_whole(tmp_path: Path) -> None:
    one, names = whole_of(_begin(tmp_path, "1/3", "2/3", "3/3"), tmp_path)
    assert sorted(names) == [f"{name}.png" for name in NAMES]
    assert one.made_by == MADE_BY


def test_what_is_no_whole_is_refused(tmp_path: Path) -> None:
    refusal(lambda: whole_of({}, tmp_path), ShardError, "has no shards")
    begun = _begin(tmp_path, "1/3")
    refusal(lambda: whole_of(begun, tmp_path), ShardError, "2 of the 3 shards", "2/3, 3/3")
    begun = _begin(tmp_path, "2/3", "3/3", done=False)
    refusal(lambda: whole_of(begun, tmp_path), ShardError, "2 of the 3 shards", "2/3, 3/3")
    begun = _begin(tmp_path, "2/3", "3/3")
    third = begun[Shard(3, 3)]
    lost = dict(list(third.pictures.items())[1:])
    short = begun | {Shard(3, 3): replace(third, pictures=lost)}
    refusal(lambda: whole_of(short, tmp_path), ShardError, "list 199 pictures")
    other = begun | {Shard(3, 3): replace(third, made_by=MADE_BY | {"weights": "def"})}
    refusal(lambda: whole_of(other, tmp_path), ShardError, "weights")
    refusal(lambda: whole_of(begun | {Shard(1, 2): third}, tmp_path), ShardError, "has shards of 2 and of 3")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"made_by": 1}', "[" * 100_000, "null"])
def test_a_damaged_manifest_is_named(content: str, tmp_path: Path) -> None:
    _begin(tmp_path, "1/2")
    (Shard(1, 2).folder(tmp_path) / MANIFEST).write_text(content)
    refusal(lambda: read_manifest(Shard(1, 2), tmp_path), ShardError, "1-of-2/manifest.json' is damaged")


def test_a_manifest_with_values_of_another_kind_is_damaged(tmp_path: Path) -> None:
    _begin(tmp_path, "1/2")
    path = Shard(1, 2).folder(tmp_path) / MANIFEST
    for key, value in (("pairs", "3"), ("made_by", {"task": 1}), ("pictures", {"a.png": "b"}), ("names", None)):
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
        refusal(lambda: read_manifest(Shard(1, 2), tmp_path), ShardError, "is damaged")
        _begin(tmp_path, "1/2")
