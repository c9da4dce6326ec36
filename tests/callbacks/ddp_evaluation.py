"""Tests and predicts a task on generated scenes, with one or several processes; run by test_evaluation_ddp.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.prediction_writer import PredictionWriter
from ivif.contracts.batch import Batch, StepOutput
from ivif.datamodules.configuration import LoadingConfig
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.synthetic import SyntheticDataModule
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.classic import ClassicFusionTask
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.prompt_learning import PromptsConfig
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.text_to_pixels import TextToPixelsTask
from ivif.models.detection import DetectorConfig
from ivif.models.mgfusion import MGFusionConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig
from ivif.testing.batches import quiet_trainer


class Detecting(ClassicFusionTask):
    """ "Finds" some of the objects, a little beside their places."""

    scores_detection = True

    def __init__(self) -> None:
        super().__init__("average")
        self.class_names = SyntheticDataset.classes

    def fuse(self, batch: Batch) -> StepOutput:
        output = super().fuse(batch)
        output["detections"] = []
        for name, target in zip(batch["name"], batch["targets"], strict=True):
            generator = torch.Generator().manual_seed(sum(map(ord, name)))
            count = len(target["labels"])
            moved = target["boxes"] + 3 * torch.rand(count, 1, generator=generator)
            scores = torch.rand(count, generator=generator)
            output["detections"].append({"boxes": moved, "scores": scores, "labels": target["labels"]})
        return output


def _make_task(kind: str) -> FusionTask:
    torch.manual_seed(0)
    if kind == "classic":
        return ClassicFusionTask("laplacian_pyramid")
    if kind == "detecting":
        return Detecting()
    if kind == "mgfusion":
        return MGFusionTask(clip="random-tiny", network=MGFusionConfig(channels=8, blocks=1, heads=2))
    detector = DetectorConfig("yolov5n", image_size=None, score_threshold=1e-6)  # untrained: it is sure of nothing
    if kind == "promptfusion":
        return PromptFusionTask(
            network=PromptFusionConfig(channels=4, blocks=1, heads=2, detail_channels=(4, 4, 4, 4)),
            prompts=PromptsConfig(clip="random-tiny", length=4),
            detector=detector,
            classes=SyntheticDataset.classes,
        )
    return TextToPixelsTask(
        clip="random-tiny",
        network=TextToPixelsConfig.preset("light", width=16, codebook_entries=8),
        detector=detector,
        classes=SyntheticDataset.classes,
    )


def main(folder: Path, devices: int, length: int, kind: str) -> None:
    """Writes `tables/` and `fused/` under the folder, and which names each process fused."""
    torch.set_num_threads(1)
    data = SyntheticDataModule(
        train_length=2, evaluation_length=length, size=(48, 56), loading=LoadingConfig(batch_size=1, num_workers=0)
    )
    evaluator, writer = Evaluator(test_metrics=["EN", "SCD", "Qabf"]), PredictionWriter(folder / "fused")
    trainer = quiet_trainer(
        folder, devices=devices, strategy="ddp" if devices > 1 else "auto", callbacks=[evaluator, writer]
    )
    task = _make_task(kind)
    trainer.test(task, data, verbose=False)
    trainer.predict(task, data, return_predictions=False)
    (folder / f"written_by_{trainer.global_rank}").write_text(str(writer.written))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
