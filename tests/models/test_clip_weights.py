from pathlib import Path

import huggingface_hub.constants
import pytest

from ivif.models import clip_weights
from ivif.models.clip_config import ClipConfig
from ivif.models.clip_weights import ClipWeightsError, identify_file, locate_weights

HUB_NAME = "vit_base_patch32_clip_224.openai"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of this machine, and no download."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IVIF_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.delenv("IVIF_DOWNLOAD", raising=False)
    monkeypatch.setattr(clip_weights, "home", lambda: tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def place(path: Path, content: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_search_order(tmp_path: Path) -> None:
    config = ClipConfig("ViT-B-32", "openai")
    snapshot = tmp_path / "hub" / f"models--timm--{HUB_NAME}"
    place(snapshot / "refs" / "main", b"abc")
    hub = place(snapshot / "snapshots" / "abc" / "open_clip_model.safetensors")
    assert locate_weights(config) == hub
    default = place(tmp_path / ".cache" / "weights" / HUB_NAME / "open_clip_model.safetensors")
    assert locate_weights(config) == default
    configured = place(tmp_path / "weights" / HUB_NAME / "open_clip_pytorch_model.bin")
    assert locate_weights(config) == configured
    named = place(tmp_path / "mine.safetensors")
    assert locate_weights(ClipConfig(weights=str(named))) == named


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClipWeightsError, match=r"'nowhere.pt' are no file"):
        locate_weights(ClipConfig(weights="nowhere.pt"))
    place(tmp_path / "home" / ".cache" / "clip" / "ViT-B-32.pt")
    with pytest.raises(ClipWeightsError, match=r"ViT-B-32.pt has sha256 .* published file has 40d365715913c9da"):
        locate_weights(ClipConfig())


def test_a_bare_file_is_known_by_checksum_or_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_hub = place(tmp_path / f"models--timm--{HUB_NAME}" / "snapshots" / "abc" / "open_clip_model.safetensors")
    assert identify_file(in_hub) == ("ViT-B-32", "openai")
    assert identify_file(place(tmp_path / f"{HUB_NAME}.safetensors")) == ("ViT-B-32", "openai")
    archive = place(tmp_path / "some.pt")
    with pytest.raises(ClipWeightsError, match=r"none of the published CLIP files"):
        identify_file(archive)
    vit_b_16 = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
    monkeypatch.setattr(clip_weights, "file_digest", lambda _: vit_b_16)
    assert identify_file(archive) == ("ViT-B-16", "openai")
