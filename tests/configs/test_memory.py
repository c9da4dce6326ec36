"""Every method's configuration, unshrunk, fits the card that its first lines name."""

from typing import Any

import pytest
import yaml

from ivif.commands.parsing.command_line import rewrite
from ivif.commands.train.lightning_cli import SuiteCLI
from ivif.configs import CONFIGS
from tests.configs.test_configs import clip_flags

GIB = 2**30
SMALL_CARD, LARGE_CARD = 22 * GIB, 74 * GIB
"""What of a card of 24 and of 80 GB is free for a step."""


def _needed(files: tuple[str, ...], half: bool) -> int:
    """The largest training step of a configuration as it stands; an encoder that stands for CLIP, which is frozen."""
    method = files[0].removesuffix(".yaml")
    clip = {"mgfusion": ["--model.clip=random-tiny"]}.get(method) or clip_flags(method)
    line = ["fit", *(f"--config={file}" for file in files), *clip, "--trainer.accelerator=cpu"]
    cli = SuiteCLI.from_arguments(rewrite(line))
    task: Any = cli.model
    task.trainer = cli.trainer
    cli.trainer.strategy.connect(task)
    transforms = cli.datamodule.transforms
    size = transforms.resize or (transforms.crop, transforms.crop)
    needed = task.estimate_memory((cli.datamodule.batch_size, *size), True, half=half)
    assert needed is not None
    return int(needed)


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("method", ["mgfusion", "text_to_pixels", "promptfusion", "detection"])
def test_a_plain_configuration_fits_a_card_of_24_gb(method: str, half: bool) -> None:
    assert GIB < _needed((f"{method}.yaml",), half) < SMALL_CARD


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "card"),
    [
        (("mgfusion.yaml", "mgfusion_large.yaml"), SMALL_CARD),
        (("text_to_pixels.yaml", "text_to_pixels_80gb.yaml"), LARGE_CARD),
        (("promptfusion.yaml", "promptfusion_80gb.yaml"), LARGE_CARD),
    ],
)
def test_a_preset_fits_its_card(files: tuple[str, str], card: int) -> None:
    precision = yaml.safe_load((CONFIGS / files[1]).read_text(encoding="utf-8"))["trainer"]["precision"]
    needed = _needed(files, half=precision == "bf16-mixed")
    assert GIB < needed < card
    if card == LARGE_CARD:
        assert needed > SMALL_CARD  # else it has no purpose


@pytest.mark.parametrize("method", ["mgfusion", "text_to_pixels", "promptfusion", "detection"])
def test_the_batch_is_the_papers_on_any_number_of_processes(method: str) -> None:
    settings = yaml.safe_load((CONFIGS / f"{method}.yaml").read_text(encoding="utf-8"))
    assert settings["loading"]["share_batch"] is True
