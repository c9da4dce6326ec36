"""Weights come from a hub by themselves, once, checked, and never over a network that is not there."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import open_clip
import pytest
from safetensors.torch import save

from ivif.files.answers import answers
from ivif.files.downloads import DownloadError
from ivif.models import clip_weights
from ivif.models.clip import TINY_ARCHITECTURE, build_image_text_encoder, instantiate
from ivif.models.clip_config import ClipConfig
from ivif.models.clip_download import Source, download
from ivif.models.clip_weights import ClipWeightsError, locate_weights
from tests.commands.runs import newest_run, tiny_run
from tests.inputs import brings
from tests.refusals import accepted, refusal, refused
from tests.web import SIGNATURE, Web, files_below, serving, silent

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "CLIP-tiny-invented"
FILE = "open_clip_model.safetensors"
SPEC = "invented/clip_tiny"


@pytest.fixture(scope="module")
def weights() -> bytes:
    """A file as the hub has them: open_clip's names, float32, safetensors."""
    return save({name: value.contiguous() for name, value in instantiate(TINY_ARCHITECTURE).state_dict().items()})


@pytest.fixture
def web(weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A hub with the tiny model's file, which open_clip knows by name; no weights of this machine."""
    published = dict(open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k")) | {"hf_hub": f"laion/{FOLDER}/"}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "clip_tiny", TINY_ARCHITECTURE)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "clip_tiny", {"invented": published | {"url": ""}})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IVIF_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_TOKEN", "hf_5ecre7")
    monkeypatch.delenv("IVIF_DOWNLOAD", raising=False)
    monkeypatch.setattr(clip_weights, "home", lambda: tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with serving({f"/laion/{FOLDER}/{FILE}": weights}) as web:
        monkeypatch.setenv("HF_ENDPOINT", f"{web.address}/hub")
        yield web


@brings(
    "downloads",
    "`fit --config mgfusion.yaml` on a machine without CLIP's weights",
    "works",
    "the file comes from the hub with a progress bar, is checked against the sha256 there, and later runs find it",
)
def test_fit_fetches_what_it_needs_once(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = tiny_run("fit", tmp_path / "runs", f"--model.clip={SPEC}")
    said = accepted(line, capsys)
    assert f"Fetching {web.address}/hub/laion/{FOLDER}/resolve/main/{FILE}" in said
    assert files_below(tmp_path / "weights") == [f"{FOLDER}/{FILE}"]
    assert web.transfers() == [""]
    assert "Fetching" not in accepted(line, capsys)
    assert web.transfers() == [""]
    assert newest_run(tmp_path / "runs").is_dir()


def test_no_token_goes_out_and_no_signature_is_shown(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    locate_weights(ClipConfig("clip_tiny", "invented"))
    assert [key for *_, key in web.asked] == [""] * len(web.asked)
    assert any(SIGNATURE in path for _, path, *_ in web.asked)
    assert SIGNATURE not in "".join(capsys.readouterr())


@brings(
    "downloads",
    "weights whose transfer broke, or that another file has replaced",
    "refused",
    "never used: the next try goes on where the last one was, and what has another sha256 is removed",
)
def test_a_broken_or_changed_file_is_never_used(web: Web, weights: bytes, tmp_path: Path) -> None:
    web.break_after = [1000, 0, 0]
    refusal(lambda: build_image_text_encoder(SPEC), ClipWeightsError, f"ended after 1000 of {len(weights)} bytes")
    assert [Path(name).suffix for name in files_below(tmp_path / "weights")] == [".download"]
    web.break_after = []
    build_image_text_encoder(SPEC)
    assert web.transfers()[-1] == "bytes=1000-"
    path = tmp_path / "weights" / FOLDER / FILE
    assert path.read_bytes() == weights

    path.unlink()
    source = Source(f"{web.storage}/laion/{FOLDER}/{FILE}", f"{FOLDER}/{FILE}", hashlib.sha256(b"other").hexdigest())
    refusal(lambda: download([source], tmp_path / "weights"), DownloadError, "and was removed")
    assert files_below(tmp_path / "weights") == []


def test_a_hub_that_names_no_sha256_is_not_used(web: Web, tmp_path: Path) -> None:
    web.names_sha256 = False
    refusal(lambda: build_image_text_encoder(SPEC), ClipWeightsError, "the hub names no sha256 of the file")
    assert files_below(tmp_path / "weights") == []


@brings(
    "downloads",
    "`HF_HUB_OFFLINE=1`, or `IVIF_DOWNLOAD=0`",
    "refused",
    "nothing goes out: the page says what to fetch and where to put it",
)
@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE=1", "IVIF_DOWNLOAD=0"])
def test_downloads_can_be_forbidden(
    web: Web, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if how.startswith("HF"):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setenv("IVIF_DOWNLOAD", "0")
    line = tiny_run("fit", tmp_path / "runs", f"--model.clip={SPEC}")
    refused(line, capsys, f"{how} forbids downloads", f"{FOLDER}/{FILE}", str(tmp_path / "weights"), "MODELS.md")
    assert web.asked == []


@brings(
    "downloads",
    "a machine without a network, or with one that swallows everything",
    "refused",
    "within five seconds: the page that says what to fetch and where to put it",
)
def test_a_network_that_swallows_everything_is_given_up_within_five_seconds(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    with silent() as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        locate = lambda: locate_weights(ClipConfig("clip_tiny", "invented"))  # noqa: E731
        start = time.monotonic()
        message = refusal(locate, ClipWeightsError, f"{address}/laion/{FOLDER}", "no answer", "Download ONE of")
        assert time.monotonic() - start < 5.5
    assert "hf_5ecre7" not in message


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://nobody:pa55word@127.0.0.1:9", "file:///etc"])
def test_an_address_that_does_not_work_ends_at_once(web: Web, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    start = time.monotonic()
    message = refusal(lambda: build_image_text_encoder(SPEC), ClipWeightsError, "were not fetched", "Download ONE of")
    assert time.monotonic() - start < 4
    assert "pa55word" not in message


@brings(
    "downloads",
    "a disk that is full, or a weights folder that cannot be written",
    "refused",
    "one line with the folder, the reason and `IVIF_WEIGHTS_DIR`",
)
def test_a_place_that_cannot_be_written_is_one_line(web: Web, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"a file")
    line = refusal(lambda: build_image_text_encoder(SPEC), ClipWeightsError, str(tmp_path / "weights"), "IVIF_WEIGHTS")
    assert "\n" not in line


def test_a_damaged_file_of_the_hubs_cache_is_not_used(web: Web, weights: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / f"models--laion--{FOLDER}"
    blob = folder / "blobs" / hashlib.sha256(weights).hexdigest()
    link = folder / "snapshots" / "abc" / FILE
    for path in (blob, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    blob.write_bytes(weights)
    link.symlink_to(blob)
    assert locate_weights(ClipConfig("clip_tiny", "invented")) == link
    blob.write_bytes(weights[:-1])
    refusal(lambda: locate_weights(ClipConfig("clip_tiny", "invented")), ClipWeightsError, "sha256", str(blob))


def test_answers_come_at_once_and_none_is_waited_for_longer() -> None:
    def slow() -> str:
        time.sleep(3)
        return "too late"

    start = time.monotonic()
    first, second, third = answers([slow, lambda: "here", lambda: str(1 / 0)], seconds=0.3)
    assert time.monotonic() - start < 1
    assert (str(first), second, type(third)) == ("no answer within 0.3 seconds", "here", ZeroDivisionError)


RANK = """
import pathlib, sys
from ivif.models.clip_download import Source, download
print(download([Source(sys.argv[1], "folder/open_clip_model.safetensors", "")], pathlib.Path(sys.argv[2])))
"""


@brings(
    "downloads",
    "several processes, or two runs, that need the same weights",
    "works",
    "one fetches them, the others wait for it",
)
def test_ranks_fetch_once(web: Web, weights: bytes, tmp_path: Path) -> None:
    address = f"{web.address}/hub/laion/{FOLDER}/resolve/main/{FILE}"
    variables = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RANK, address, str(tmp_path / "weights")]
    ranks = [subprocess.Popen(command, cwd=tmp_path, env=variables, text=True, stdout=-1, stderr=-1) for _ in range(3)]
    said = [rank.communicate(timeout=60) for rank in ranks]
    path = tmp_path / "weights" / "folder" / FILE
    assert [out for out, _ in said] == [f"{path}\n"] * 3, said
    assert path.read_bytes() == weights
    assert web.transfers() == [""]
