"""Every byte of the files that runs write and read back: damage to it is noticed, or changes nothing that is read."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from ivif.callbacks.images import save_atomically
from ivif.commands.errors import UsageError
from ivif.commands.train.checkpoints import check_checkpoint
from ivif.datamodules.datasets.cache import CachedDataset
from ivif.datamodules.datasets.cache_buffer import open_file
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.io import read_image
from ivif.datamodules.manifest_rules import checksum, read_lists
from ivif.files.errors import SplitError, UnreadableFileError
from ivif.lightning_modules.feature_cache import FeatureCache
from ivif.models.clip import ClipWeightsError, build_image_text_encoder
from ivif.models.compact_clip import CHECKSUMS_NAME, VOCABULARY_NAME, checksums, compare_checksums
from ivif.models.learned_prompts import LearnedPrompts, PromptFileError
from tests.archives import contents
from tests.fakes import write_folder


class NoticedError(Exception):
    """A reader did without a file."""


def damaged(whole: bytes) -> Iterator[tuple[int, bytes]]:
    """(position, content): a bit or all of that byte flipped; at every eighth, nothing from there, or before."""
    for position, byte in enumerate(whole):
        for mask in (1 << position % 8, 255):
            yield position, whole[:position] + bytes([byte ^ mask]) + whole[position + 1 :]
        if position % 8 == 0:
            yield position, whole[:position]
            yield position, whole[position + 1 :]


def unnoticed(path: Path, read: Callable[[], object], refusals: type[Exception]) -> set[int]:
    """Positions where some damage passes; fails if what is read then is not what was read before."""
    whole, expected = path.read_bytes(), read()
    passed = set()
    for position, content in damaged(whole):
        path.write_bytes(content)
        try:
            found = read()
        except refusals:
            continue
        assert found == expected, f"byte {position} of {len(whole)}"
        passed.add(position)
    path.write_bytes(whole)
    return passed


def exact(tensor: Tensor) -> tuple[Any, ...]:
    return str(tensor.dtype), tuple(tensor.shape), tensor.contiguous().view(torch.uint8).tolist()


def header(path: Path) -> set[int]:
    """Where the JSON header of a safetensors file stands."""
    return set(range(8, 8 + int.from_bytes(path.read_bytes()[:8], "little")))


def test_decoded_pairs(place: Path) -> None:
    reader = FolderDataset(write_folder(place / "data", count=1, size=(6, 8)))
    cache = CachedDataset(reader, "disk", place / "decoded")
    assert cache.path is not None
    path = cache.path

    def read() -> object:
        opened = open_file(path, cache._identity)
        if isinstance(opened, str):
            raise NoticedError
        (pair,), buffer = opened
        if not pair.intact(buffer):
            raise NoticedError
        return pair, [exact(plane.view(buffer)) for plane in pair.planes]

    infrared, visible = cache._pairs[0].planes
    padding = set(range(infrared.offset + infrared.size, visible.offset))
    assert unnoticed(path, read, NoticedError) == padding
    assert len(padding) == 64 - 6 * 8


def test_cached_features(place: Path) -> None:
    def missed(positions: list[int]) -> Tensor:
        raise NoticedError

    def read(compute: Callable[[list[int]], Tensor] = missed) -> object:
        return exact(FeatureCache(place / "features", "tiny@1", (2, 3)).get_or_compute(["a"], "full", compute))

    read(lambda _: torch.arange(1.0, 7.0).reshape(1, 2, 3) / 7)
    (path,) = (place / "features").rglob("*.safetensors")
    assert unnoticed(path, read, NoticedError) <= header(path)


def test_learnt_prompts(place: Path) -> None:
    encoder = build_image_text_encoder("random-tiny")
    path, prompts = place / "learnt.safetensors", LearnedPrompts(encoder, None, None, length=1)
    LearnedPrompts(encoder, length=1).export_file(path)

    def read() -> object:
        prompts.import_file(path)
        return exact(prompts.positive.detach()), exact(prompts.negative.detach())

    assert unnoticed(path, read, PromptFileError) <= header(path)


def test_checkpoints(place: Path) -> None:
    path = place / "last.ckpt"
    torch.save({"state_dict": {"w": torch.arange(1.0, 4.0)}, "epoch": 3, "pytorch-lightning_version": "2.6"}, path)

    def read() -> object:
        check_checkpoint(path)
        loaded = torch.load(path, weights_only=True)
        return loaded["epoch"], exact(loaded["state_dict"]["w"])

    assert unnoticed(path, read, UsageError).isdisjoint(chain(*contents(path).values()))


def test_pictures(place: Path) -> None:
    path = place / "fused.png"
    save_atomically(Image.fromarray(torch.arange(150, dtype=torch.uint8).reshape(5, 10, 3).numpy()), path)
    unnoticed(path, lambda: read_image(path, checked=True).tolist(), UnreadableFileError)


def test_lists_of_manifests(place: Path) -> None:
    names = ["00001D", "00002N", "ß"]
    path = place / "given" / "toy_train.txt"
    path.parent.mkdir()
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    content = {"lists": {"toy_train": {"count": len(names), "sha256": checksum(names)}}}
    unnoticed(path, lambda: read_lists(place / "given.yaml", content), SplitError)


@pytest.mark.parametrize("damaged_file", ["weights.safetensors", VOCABULARY_NAME, CHECKSUMS_NAME])
def test_the_compact_clip(damaged_file: str, place: Path) -> None:
    weights = place / "weights.safetensors"
    weights.write_bytes(bytes(range(40)))
    (place / VOCABULARY_NAME).write_text('["road</w>"]', encoding="utf-8")
    (place / CHECKSUMS_NAME).write_text(checksums(weights), encoding="utf-8")
    assert unnoticed(place / damaged_file, lambda: compare_checksums(weights), ClipWeightsError) == set()
