import os
import subprocess
import sys
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from jsonargparse import auto_cli
from safetensors.torch import save_file
from torch import Tensor, nn

from ivif.files.trusted_archives import TRUST_VARIABLE
from ivif.models.clip import TINY_ARCHITECTURE, ClipConfig, ClipWeightsError, build_image_text_encoder, resolve_clip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained() -> Any:
    """A CLIP whose values are exact in half precision, as OpenAI's are, and which uses QuickGELU."""
    torch.manual_seed(7)
    model = open_clip.CLIP(**TINY_ARCHITECTURE, quick_gelu=True).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    return model


def write_archive(model: nn.Module, path: Path) -> None:
    """TorchScript with half-precision matrices and three scalars beside the weights, as OpenAI's releases are."""
    model = deepcopy(model)
    for name, value in {"input_resolution": 64, "context_length": 77, "vocab_size": 49408}.items():
        model.__dict__.pop(name, None)  # a plain number in open_clip's class
        model.register_buffer(name, torch.tensor(value))
    inputs = torch.zeros(1, 3, 64, 64), torch.ones(1, 77, dtype=torch.long)
    with warnings.catch_warnings(action="ignore"):
        traced: Any = torch.jit.trace(model, inputs, check_trace=False)  # type: ignore[no-untyped-call]
    for parameter in traced.parameters():
        parameter.data = parameter.data.half() if parameter.ndim > 1 else parameter.data
    traced.save(str(path))


def write(kind: str, model: nn.Module, directory: Path) -> Path:
    state: dict[str, Tensor] = {name: value.clone() for name, value in model.state_dict().items()}
    path = directory / ("clip.safetensors" if kind == "safetensors" else "clip.pt")
    match kind:
        case "archive":
            write_archive(model, path)
        case "state_dict":
            torch.save(state, path)
        case "training":
            weights = {f"module.{name}": value for name, value in state.items()}
            torch.save({"epoch": 3, "name": "run", "state_dict": weights, "optimizer": {"state": {}}}, path)
        case _:
            save_file(state, path)
    return path


@pytest.mark.parametrize("kind", ["archive", "state_dict", "training", "safetensors"])
def test_every_format_gives_the_trained_features(
    kind: str, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(kind, trained, tmp_path)
    monkeypatch.setenv(TRUST_VARIABLE, f"elsewhere.pt{os.pathsep}{path}")
    tag = None if kind == "archive" else "openai"
    encoder = build_image_text_encoder(ClipConfig("tiny", tag, str(path)))
    pixels = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        reference = trained.visual((pixels - encoder.mean) / encoder.std)
    torch.testing.assert_close(encoder.encode_image(pixels), reference, atol=1e-5, rtol=1e-4)
    # The identity names the weights, whatever file they came from.
    saved = build_image_text_encoder(ClipConfig("tiny", "openai", str(write("safetensors", trained, tmp_path))))
    assert encoder.identity.split("@")[1] == saved.identity.split("@")[1]
    assert saved.identity.startswith("tiny-quickgelu:openai@")


def test_activation_changes_features_without_changing_weights(trained: Any, tmp_path: Path) -> None:
    path = str(write("safetensors", trained, tmp_path))
    quick = build_image_text_encoder(ClipConfig("tiny", "openai", path))
    plain = build_image_text_encoder(ClipConfig("tiny", None, path, quick_gelu=False))
    image = torch.rand(1, 3, 64, 64)
    difference = (quick.encode_image(image) - plain.encode_image(image)).norm() / quick.encode_image(image).norm()
    assert 1e-4 < float(difference) < 1
    assert quick.identity != plain.identity
    with pytest.raises(ClipWeightsError, match=r"Whose weights.*pretrained.*quick_gelu"):
        build_image_text_encoder({"architecture": "tiny", "weights": path})


def test_an_archive_with_code_must_be_known_or_trusted(trained: Any, tmp_path: Path) -> None:
    path = write("archive", trained, tmp_path)
    for said in (False, True):  # what a file or a checkpoint says about another file counts for nothing
        with pytest.raises(ClipWeightsError, match=rf"clip.pt is a TorchScript archive.*{TRUST_VARIABLE}='{path}'"):
            build_image_text_encoder(ClipConfig("tiny", "openai", str(path), trust_archive=said))
    with pytest.raises(ClipWeightsError, match=r"none of the published CLIP files.*architecture: ViT-B-32"):
        build_image_text_encoder(str(path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("visual.proj"), r"visual.proj is missing \(1 differences\)"),
        (lambda s: s.update({"visual.proj": torch.zeros(64, 8)}), r"visual.proj is \(64, 8\), not \(64, 64\)"),
        (lambda s: s.update({"extra": torch.zeros(1)}), r"extra is unknown"),
        (lambda s: s.update({"vision_model.x": torch.zeros(1)}), r"layout of the `transformers` library"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: Any, message: str, trained: Any, tmp_path: Path) -> None:
    state = dict(trained.state_dict())
    change(state)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ClipWeightsError, match=message):
        build_image_text_encoder(ClipConfig("tiny", "openai", str(tmp_path / "other.pt")))


@pytest.mark.parametrize("kind", ["archive", "state_dict", "safetensors"])
def test_a_truncated_file_is_named(kind: str, trained: Any, tmp_path: Path) -> None:
    path = write(kind, trained, tmp_path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ClipWeightsError, match=rf"{path.name}.*Fetch the file again"):
        build_image_text_encoder(ClipConfig("tiny", "openai", str(path)))


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"visual.proj": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(ClipWeightsError, match=r"trap.pt holds pickled code"):
        build_image_text_encoder(ClipConfig("tiny", "openai", str(tmp_path / "trap.pt")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("random-tiny", ClipConfig("tiny", "random")),
        ("random-ViT-B-32", ClipConfig("ViT-B-32", "random")),
        ({"architecture": "random-tiny"}, ClipConfig("tiny", "random")),
        ("openai/ViT-B-32", ClipConfig("ViT-B-32", "openai")),
        ("openai/ViT-B/32", ClipConfig("ViT-B-32", "openai")),
        ("folder/ViT-B-32.pt", ClipConfig("", None, "folder/ViT-B-32.pt")),
        ({"architecture": "tiny", "weights": "x.pt"}, ClipConfig("tiny", None, "x.pt")),
    ],
)
def test_what_a_configuration_may_say(spec: str | dict[str, str], expected: ClipConfig) -> None:
    assert resolve_clip(spec) == expected


def test_unknown_words_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"(?s)'tinny' names no CLIP encoder.*openai/ViT-B-32.*random-tiny"):
        resolve_clip("tinny")
    with pytest.raises(ClipWeightsError, match=r"no architecture 'ViT-B-23'. Did you mean: .*ViT-B-32"):
        build_image_text_encoder("openai/ViT-B-23")
    with pytest.raises(ClipWeightsError, match=r"no weights 'openia' for 'ViT-B-32' \(its tags: openai, "):
        build_image_text_encoder("openia/ViT-B-32")
    with pytest.raises(ClipWeightsError, match=r"text tower of another kind"):
        build_image_text_encoder("random-ViT-B-16-SigLIP")
    with pytest.raises(ValueError, match=r"asks for random weights, but .* do not"):
        resolve_clip({"architecture": "random-tiny", "weights": "x.pt"})


def test_the_command_line_takes_a_word_or_a_mapping() -> None:
    def task(clip: str | ClipConfig = "openai/ViT-B-32") -> ClipConfig:
        return resolve_clip(clip)

    expected = ClipConfig("tiny", None, "x.pt")
    assert auto_cli(task, args=["--clip", "random-tiny"]) == ClipConfig("tiny", "random")
    assert auto_cli(task, args=["--clip", "{architecture: tiny, weights: x.pt}"]) == expected
    assert auto_cli(task, args=["--clip.weights", "x.pt", "--clip.architecture", "tiny"]) == expected


def test_random_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first = build_image_text_encoder("random-tiny")
    torch.manual_seed(1)
    second = build_image_text_encoder("random-tiny")
    assert first.identity == second.identity
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build_image_text_encoder("random-tiny")
    assert torch.equal(torch.rand(3), expected)
    torch.set_rng_state(before)


OTHER_PROCESS = """
import socket, sys, time
def refuse(*arguments, **keywords): raise SystemExit(f"went out to {arguments}")
socket.getaddrinfo = socket.socket.connect = refuse
from ivif.models.clip import ClipWeightsError, build_image_text_encoder
assert "open_clip" not in sys.modules, "importing ivif.models.clip imports open_clip, which takes seconds"
print(build_image_text_encoder("random-tiny").identity)
start = time.monotonic()
try:
    build_image_text_encoder("openai/ViT-B-32")
except ClipWeightsError as error:
    print(time.monotonic() - start)
    print(error)
"""


def test_another_process_has_the_same_random_encoder_and_fails_fast_offline(tmp_path: Path) -> None:
    variables = os.environ | {"HOME": str(tmp_path), "IVIF_WEIGHTS_DIR": str(tmp_path / "weights"), "PYTHONPATH": "."}
    variables = {k: v for k, v in variables.items() if k not in ("IVIF_DOWNLOAD", "HF_HOME", "HF_HUB_CACHE")}
    command = [sys.executable, "-c", OTHER_PROCESS]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    identity, seconds, *message = done.stdout.splitlines()
    assert identity == build_image_text_encoder("random-tiny").identity
    assert float(seconds) < 5
    text = "\n".join(message)
    for needed in (
        "ViT-B-32.pt",
        "sha256 40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
        "timm/vit_base_patch32_clip_224.openai",
        str(tmp_path / "weights"),
        "--model.clip.weights FILE",
        "--model.clip compact",
        "random-tiny",
        "HF_HUB_OFFLINE=1 forbids downloads",
    ):
        assert needed in text
