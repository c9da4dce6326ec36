"""Checkpoints that no run wrote like this: refused with what is wrong, never run, never loaded by halves."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from ivif.commands.cli import main
from tests.commands.runs import newest_run, tiny_run
from tests.refusals import refused

State = dict[str, Any]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a tiny run of MGFusion saved."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IVIF_RUN_FOLDER", raising=False)
        assert main(tiny_run("fit", folder, "--images.images_per_dataset=0")) == 0
    return (newest_run(folder) / "checkpoints" / "last.ckpt").read_bytes()


class Touch:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("executed",)


def saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "/"), content)
    return stream.getvalue()


def legacy(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


BYTES: Final[dict[str, tuple[Callable[[bytes], bytes], tuple[str, ...]]]] = {
    "nothing": (lambda _: b"", ("damaged", "0 bytes")),
    "one byte": (lambda _: b"P", ("damaged", "1 bytes")),
    "text": (lambda _: b"not a checkpoint", ("damaged",)),
    "zeros": (lambda whole: bytes(len(whole)), ("damaged",)),
    "a picture": (lambda _: b"\x89PNG\r\n\x1a\n" + bytes(99), ("damaged",)),
    "its first 100 bytes": (lambda whole: whole[:100], ("damaged", "100 bytes")),
    "its first half": (lambda whole: whole[: len(whole) // 2], ("damaged",)),
    "all but its last byte": (lambda whole: whole[:-1], ("damaged",)),
    "all but its last 100 bytes": (lambda whole: whole[:-100], ("damaged",)),
    "all but its first byte": (lambda whole: whole[1:], ("damaged",)),
    "an empty archive": (lambda _: archive(), ("damaged",)),
    "an archive of other things": (lambda _: archive(notes=b"text"), ("damaged",)),
    "an archive without data": (lambda _: archive(x_data_pkl=b""), ("damaged",)),
    "a pickle of code": (lambda _: pickle.dumps(Touch()), ("damaged",)),
    "a checkpoint with code": (lambda _: saved({"state_dict": {}, "x": Touch()}), ("code",)),
    "an old checkpoint with code": (lambda _: legacy({"state_dict": {}, "x": Touch()}), ("damaged",)),
    "a whole network": (lambda _: saved({"state_dict": torch.nn.Linear(1, 1)}), ("code",)),
    "a pickle of values": (lambda _: pickle.dumps({"state_dict": {}}), ("damaged",)),
    "a list": (lambda _: saved([1, 2]), ("no checkpoint of a run",)),
    "a tensor": (lambda _: saved(torch.zeros(3)), ("no checkpoint of a run",)),
    "an empty dictionary": (lambda _: saved({}), ("no checkpoint of a run", "state_dict")),
    "weights alone": (lambda _: saved({"network.weight": torch.zeros(1)}), ("no checkpoint of a run", "state_dict")),
    "weights as a list": (lambda _: saved({"state_dict": [1]}), ("no checkpoint of a run", "state_dict")),
}
"""Name -> what stands in the file, made of a whole checkpoint, and what the message must say."""


@pytest.mark.parametrize("name", BYTES)
def test_files_that_are_no_checkpoint_are_refused(
    name: str, checkpoint: bytes, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = BYTES[name]
    path = place / "given.ckpt"
    path.write_bytes(make(checkpoint))
    refused(tiny_run("test", place / "runs", f"--ckpt_path={path}"), capsys, "given.ckpt", *words)
    assert list(place.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "endless"])
def test_checkpoints_that_are_no_file_are_refused(kind: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = place / "given.ckpt"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    refused(
        tiny_run("predict", place / "runs", f"--ckpt_path={path}"), capsys, "given.ckpt", "no such file", "last.ckpt"
    )


def _first(state: State) -> str:
    return next(str(key) for key, value in state["state_dict"].items() if value.ndim > 1)


def _weights(change: Callable[[torch.Tensor], Any]) -> Callable[[State], None]:
    def changed(state: State) -> None:
        state["state_dict"][_first(state)] = change(state["state_dict"][_first(state)])

    return changed


def _entry(key: str, value: Any) -> Callable[[State], None]:
    def changed(state: State) -> None:
        state[key] = value

    return changed


def _without(key: str) -> Callable[[State], None]:
    def changed(state: State) -> None:
        del state[key]

    return changed


def _poisoned(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda weight: torch.full_like(weight, value)


STATES: Final[dict[str, tuple[Callable[[State], object], tuple[str, ...]]]] = {
    "lost a weight": (lambda state: state["state_dict"].pop(_first(state)), ("it lacks network.", "config.yaml")),
    "lost all weights": (_entry("state_dict", {}), ("it lacks network.", "config.yaml")),
    "has one more": (lambda s: s["state_dict"].update(more=torch.zeros(1)), ("unknown more", "config.yaml")),
    "a weight of another shape": (_weights(lambda w: w[:1]), ("other shapes", "network.", "config.yaml")),
    "a weight without shape": (_weights(lambda _: torch.tensor(1.0)), ("other shapes", "network.")),
    "a weight of NaN": (_weights(_poisoned(float("nan"))), ("NaN or infinity", "network.", "earlier")),
    "a weight of infinity": (_weights(_poisoned(float("inf"))), ("NaN or infinity", "network.", "earlier")),
    "weights too large to compute with": (
        lambda s: [w.fill_(3e38) for w in s["state_dict"].values() if w.is_floating_point()],
        ("holds NaN", "synthetic/", "earlier"),
    ),
    "a text for a weight": (_weights(lambda _: "weight"), ("network.",)),
    "a number for a weight": (_weights(lambda _: 1.0), ("network.",)),
    "nothing for a weight": (_weights(lambda _: None), ("network.",)),
    "of another method": (_entry("task", "ivif.lightning_modules.text_to_pixels.TextToPixelsTask"), ("TextToPixels",)),
    "of no method": (_entry("task", "os.system"), ("os.system", "MGFusion")),
    "trained with another encoder": (_entry("frozen_parts", {"encoder": "ViT-B-32:openai@1"}), ("ViT-B-32", "encoder")),
    "encoders in a list": (_entry("frozen_parts", ["encoder"]), ("'frozen_parts'",)),
    "training pictures of another kind": (_entry("trained_pictures", [1, 2]), ("'trained_pictures'", "given.ckpt")),
    "no version": (_without("pytorch-lightning_version"), ("pytorch-lightning_version",)),
    "a version of the future": (_entry("pytorch-lightning_version", "x.y"), ("version",)),
    "settings of another kind": (_entry("hyper_parameters", [1, 2]), ("hyper_parameters",)),
}
"""Name -> what is changed in a whole checkpoint, and what the message must say."""


@pytest.mark.parametrize("name", STATES)
def test_checkpoints_that_do_not_fit_are_refused(
    name: str, checkpoint: bytes, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = STATES[name]
    state: State = torch.load(io.BytesIO(checkpoint), weights_only=True)
    change(state)
    torch.save(state, place / "given.ckpt")
    refused(tiny_run("test", place / "runs", f"--ckpt_path={place / 'given.ckpt'}"), capsys, *words)
    assert not list(place.rglob("tables"))
