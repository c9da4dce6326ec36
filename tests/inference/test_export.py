"""Exported files against the tasks that they were made of, and what no file is made of."""

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor

import ivif
from ivif.commands.cli import main
from ivif.contracts.batch import Batch
from ivif.inference.export import ExportError, export_fusion, quantization
from ivif.inference.export import files as export_files
from ivif.inference.export.comparison import onnx_function, pair_of_bytes
from ivif.inference.export.files import check_request
from ivif.inference.export.graph import ByteFusion, PromptInput, token_ids
from ivif.inference.export.quantization import lowest_psnr
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.text_states import PromptEncoder
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.promptfusion import PromptFusionConfig
from tests.commands.runs import newest_run, tiny_run
from tests.refusals import refused

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "export.md"


def _mgfusion() -> FusionTask:
    torch.manual_seed(0)
    return MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, heads=2, blocks=1)).eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert main(tiny_run("fit", runs, "--trainer.limit_val_batches=0")) == 0
    return newest_run(runs)


@pytest.mark.slow
def test_the_page_fuses_as_the_command_does(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", f"--ckpt_path={run}", "--out=fuse.onnx"]) == 0
    infrared, visible = pair_of_bytes((1, 57, 70), 99)
    Image.fromarray(infrared[0].numpy()).save("thermal.png")
    Image.fromarray(visible[0].numpy()).save("camera.png")
    lines = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert lines is not None
    exec(lines[1], {})  # noqa: S102 - the repository's own page
    expected = np.asarray(ivif.load(run, "cpu")("thermal.png", "camera.png")).astype(int)
    assert np.abs(np.asarray(Image.open("fused.png")).astype(int) - expected).max() <= 1
    assert str(ROOT).encode() not in Path("fuse.onnx").read_bytes()  # where the suite lies is nobody's business
    notes = {entry.key: entry.value for entry in onnx.load("fuse.onnx").metadata_props}
    assert notes["ivif.task"] == "MGFusionTask"
    assert "mean" in notes["ivif.encoder_normalization_inside"]


@pytest.mark.slow
def test_a_prompt_stays_in_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = TextToPixelsTask(clip="random-tiny", detector=None).eval()
    pair = pair_of_bytes((2, 45, 61), 7)
    export_fusion(task, tmp_path / "a.onnx", "onnx", "two cars at night", "test")
    fused = onnx_function(tmp_path / "a.onnx")(*pair).int()
    with torch.no_grad():
        with_text, without = ByteFusion(task, "two cars at night")(*pair).int(), ByteFusion(task)(*pair).int()
    assert (fused - with_text).abs().max() <= 1
    assert not torch.equal(with_text, without)


@pytest.mark.slow
def test_a_prompt_comes_with_the_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    task = TextToPixelsTask(clip="random-tiny", detector=None).eval()
    pair, texts = pair_of_bytes((2, 45, 61), 7), ["two cars at night", " "]
    found = export_fusion(task, tmp_path / "a.onnx", "onnx", None, "test", prompt_input=True)
    assert found.difference <= 1
    fused = onnx_function(tmp_path / "a.onnx")(*pair, token_ids(task, texts)).int()
    with torch.no_grad():
        with_text, without = (ByteFusion(task, text)(*pair).int() for text in texts)
    assert (fused[0] - with_text[0]).abs().max() <= 1
    assert (fused[1] - without[1]).abs().max() <= 1
    assert not torch.equal(with_text[0], without[0])
    notes = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert list(json.loads(notes["ivif.inputs"])) == ["infrared", "visible", "tokens"]


def test_tokens_are_encoded_as_their_texts() -> None:
    texts: dict[str, Any] = {"prompt": ["two cars at night", "fog", " "]}
    encoder = PromptEncoder("random-tiny")
    assert encoder.encoder is not None
    tokens: dict[str, Any] = {"tokens": encoder.encoder.tokenizer(texts["prompt"])}
    found, expected = PromptInput(encoder.encoder)(cast(Batch, tokens)), encoder(cast(Batch, texts))
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-5)
    assert torch.equal(found[1], expected[1])
    assert found[1].any(dim=1).tolist() == [True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"detail": "convolution"}, {"pairing": "resize"}, {"pairing": "splice"}])
def test_promptfusion_is_exported(tmp_path: Path, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = PromptFusionConfig(channels=8, blocks=1, heads=2, detail_channels=(8, 8, 8, 8), **options)
    task = PromptFusionTask(network=network, prompts=None, detector=None).eval()
    assert export_fusion(task, tmp_path / "a.onnx", "onnx", None, "test").difference <= 1


@pytest.mark.slow
def test_a_file_of_8_bits_states_its_loss_and_is_kept_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, out = _mgfusion(), tmp_path / "a.onnx"
    found = export_fusion(task, out, "onnx", None, "test", int8=True)
    pair = pair_of_bytes((2, 45, 61), 7)
    with torch.no_grad():
        error = (onnx_function(out)(*pair).float() - ByteFusion(task)(*pair).float()).square().mean()
    assert error > 0
    assert found.psnr is not None
    assert 10 * (255**2 / error).log10() > found.psnr - 3
    notes = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert f"at least {found.psnr:.1f} dB" in notes["ivif.int8"]
    assert notes["ivif.task"] == "MGFusionTask"
    monkeypatch.setattr(export_files, "LEAST_PSNR", 98.0)
    with pytest.raises(ExportError, match=r"in 8 bits a picture reaches \d+\.\d dB .* 98 is the least"):
        export_fusion(task, tmp_path / "b.onnx", "onnx", None, "test", int8=True)
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.slow
def test_a_program_of_torch_is_kept_if_it_fuses_alike(tmp_path: Path) -> None:
    assert export_fusion(_mgfusion(), tmp_path / "a.pt2", "torch", None, "test").difference <= 1
    assert str(ROOT).encode() not in (tmp_path / "a.pt2").read_bytes()


@pytest.mark.slow
def test_a_file_that_fuses_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other: Any = lambda path: lambda infrared, visible: 255 - visible  # noqa: E731, ARG005
    monkeypatch.setattr(export_files, "torch_function", other)
    with pytest.raises(ExportError, match=r"was not kept: a picture of \d+x\d+ pixels differs by \d+ of 255"):
        export_fusion(_mgfusion(), tmp_path / "a.pt2", "torch", None, "test")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_8_bits_that_loses_too_much_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task: Any = _mgfusion()
    alike: Any = lambda path: ByteFusion(task)  # noqa: E731, ARG005
    noted: dict[str, str] = {}
    monkeypatch.setattr(export_files, "_write", lambda _task, path, *_: path.touch())
    monkeypatch.setattr(export_files, "onnx_function", alike)
    monkeypatch.setattr(export_files, "quantize", lambda _path, out: out.touch())
    monkeypatch.setattr(export_files, "add_notes", lambda _path, notes: noted.update(notes))
    monkeypatch.setattr(export_files, "largest_difference", lambda *_: (0, (1, 1, 1)))
    monkeypatch.setattr(export_files, "lowest_psnr", lambda *_: 29.96)
    with pytest.raises(ExportError, match=r"in 8 bits a picture reaches 30\.0 dB .*, and 30 is the least"):
        export_fusion(task, tmp_path / "a.onnx", "onnx", None, "test", int8=True)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(export_files, "lowest_psnr", lambda *_: 34.5)
    assert export_fusion(task, tmp_path / "a.onnx", "onnx", None, "test", int8=True).psnr == 34.5
    assert "at least 34.5 dB" in noted["ivif.int8"]


def test_the_loss_of_a_file_is_its_worst_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "SIZES", ((1, 24, 40), (1, 32, 32), (2, 17, 31)))
    task: Any = _mgfusion()
    plain = ByteFusion(task)

    def lighter(infrared: Tensor, visible: Tensor) -> Tensor:
        fused: Tensor = plain(infrared, visible).int()
        return fused + (2 if infrared.shape == (1, 32, 32) else 1)

    with torch.no_grad():
        assert lowest_psnr(lighter, plain) == pytest.approx(20 * np.log10(255 / 2))
        assert lowest_psnr(plain, plain) == 99.0


def test_what_no_file_can_be_made_of_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportError, match="MGFusion takes no text: leave --prompt out"):
        check_request(_mgfusion(), "onnx", "a street")
    with pytest.raises(ExportError, match="MGFusion takes no text: leave --prompt_input out"):
        check_request(_mgfusion(), "onnx", None, prompt_input=True)
    with pytest.raises(ExportError, match="give one of the two"):
        check_request(_mgfusion(), "onnx", "a street", prompt_input=True)
    with pytest.raises(ExportError, match="--int8 is for --format onnx"):
        check_request(_mgfusion(), "torch", None, int8=True)
    monkeypatch.setattr(export_files, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ExportError, match=r"needs onnxscript: pip install 'ivif-lightning\[export\]'"):
        check_request(_mgfusion(), "onnx", None)


def test_a_wrong_command_line_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["export", "--ckpt_path=a.ckpt"]
    refused([*line, f"--out={tmp_path}"], capsys, "is a folder: name the file to write")
    refused([*line, "--out=a.png"], capsys, "a file of --format onnx ends in .onnx")
    (tmp_path / "a.onnx").touch()
    refused([*line, f"--out={tmp_path / 'a.onnx'}"], capsys, "is there already")
    refused([*line, "--format=tflite", "--out=a.onnx"], capsys, "tflite")
