"""`ivif models push` to a hub on this machine: what arrives there, and each refusal as one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from ivif.weights import find_weights
from tests.hub import TOKEN, upload_hub
from tests.inputs import brings
from tests.refusals import accepted, refused

NAME = "mgfusion-light"
LINE = ["models", "push", NAME, "--to=hf://owner/net"]
CREATE, FILES = "/api/repos/create", "/api/models/owner/net/"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token of who runs the tests, and their own place for tokens; no pauses between tries."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)


def test_what_arrives_is_what_was_released(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with upload_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        assert f"{hub.address}/owner/net" in accepted(LINE, capsys)
        first = dict(hub.repositories["owner/net"])
        accepted(LINE, capsys)  # the repository is there already
        assert hub.repositories == {"owner/net": first}
    weights = find_weights(NAME)
    assert set(first) == {"model.safetensors", "README.md", "config.json"}
    assert first["model.safetensors"] == weights.read_bytes()
    assert first["README.md"].decode().startswith("---\n")
    assert json.loads(first["config.json"])["task"].endswith("MGFusionTask")
    assert hub.messages == ["Add weights and model card"] * 2


def test_without_a_token_the_way_to_one_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with upload_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        refused(LINE, capsys, "hf://owner/net", "no token", "hf auth login")
    assert not hub.repositories


@brings("downloads", "`models push` without rights at the hub", "refused", "the repository and the hub's answer")
@pytest.mark.parametrize(
    ("behaviour", "named"),
    [
        ({"refuse": {CREATE: 401}}, ("401", "token")),
        ({"refuse": {CREATE: 403}}, ("403", "rights")),
        ({"refuse": {f"{FILES}preupload": 403}}, ("403", "rights")),
        ({"refuse": {"/owner/net.git": 403}}, ("403", "rights")),
        ({"refuse": {"/stored/": 403}}, ("403", "rights")),
        ({"refuse": {f"{FILES}commit": 403}}, ("403", "rights")),
        ({"refuse": {f"{FILES}commit": 404}}, ("404",)),
        ({"drop": "/stored/"}, ("cannot be reached",)),
        ({"refuse": {f"{FILES}preupload": 500}}, ("500",)),
        ({"drop": CREATE}, ("cannot be reached",)),
        ({"drop": f"{FILES}commit"}, ("cannot be reached",)),
    ],
)
def test_a_refusal_at_any_step_is_one_line(
    behaviour: dict[str, Any],
    named: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with upload_hub(**behaviour) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        message = refused(LINE, capsys, "hf://owner/net", *named)
    assert message.count("\n") == 1
    assert TOKEN not in message
    assert not any(hub.repositories.values())


def test_a_refusal_of_the_fast_way_for_large_files_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with upload_hub(refuse={f"{FILES}xet-write-token": 403}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        refused(LINE, capsys, "hf://owner/net", "403", "rights")
    assert any("xet-write-token" in call for call in hub.asked)
