import logging
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor

from ivif.lightning_modules.feature_cache import FeatureCache
from ivif.models.clip import ImageTextEncoder, build_image_text_encoder

WIDTH = 8
VIEW = "full-224x224"


def features_of(content_ids: list[str]) -> Tensor:
    """A different, reproducible vector for each id."""
    return torch.stack([torch.arange(WIDTH) + float(int(content_id, 16)) for content_id in content_ids])


class Encoder:
    """Computes features and remembers for which ids."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def __call__(self, content_ids: list[str]) -> Callable[[list[int]], Tensor]:
        def compute(positions: list[int]) -> Tensor:
            chosen = [content_ids[position] for position in positions]
            self.encoded += chosen
            return features_of(chosen)

        return compute


def look_up(cache: FeatureCache, content_ids: list[str], view: str = VIEW) -> list[str]:
    """Checks the result and returns the ids that had to be encoded."""
    encoder = Encoder()
    features = cache.get_or_compute(content_ids, view, encoder(content_ids))
    assert features.dtype == torch.float32
    assert torch.equal(features, features_of(content_ids))
    return encoder.encoded


def cache_at(directory: Path, identity: str = "clip@1") -> FeatureCache:
    return FeatureCache(directory, identity, (WIDTH,))


def test_each_image_is_encoded_once(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    assert look_up(cache, ["a", "b", "a"]) == ["a", "b"]
    assert look_up(cache, ["c", "b", "a"]) == ["c"]
    assert look_up(cache_at(tmp_path), ["b", "c"]) == []


def test_other_encoders_images_and_views_never_meet(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    look_up(cache, ["a"])
    assert look_up(cache_at(tmp_path, identity="clip@2"), ["a"]) == ["a"]
    assert look_up(cache_at(tmp_path), ["b"]) == ["b"]
    assert look_up(cache, ["a"], view="full-336x336") == ["a"]  # in memory
    assert look_up(cache_at(tmp_path), ["a"], view="full-16x16") == ["a"]  # on disk
    assert look_up(cache_at(tmp_path), ["a", "b"]) == []


@pytest.mark.parametrize(
    "change", [{"architecture": "random-ViT-B-32"}, {"quick_gelu": True}, {"precision": "bf16"}], ids=str
)
def test_whatever_changes_an_encoders_features_changes_its_identity(change: dict[str, Any]) -> None:
    plain = build_image_text_encoder("random-tiny")
    assert build_image_text_encoder({"architecture": "random-tiny"}).identity == plain.identity
    assert build_image_text_encoder({"architecture": "random-tiny"} | change).identity != plain.identity


def test_other_weights_are_another_identity() -> None:
    first = build_image_text_encoder("random-tiny")
    with torch.no_grad():
        first.clip.visual.class_embedding[0] += 1e-3
    assert ImageTextEncoder(first.clip, "random-tiny").identity != build_image_text_encoder("random-tiny").identity


def test_the_front_in_memory_is_bounded(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "clip@1", (WIDTH,), memory_entries=2)
    assert look_up(cache, ["a", "b", "c", "d"]) == ["a", "b", "c", "d"]
    assert len(cache._memory) == 2
    assert look_up(cache, ["a", "d"]) == []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def other_width(path: Path) -> None:
    save_file({"features": np.zeros(5, np.float32)}, path, _metadata(path))


def not_a_number(path: Path) -> None:
    row = np.full(WIDTH, np.nan, np.float32)
    import zlib

    save_file({"features": row}, path, _metadata(path) | {"checksum": f"{zlib.crc32(row.tobytes()):08x}"})


def other_image(path: Path) -> None:
    other = next(found for found in path.parent.parent.rglob("*.safetensors") if found != path)
    path.write_bytes(other.read_bytes())


def _metadata(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "cannot be read"),
        (empty, "cannot be read"),
        (flip_a_bit, "the checksum differs"),
        (other_width, r"float32 (5,) instead of float32 (8,)"),
        (not_a_number, "not finite"),
        (other_image, "belong to another image, view or encoder"),
    ],
)
def test_damaged_entries_are_computed_again(
    damage: Callable[[Path], None], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = cache_at(tmp_path)
    look_up(cache, ["a", "b"])
    damage(cache._path(f"a|{VIEW}"))
    with caplog.at_level(logging.WARNING):
        assert look_up(cache_at(tmp_path), ["a", "b"]) == ["a"]
    assert reason in caplog.text
    assert str(cache._path(f"a|{VIEW}")) in caplog.text
    assert look_up(cache_at(tmp_path), ["a", "b"]) == []


def test_bad_features_are_refused_before_they_are_stored(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    with pytest.raises(ValueError, match=r"must have shape \(1, 8\), but the encoder gave \(1, 3\)"):
        cache.get_or_compute(["a"], VIEW, lambda _: torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"not finite for content ids a"):
        cache.get_or_compute(["a"], VIEW, lambda _: torch.full((1, WIDTH), torch.inf))
    assert look_up(cache, ["a"]) == ["a"]


def test_entries_from_inference_mode_serve_training(tmp_path: Path) -> None:
    cache = cache_at(tmp_path)
    with torch.inference_mode():
        look_up(cache, ["a"])
    scale = torch.ones(WIDTH, requires_grad=True)
    (cache.get_or_compute(["a"], VIEW, lambda _: torch.empty(0)) * scale).sum().backward()  # type: ignore[no-untyped-call]
    assert scale.grad is not None
    assert torch.equal(scale.grad, features_of(["a"])[0])


def test_a_folder_that_cannot_be_written_costs_the_cache_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = cache_at(tmp_path / "file")
    assert look_up(cache, ["a"]) == ["a"]
    assert look_up(cache, ["a", "b"]) == ["b"]
    assert caplog.text.count("they stay in memory only") == 1


def _work(directory: Path, offset: int) -> None:
    cache = cache_at(directory)
    for start in range(40):
        look_up(cache, [f"{(start + step + offset) % 40:x}" for step in range(8)])


def test_several_processes_share_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_work, args=(tmp_path, offset)) for offset in (0, 3, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert look_up(cache_at(tmp_path), [f"{number:x}" for number in range(40)]) == []
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".safetensors"]


def test_pairs_of_clip_features_survive_the_disk_bit_for_bit(tmp_path: Path) -> None:
    encoder = build_image_text_encoder("random-tiny")
    infrared, visible = torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64)

    def compute(positions: list[int]) -> Tensor:
        return torch.stack(encoder.encode_pair(infrared[positions], visible[positions]), dim=1)

    first = FeatureCache.for_pairs(tmp_path, encoder).get_or_compute(["x", "y"], VIEW, compute)
    again = FeatureCache.for_pairs(tmp_path, encoder).get_or_compute(["y", "x"], VIEW, lambda _: torch.empty(0))
    assert first.shape == (2, 2, encoder.embedding_width)
    assert torch.equal(again, first.flip(0))
