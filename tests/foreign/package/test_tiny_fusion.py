import torch
from tiny_fusion import TinyConfig, TinyFusionTask

from ivif.testing import MethodTests


class TestTinyFusion(MethodTests):
    config = "tiny.yaml"
    options = ("--model.init_args.network.channels=4", "--transforms.crop=32")

    def task(self) -> TinyFusionTask:
        torch.manual_seed(0)
        return TinyFusionTask(TinyConfig(channels=4))
