"""Exported files with a detector in them against their tasks, and what the comparison refuses."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor

from ivif.commands import export as command
from ivif.image_ops.color import levels_of_8bit
from ivif.inference import Fuser
from ivif.inference.export import Exported, ExportError, export_fusion
from ivif.inference.export import detections as checks
from ivif.inference.export import files as export_files
from ivif.inference.export.comparison import onnx_outputs, pair_of_bytes
from ivif.inference.export.files import check_request
from ivif.inference.export.graph import ByteFusion
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.detection import DetectionTask
from ivif.lightning_modules.detection_sources import DetectionSource
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.detection.base import ListedDetections, configured
from ivif.models.detection.traced import TracedLetterbox
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from tests.models.detection.lively import as_list, enliven, lively
from tests.models.detection.scenes import NAMES

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
SMALL = DetectorConfig(image_size=96, score_threshold=0.2, max_detections=40)
SIZES = ((1, 16, 16), (2, 57, 90), (1, 130, 97))


def _task(kind: str, detector: DetectorConfig = SMALL) -> Any:
    torch.manual_seed(0)
    task: Any
    if kind == "detection":
        task = DetectionTask(NAMES, DetectionSource("visible"), detector)
    elif kind == "promptfusion":
        sizes = PromptFusionConfig(channels=8, blocks=1, heads=2, detail_channels=(8, 8, 8, 8))
        task = PromptFusionTask(network=sizes, prompts=None, detector=detector, classes=NAMES)
    else:
        tokens = TextToPixelsConfig(channels=8, dilations=(1,), features=16, width=32, heads=2, blocks=1)
        task = TextToPixelsTask(clip="random-tiny", network=tokens, detector=detector, classes=NAMES)
    enliven(task.part.evaluated)
    return task.eval()


def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are the traced functions themselves: compared at few sizes, and written in no time."""
    made: dict[str, Any] = {}

    class File:
        def __init__(self, path: Path, notes: dict[str, str]) -> None:
            del path, notes

        def outputs(self) -> Callable[..., Any]:
            return torch.no_grad()(made["module"])  # type: ignore[no-any-return]

        def set_threshold(self, value: float) -> None:
            made["module"].score_threshold.fill_(value)

    def write(task: FusionTask, path: Path, *rest: Any) -> None:
        made["module"] = ByteFusion(task, score_threshold=rest[-1])
        path.touch()

    monkeypatch.setattr(export_files, "DetectingFile", File)
    monkeypatch.setattr(export_files, "_write", write)
    monkeypatch.setattr(export_files, "SIZES", SIZES)
    monkeypatch.setattr(checks, "SIZES", SIZES)
    compare = checks.compare
    monkeypatch.setattr(export_files, "compare", lambda *given: compare(*given, *((SIZES,) if len(given) < 3 else ())))


def test_what_was_compared_is_counted_and_the_threshold_is_the_task_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _eager(monkeypatch)
    task = _task("detection", replace(SMALL, score_threshold=0.9))
    found = export_fusion(task, tmp_path / "a.onnx", "onnx", None, "test", detector=True)
    assert found.difference == 0
    assert found.detections is not None
    assert found.detections >= 100  # of which predict finds next to none
    assert task.part.evaluated.config.score_threshold == 0.9
    monkeypatch.setattr(torch.Tensor, "fill_", lambda *_: None)  # the file keeps the threshold of the comparison
    with pytest.raises(ExportError, match="a score is below the threshold"):
        export_fusion(task, tmp_path / "b.onnx", "onnx", None, "test", detector=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_a_file_whose_letterbox_is_another_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _eager(monkeypatch)
    task, back = _task("detection"), TracedLetterbox.to_image
    monkeypatch.setattr(
        TracedLetterbox, "to_image", lambda self, boxes: back(self._replace(shift=self.shift + 1), boxes)
    )
    with pytest.raises(ExportError, match=r"a\.onnx was not kept: .* in a picture of \d+x\d+ pixels a box, its score"):
        export_fusion(task, tmp_path / "a.onnx", "onnx", None, "test", detector=True)
    assert list(tmp_path.iterdir()) == []


def _changed(listed: ListedDetections, **parts: Tensor) -> ListedDetections:
    return listed._replace(**parts)


def _chosen(listed: ListedDetections, which: Tensor) -> ListedDetections:
    return ListedDetections(*(part[which] for part in listed))


def test_only_what_suppression_gives_passes() -> None:
    config = replace(SMALL, score_threshold=0.2)
    detector, images = lively(config), torch.rand(2, 3, 57, 90, generator=torch.Generator().manual_seed(1))
    candidates = detector.candidates(images)
    check = partial(checks.check_listed, candidates=candidates, config=config, size=(57, 90))

    def found(**options: Any) -> ListedDetections:
        detector.config = replace(config, **options)
        return as_list(detector.predict(images))

    right = found()
    assert right.pictures.bincount().tolist() == [40, 40]
    assert check(right) == check(found(score_threshold=0.199)) == ""
    assert check(found(max_detections=41)) == "there are more than 40 boxes"
    assert check(found(max_detections=39)) == "a box is missing"
    assert check(found(iou_threshold=0.63)) == "two boxes of a class overlap"
    assert check(found(iou_threshold=0.5)) == "a box is missing"
    assert check(found(score_threshold=0.9)) == "a box is missing"
    assert check(_chosen(right, torch.arange(80) != 5)) == "a box is missing"
    assert check(_chosen(right, torch.arange(79, -1, -1))) == "pictures are out of order"
    assert check(_changed(right, pictures=right.pictures + 1)) == "pictures are out of order"
    assert check(_changed(right, scores=right.scores.flip(0))) == "the surest are not the first"
    assert check(_changed(right, scores=right.scores * 1.05)) == "a box, its score or its class differs"
    assert check(_changed(right, labels=(right.labels + 1) % 3)) == "a box, its score or its class differs"
    assert check(_changed(right, labels=right.labels + 3)) == "there is no such class"
    assert check(_changed(right, boxes=right.boxes + 1e-3)) == "a box lies beyond the picture"
    inside = torch.minimum(right.boxes, torch.tensor([89.0, 56, 89, 56]))
    assert check(_changed(right, boxes=inside)) == "a box, its score or its class differs"


def test_a_detector_that_is_sure_of_nothing_is_compared_all_the_same() -> None:
    task: Any = DetectionTask(NAMES, DetectionSource("visible"), DetectorConfig(image_size=160)).eval()
    plain = ByteFusion(task)
    with torch.no_grad():
        low = checks.low_threshold(plain)
        with configured(task.part.evaluated, score_threshold=low):
            compared = checks.compare(ByteFusion(task, score_threshold=low), plain, SIZES)
    assert low < 0.001
    assert (compared.wrong, compared.difference) == ("", 0)
    assert compared.detections >= 20
    assert task.part.evaluated.config.score_threshold == 0.001


def test_what_has_no_detector_for_a_file_is_refused() -> None:
    with pytest.raises(ExportError, match="TextToPixels has no detector: leave --detector out"):
        check_request(TextToPixelsTask(clip=None, detector=None), "onnx", None, detector=True)
    task = DetectionTask(NAMES, DetectionSource("visible"), DetectorConfig("ssdlite320"))
    with pytest.raises(ExportError, match=r"ssdlite320 cannot be exported; yolov5n, .* can"):
        check_request(task, "onnx", None, detector=True)
    with pytest.raises(ExportError, match="leave --int8 out, or --detector"):
        check_request(_task("detection"), "onnx", None, int8=True, detector=True)


def test_the_command_says_what_the_file_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = _task("detection")
    asked = []

    def export(*given: Any) -> Exported:
        asked.append(given[-1])
        return Exported(1, detections=123 if given[-1] else None)

    monkeypatch.setattr("ivif.lightning_modules.detection_sources.load_fusion", lambda _: (task, "test"))
    monkeypatch.setattr("ivif.weights.find_weights", lambda name, fetch: name)  # noqa: ARG005
    monkeypatch.setattr("ivif.inference.export.export_fusion", export)
    line = ["--ckpt_path=a.ckpt", f"--out={tmp_path / 'a.onnx'}"]
    assert command.main(line) == command.main([*line, "--detector=true"]) == 0
    assert asked == [False, True]
    told = capsys.readouterr().out
    assert "the detector of this network is no part of it. --detector true makes it one." in told
    assert "It fuses and detects; 123 detections were compared" in told


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "suffix"), [("text", "onnx"), ("text", "pt2"), ("promptfusion", "onnx")])
def test_a_file_finds_what_its_task_does(kind: str, suffix: str, tmp_path: Path) -> None:
    task, out = _task(kind), tmp_path / f"a.{suffix}"
    found = export_fusion(task, out, "onnx" if suffix == "onnx" else "torch", None, "test", detector=True)
    assert found.difference <= 1
    assert found.detections is not None
    assert found.detections >= 500
    run: Any = onnx_outputs(out) if suffix == "onnx" else torch.export.load(out).module()
    for size in ((1, 57, 90), (2, 83, 61)):
        pair = pair_of_bytes(size, 7)
        fused, *lists = run(*pair)
        plain = ByteFusion(task)
        with torch.no_grad():
            expected = task.fuse(plain.batch(*pair))
        listed, own = ListedDetections(*lists), as_list(expected["detections"])
        assert (fused.permute(0, 3, 1, 2) - levels_of_8bit(expected["fused"])).abs().max() <= 1
        assert len(own.boxes) >= 10
        assert torch.equal(listed.pictures, own.pictures)
        assert torch.equal(listed.labels, own.labels)
        torch.testing.assert_close(listed.scores, own.scores, rtol=0.0, atol=1e-3)
        torch.testing.assert_close(listed.boxes, own.boxes, rtol=0.0, atol=0.1)


@pytest.mark.slow
def test_the_page_prints_the_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = _task("detection")
    export_fusion(task, Path("fuse.onnx"), "onnx", None, "test", detector=True)
    notes = {entry.key: entry.value for entry in onnx.load("fuse.onnx").metadata_props}
    assert json.loads(notes["ivif.classes"]) == list(NAMES)
    assert json.loads(notes["ivif.detector"])["score_threshold"] == 0.2
    assert list(json.loads(notes["ivif.outputs"])) == ["fused", "boxes", "scores", "labels", "pictures"]
    assert "AGPL" in notes["ivif.detector_license"]
    infrared, visible = pair_of_bytes((1, 57, 70), 99)
    Image.fromarray(infrared[0].numpy()).save("thermal.png")
    Image.fromarray(visible[0].numpy()).save("camera.png")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks[0] + next(block for block in blocks if "boxes" in block), {})  # noqa: S102 - our own page
    expected = Fuser(task).detect("thermal.png", "camera.png")
    rows = [line.split() for line in printed.getvalue().splitlines()]
    assert [row[0] for row in rows] == expected.labels
    assert np.abs(np.array([row[1:] for row in rows], dtype=float)[:, 0] - expected.scores.numpy()).max() < 6e-3
    assert np.abs(np.array([row[2:] for row in rows], dtype=float) - expected.boxes.numpy()).max() < 0.6
