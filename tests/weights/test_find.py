"""What may stand where a checkpoint is asked for becomes a file, and a released file is the checkpoint that it was."""

from contextlib import suppress
from pathlib import Path

import pytest
import torch

from ivif.contracts.run_files import LAST
from ivif.contracts.trained_pictures import TRAINED_KEY, TrainedPictures
from ivif.files.archives import load_checked
from ivif.files.released import read_released, write_released
from ivif.weights import UnknownWeightsError, find_weights, released_names
from ivif.weights.find import FOLDER


def _checkpoint() -> dict[str, object]:
    weights = {"network.weight": torch.arange(6.0).reshape(2, 3), "network.count": torch.tensor(7)}
    return {"state_dict": weights, "task": "a.Task", TRAINED_KEY: TrainedPictures([-3, 5], complete=True).entry()}


def test_a_released_file_gives_back_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_released(path, _checkpoint(), {"name": "a"})
    found = load_checked(path)
    assert found["task"] == "a.Task"
    assert found["release"] == {"name": "a"}
    assert found["state_dict"]["network.count"].shape == ()
    assert torch.equal(found["state_dict"]["network.weight"], torch.arange(6.0).reshape(2, 3))
    trained = TrainedPictures.read(found)
    assert (trained.ids, trained.complete) == ({-3, 5}, True)


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_released(tmp_path / name, _checkpoint(), {"name": "a", "seed": 0})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_byte_is_covered(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_released(path, _checkpoint(), {"name": "a"})
    content, given = path.read_bytes(), _plain(read_released(path))
    unnoticed = []
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x21
        path.write_bytes(damaged)
        with suppress(Exception):  # of many kinds, as safetensors has them: whoever loads puts them into words
            if _plain(read_released(path)) != given:
                unnoticed.append(place)
    assert unnoticed == []


def _plain(checkpoint: dict[str, object]) -> str:
    return repr(checkpoint)


@pytest.mark.parametrize("place", [b'"a.Task', b'"name'])
def test_a_changed_header_is_refused(tmp_path: Path, place: bytes) -> None:
    path = tmp_path / "a.safetensors"
    write_released(path, _checkpoint(), {"name": "a"})
    content = path.read_bytes()
    escaped = place.replace(b'"', b'\\"')
    assert escaped in content
    path.write_bytes(content.replace(escaped, escaped[:-1] + b"x", 1))
    with pytest.raises(ValueError, match="checksum"):
        read_released(path)


def test_a_changed_weight_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_released(path, _checkpoint(), {"name": "a"})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        read_released(path)


def test_names_files_and_runs_are_found(tmp_path: Path) -> None:
    last = tmp_path / "run" / LAST
    last.parent.mkdir(parents=True)
    last.touch()
    assert find_weights(tmp_path / "run") == last
    assert find_weights(last) == last
    assert find_weights("missing/last.ckpt") == Path("missing/last.ckpt")
    for name in released_names():
        assert find_weights(name) == FOLDER / f"{name}.safetensors"


def test_a_name_that_is_none_is_refused_in_one_line() -> None:
    with pytest.raises(UnknownWeightsError, match=r"^mgfusion-lihgt: there is no file, run folder or model.*list"):
        find_weights("mgfusion-lihgt")


def test_a_file_names_no_address() -> None:
    with pytest.raises(UnknownWeightsError, match="command line"):
        find_weights("hf://owner/name")


def test_all_weights_fit_into_the_wheel() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) <= 6_000_000
