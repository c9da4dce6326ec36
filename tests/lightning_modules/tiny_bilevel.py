"""The smallest task with two levels: one convolution fuses, one "detects"."""

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from ivif.bilevel import BilevelConfig, LevelLoss
from ivif.contracts.batch import Batch
from ivif.contracts.configuration import config_from
from ivif.image_ops.color import luma
from ivif.lightning_modules.bilevel_task import BilevelTask
from ivif.lightning_modules.level_batch import CropConfig, LevelBatch
from ivif.lightning_modules.optimization import LevelConfig


class TinyBilevelTask(BilevelTask):
    """Fusion should be the mean of both sources; the detector should find 0.3 in it."""

    def __init__(
        self, bilevel: BilevelConfig, lower: LevelConfig = LevelConfig(), upper: LevelConfig = LevelConfig()
    ) -> None:
        super().__init__(
            config_from(BilevelConfig, bilevel), config_from(LevelConfig, lower), config_from(LevelConfig, upper)
        )
        self.store_hyperparameters(bilevel=bilevel, lower=lower, upper=upper)
        self.fusion = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
        self.value = deepcopy(self.fusion) if self.bilevel_config.solver_class.needs_value else None
        self.detector = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
        self.steps: list[str] = []
        self.poison = ""
        self.crops = CropConfig(16, 2)

    def fuse_images(self, batch: Batch) -> Tensor:
        fused: Tensor = self.fusion(torch.cat([batch["infrared"], luma(batch["visible"])], dim=1))
        return fused

    def level_modules(self) -> Mapping[str, nn.Module]:
        modules: dict[str, nn.Module] = {"lower": self.fusion, "upper": self.detector}
        return modules | ({"value": self.value} if self.value is not None else {})

    def level_batch(self, batch: Batch) -> LevelBatch:
        return LevelBatch(batch, self.crops.cut(batch))

    def split_batch(self, batch: LevelBatch, parts: int) -> Sequence[LevelBatch]:
        return batch.split(parts)

    def level_size(self, level: str, batch: LevelBatch) -> int:
        return len((batch.frames if level == "upper" else batch.crops)["name"])

    def level_loss(self, level: str, batch: LevelBatch) -> LevelLoss:
        if level == "upper":
            terms = {"found": (self.detector(self.fuse_images(batch.frames)) - 0.3).square().mean()}
        else:
            crops = torch.cat([batch.crops["infrared"], luma(batch.crops["visible"])], dim=1)
            terms = {"mean": (self.level_modules()[level](crops) - crops.mean(dim=1, keepdim=True)).square().mean()}
        if level == self.poison:
            terms = {name: value * torch.nan for name, value in terms.items()}
        return self.weighted(terms, {})

    def after_step(self, level: str) -> None:
        self.steps.append(level)
