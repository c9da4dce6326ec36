"""Every configuration that trains, unshrunk, fits the card that its first lines name."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from torch import nn

from ivif.commands.parsing.command_line import rewrite
from ivif.commands.train.lightning_cli import SuiteCLI
from ivif.configs import CONFIGS
from tests.configs.test_cluster_configs import OVERLAYS
from tests.configs.test_configs import COMBINATIONS, SMALL, clip_flags
from tests.configs.test_protocols import IN_TURN

GIB = 2**30
SMALL_CARD, LARGE_CARD = 22 * GIB, 74 * GIB
"""What of a card of 24 and of 80 GB is free for a step."""
METHODS = ("mgfusion", "text_to_pixels", "promptfusion", "detection")
ON_A_CPU = ("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.num_nodes=1")


def _protocols() -> Iterator[tuple[str, ...]]:
    """Each protocol after its method's files, as its first lines say."""
    for path in sorted((CONFIGS / "protocols").glob("*.yaml")):
        (method,) = (name for name in METHODS if path.stem.startswith(f"{name}_"))
        between = [[f"{method}_cpu.yaml"] if path.stem.endswith("_cpu") else []]
        if path.stem.endswith("_in_turn"):
            between = [[f"ablations/{method}_{scheme}.yaml"] for scheme in IN_TURN]
        for files in between:
            yield (f"{method}.yaml", *files, f"protocols/{path.name}")


ON_CLUSTERS = [(f"{method}.yaml", f"cluster/{overlay}") for method in sorted(SMALL) for overlay in OVERLAYS]
EVERYTHING = [*COMBINATIONS, *_protocols(), *ON_CLUSTERS]
"""Methods' files alone; presets, ablations, protocols and overlays after them."""


def _needed(files: tuple[str, ...], half: bool) -> int:
    """The largest training step of a configuration as it stands; an encoder that stands for CLIP, which is frozen."""
    method = files[0].removesuffix(".yaml")
    clip = {"mgfusion": ["--model.clip=random-tiny"]}.get(method) or clip_flags(method, files)
    cli = SuiteCLI.from_arguments(rewrite(["fit", *(f"--config={file}" for file in files), *clip, *ON_A_CPU]))
    task: Any = cli.model
    task.trainer = cli.trainer
    cli.trainer.strategy.connect(task)
    if _settings(files[-1]).get("trainer", {}).get("sync_batchnorm"):
        nn.SyncBatchNorm.convert_sync_batchnorm(task)  # type: ignore[no-untyped-call]
    transforms = cli.datamodule.transforms
    size = transforms.resize or (transforms.crop, transforms.crop)
    needed = task.estimate_memory((cli.datamodule.batch_size, *size), True, half=half)
    assert needed is not None
    return int(needed)


def _settings(file: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((CONFIGS / file).read_text(encoding="utf-8"))
    return settings


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_plain_configuration_fits_a_card_of_24_gb_in_float32(method: str) -> None:
    assert GIB < _needed((f"{method}.yaml",), half=False) < SMALL_CARD


@pytest.mark.slow
@pytest.mark.parametrize("files", EVERYTHING, ids=lambda files: "+".join(files))
def test_every_configuration_fits_its_card_in_bf16(files: tuple[str, ...]) -> None:
    needed = _needed(files, half=True)
    if files[-1].endswith("_80gb.yaml"):
        assert _settings(files[-1])["trainer"]["precision"] == "bf16-mixed"
        assert SMALL_CARD < needed < LARGE_CARD  # else it has no purpose
    else:
        assert 0 < needed < SMALL_CARD


@pytest.mark.parametrize("method", METHODS)
def test_the_batch_is_the_papers_on_any_number_of_processes(method: str) -> None:
    assert _settings(f"{method}.yaml")["loading"]["share_batch"] is True
