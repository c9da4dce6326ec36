"""Files that runs read beside images and labels: what is damaged is refused, or made anew with a word."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import torch
from safetensors.torch import load_file, save_file

from ivif.datamodules.datasets.cache import CachedDataset
from ivif.datamodules.datasets.folder import FolderDataset
from ivif.datamodules.datasets.prompt_files import PromptError, read_prompts
from ivif.datamodules.manifests import Manifest
from ivif.files.errors import SplitError
from ivif.lightning_modules.detection_sources import FusionCheckpointError, load_fusion
from ivif.lightning_modules.feature_cache import FeatureCache
from ivif.models.clip import ClipWeightsError, ImageTextEncoder, build_image_text_encoder
from ivif.models.clip_state import load_weights as load_clip_weights
from ivif.models.clip_state import read_state_dict
from ivif.models.learned_prompts import LearnedPrompts, PromptFileError
from tests.archives import damage_a_value
from tests.fakes import write_folder
from tests.refusals import refusal

MANIFESTS: Final[dict[str, tuple[str | bytes, tuple[str, ...]]]] = {
    "nothing": ("", ("no manifest", "datasets")),
    "a list": ("- 1\n", ("no manifest",)),
    "a text": ("mgfusion", ("no manifest",)),
    "no data sets": ("seed: 1\n", ("no manifest", "datasets")),
    "an unknown key": ("datasets: {}\nnothing: 1\n", ("no manifest", "and no others")),
    "binary": (b"\xff\xfe\x00\x01", ("Cannot read", "Compare")),
    "tabs": ("datasets:\n\tmsrs: {}\n", ("Cannot read", "line 2")),
    "code": ("datasets: !!python/object/apply:os.mkdir [executed]\n", ("Cannot read", "python/object")),
    "a thousand levels": ("datasets: " + "[" * 1000 + "]" * 1000, ("given.yaml",)),
    "data sets in a list": ("datasets: [msrs]\n", ("malformed", "Compare")),
    "a data set that is a number": ("datasets: {msrs: 7}\n", ("malformed",)),
    "no stages": ("datasets: {msrs: {released: {train: 3}}}\n", ("malformed", "stages")),
    "stages in a list": ("datasets: {msrs: {released: {}, stages: [train]}}\n", ("malformed",)),
    "an unknown key of a data set": ("datasets: {msrs: {released: {}, stages: {}, odd: 1}}\n", ("msrs", "odd")),
    "an unknown key of a stage": (
        "datasets: {msrs: {released: {}, stages: {train: {pool: train, odd: 1}}}}\n",
        ("msrs.train", "odd"),
    ),
    "a negative count": (
        "datasets: {msrs: {released: {}, stages: {train: {pool: train, count: -1}}}}\n",
        ("count is -1", "0 or more"),
    ),
    "a count in words": (
        "datasets: {msrs: {released: {}, stages: {train: {pool: train, count: many}}}}\n",
        ("count is 'many'",),
    ),
    "a fraction in words": (
        "datasets: {msrs: {released: {}, stages: {train: {pool: all, fraction: half}}}}\n",
        ("fraction is 'half'", "[0, 1]"),
    ),
    "a fraction of NaN": (
        "datasets: {msrs: {released: {}, stages: {train: {pool: all, fraction: .nan}}}}\n",
        ("fraction is nan",),
    ),
    "fractions beyond one": (
        "datasets: {msrs: {released: {}, stages: {train: {pool: all, fraction: 1}, test: {pool: all, fraction: 1}}}}",
        ("msrs", "sum 1"),
    ),
    "a seed in words": ("datasets: {}\nseed: lucky\n", ("seed is 'lucky'", "whole number")),
    "lists as a list": ("datasets: {}\nlists: [a]\n", ("lists", "sha256")),
    "a list without checksum": ("datasets: {}\nlists: {msrs_train: {count: 1}}\n", ("lists", "sha256")),
    "a list that is not there": ("datasets: {}\nlists: {msrs_train: {count: 1, sha256: x}}\n", ("msrs_train.txt",)),
    "a list elsewhere": ("datasets: {}\nlists: {../../etc/passwd: {count: 1, sha256: x}}\n", ("../../etc", "a path")),
    "itself followed": (
        "datasets: {a: {released: {}, stages: {train: {pool: train}}, follow: {manifest: given.yaml, stages: {}}}}\n",
        ("given.yaml", "which it follows", "Remove"),
    ),
    "an unknown manifest followed": (
        "datasets: {msrs: {released: {}, stages: {train: {pool: train}}, follow: {manifest: none, stages: {}}}}\n",
        ("none", "Known: default"),
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_hostile_manifests_are_refused(name: str, place: Path) -> None:
    content, words = MANIFESTS[name]
    (place / "given.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refusal(lambda: Manifest.load("given.yaml"), SplitError, *words)
    assert [path.name for path in place.iterdir()] == ["given.yaml"]


GOOD_LINE: Final = '{"dataset": "msrs", "name": "00001D", "prompt": "A scene."}'
PROMPTS: Final[dict[str, tuple[str | bytes, tuple[str, ...]]]] = {
    "text": (f"{GOOD_LINE}\nA scene.\n", ("line 2", "not a JSON object", "Each line looks like")),
    "cut": (f"{GOOD_LINE}\n{GOOD_LINE[:-9]}", ("line 2", "not a JSON object")),
    "a list": ("[1, 2]\n", ("line 1", "not a JSON object")),
    "no name": ('{"dataset": "msrs", "prompt": "A scene."}', ("line 1", "'name'")),
    "a number for a name": ('{"dataset": "msrs", "name": 1, "prompt": "A scene."}', ("line 1", "'name'")),
    "null for a prompt": ('{"dataset": "msrs", "name": "1", "prompt": null}', ("line 1", "'prompt'")),
    "an unknown origin": (GOOD_LINE[:-1] + ', "source": "dream"}', ("line 1", "dream", "human")),
    "an origin that is a list": (GOOD_LINE[:-1] + ', "source": ["human"]}', ("line 1", "human")),
    "utf-16 without its mark": (GOOD_LINE.encode("utf-16-le"), ("Cannot read", "UTF-16", "iconv")),
    "binary": (bytes(range(256)), ("Cannot read",)),
    "a hundred thousand levels": ("[" * 100_000, ("line 1", "not a JSON object")),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_hostile_prompt_files_are_refused(name: str, place: Path) -> None:
    content, words = PROMPTS[name]
    path = place / "prompts.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refusal(lambda: read_prompts(path), PromptError, "prompts.jsonl", *words)


def test_unusual_prompt_files_are_read(place: Path) -> None:
    path = place / "prompts.jsonl"
    path.write_bytes(f"\ufeff{GOOD_LINE}\r\n\r\n{GOOD_LINE.replace('A scene.', 'Two.')}".encode())
    assert [entry.prompt for entry in read_prompts(path)] == ["A scene.", "Two."]


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_prompt_files_that_are_no_file_are_refused(make: Callable[[Path], None], place: Path) -> None:
    make(place / "prompts.jsonl")
    refusal(lambda: read_prompts(place / "prompts.jsonl"), PromptError, "prompts.jsonl", "no regular file")


@pytest.fixture(scope="module")
def encoder() -> ImageTextEncoder:
    return build_image_text_encoder("random-tiny")


@pytest.fixture(scope="module")
def exported(encoder: ImageTextEncoder, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("prompts") / "prompts.safetensors"
    LearnedPrompts(encoder, length=2).export_file(path)
    return path.read_bytes()


DAMAGE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "nothing": lambda _: b"",
    "text": lambda _: b"not what it should be",
    "zeros": lambda whole: bytes(len(whole)),
    "its beginning alone": lambda whole: whole[:50],
    "all but a byte": lambda whole: whole[:-1],
    "its end alone": lambda whole: whole[50:],
    "a gigantic header": lambda whole: b"\xff" * 8 + whole[8:],
}
"""Name -> what became of a whole file."""


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_learnt_prompts_are_refused(name: str, encoder: ImageTextEncoder, exported: bytes, place: Path) -> None:
    (place / "learnt.safetensors").write_bytes(DAMAGE[name](exported))
    prompts = LearnedPrompts(encoder, length=2)
    before = prompts.positive.clone()
    refusal(lambda: prompts.import_file(place / "learnt.safetensors"), PromptFileError, "learnt.safetensors", "xport")
    assert torch.equal(prompts.positive, before)


VALUES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "a value": lambda whole: _flipped(whole, len(whole) - 1),
    "the type of values": lambda whole: whole.replace(b'"F32"', b'"I32"'),
}


@pytest.mark.parametrize("name", VALUES)
def test_learnt_prompts_of_other_values_are_refused(
    name: str, encoder: ImageTextEncoder, exported: bytes, place: Path
) -> None:
    path = place / "learnt.safetensors"
    path.write_bytes(VALUES[name](exported))
    refusal(
        lambda: LearnedPrompts(encoder, length=2).import_file(path), PromptFileError, path.name, "checksum", "xport"
    )


def test_learnt_prompts_of_earlier_versions_are_read(encoder: ImageTextEncoder, exported: bytes, place: Path) -> None:
    path = place / "learnt.safetensors"
    path.write_bytes(exported)
    save_file(load_file(path), path, {"format": "learned prompts 1", "encoder": encoder.identity})
    prompts = LearnedPrompts(encoder, None, None, length=2)
    prompts.import_file(path)
    assert torch.equal(prompts.positive, LearnedPrompts(encoder, length=2).positive)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "not finite", "other names"])
def test_learnt_prompts_that_mean_nothing_are_refused(kind: str, encoder: ImageTextEncoder, place: Path) -> None:
    path, prompts = place / "learnt.safetensors", LearnedPrompts(encoder, length=2)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "not finite":
        with torch.no_grad():
            prompts.negative[0, 0] = float("nan")
        prompts.export_file(path)
    elif kind == "other names":
        save_file({"weight": torch.zeros(2)}, path, {"format": "learned prompts 1"})
    refusal(lambda: prompts.import_file(path), PromptFileError, "learnt.safetensors", "xport")


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_damaged_clip_weights_are_refused(suffix: str, name: str, place: Path) -> None:
    path = place / f"clip{suffix}"
    if suffix == ".pt":
        torch.save({"logit_scale": torch.zeros(1)}, path)
    else:
        save_file({"logit_scale": torch.zeros(1)}, path)
    path.write_bytes(DAMAGE[name](path.read_bytes()))
    refusal(lambda: read_state_dict(path), ClipWeightsError, path.name, "MODELS.md")


@pytest.mark.parametrize(
    ("read", "refused"), [(read_state_dict, ClipWeightsError), (load_fusion, FusionCheckpointError)]
)
def test_archives_with_another_value_are_refused(
    read: Callable[[Path], object], refused: type[Exception], place: Path
) -> None:
    path = place / "weights.pt"
    torch.save({"state_dict": {"logit_scale": torch.ones(1)}}, path)
    damage_a_value(path)
    assert torch.load(path, weights_only=True)["state_dict"]["logit_scale"] != 1
    refusal(lambda: read(path), refused, path.name, "data/0")


def test_clip_weights_that_are_not_finite_are_refused(encoder: ImageTextEncoder) -> None:
    state = dict(encoder.clip.state_dict()) | {"logit_scale": torch.tensor(float("inf"))}
    refusal(
        lambda: load_clip_weights(encoder.clip, state, "file x"), ClipWeightsError, "file x", "logit_scale", "Fetch"
    )


def _flipped(whole: bytes, position: int) -> bytes:
    return whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :]


def _feature(whole: bytes) -> bytes:
    """Damages the first value, which follows the header and its length."""
    return _flipped(whole, 8 + int.from_bytes(whole[:8], "little"))


@pytest.mark.parametrize("name", [*DAMAGE, "a value"])
def test_damaged_cached_features_are_computed_again_with_a_word(
    name: str, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def cache() -> FeatureCache:
        return FeatureCache(place / "features", "tiny@1", (2, 4))

    def compute(positions: list[int]) -> torch.Tensor:
        return torch.arange(8.0).reshape(1, 2, 4)

    expected = cache().get_or_compute(["a"], "full", compute)
    (path,) = (place / "features").rglob("*.safetensors")
    path.write_bytes((DAMAGE | {"a value": _feature})[name](path.read_bytes()))
    assert torch.equal(cache().get_or_compute(["a"], "full", compute), expected)
    assert path.name in caplog.text


FOOTER: Final = struct.calcsize("<QI8s")
"""Behind the index of decoded pairs: its length, its checksum, a magic word."""

PLANE_DAMAGE: Final[dict[str, Callable[[bytes], bytes]]] = DAMAGE | {
    "the first plane": lambda whole: _flipped(whole, 0),
    "the index's first byte": lambda whole: _flipped(whole, len(whole) - FOOTER - _index_length(whole)),
    "the index's last byte": lambda whole: _flipped(whole, len(whole) - FOOTER - 1),
    "the index's length": lambda whole: _flipped(whole, len(whole) - FOOTER),
    "the index's checksum": lambda whole: _flipped(whole, len(whole) - FOOTER + 8),
    "the magic word": lambda whole: _flipped(whole, len(whole) - 8),
}


def _index_length(whole: bytes) -> int:
    return int.from_bytes(whole[-FOOTER:][:8], "little")


@pytest.mark.parametrize("name", PLANE_DAMAGE)
def test_damaged_decoded_pairs_are_decoded_again(name: str, place: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = FolderDataset(write_folder(place / "data", count=2, size=(12, 14)))
    first = CachedDataset(reader, "disk", place / "decoded")
    assert first.path is not None
    first.path.write_bytes(PLANE_DAMAGE[name](first.path.read_bytes()))
    caplog.clear()
    again = CachedDataset(reader, "disk", place / "decoded")
    for index in range(2):
        assert torch.equal(again[index]["visible"], reader[index]["visible"])
        assert torch.equal(again[index]["infrared"], reader[index]["infrared"])
    assert "damaged" in caplog.text or "cannot be read" in caplog.text
