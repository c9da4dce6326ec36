"""Terms beside the papers' own, in the loss of each method that has levels."""

from collections.abc import Callable

import pytest
import torch

from ivif.contracts.batch import Batch, batch_to_float, collate
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.image_ops.color import luma
from ivif.image_ops.saliency import saliency_pair
from ivif.lightning_modules.fusion_detection import FusionDetectionTask
from ivif.lightning_modules.promptfusion import PromptFusionTask
from ivif.lightning_modules.promptfusion_config import PhaseConfig, PromptFusionLoss
from ivif.lightning_modules.text_to_pixels import TextToPixelsLoss, TextToPixelsTask
from ivif.losses.preservation import PreservationWeights
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig

CHOSEN = PreservationWeights(edges=0.5, differences=3.0)


def _promptfusion(chosen: PreservationWeights) -> PromptFusionTask:
    torch.manual_seed(1)
    return PromptFusionTask(
        network=PromptFusionConfig(channels=8, blocks=1, heads=2, detail_channels=(8, 8, 8, 8)),
        loss=PromptFusionLoss(preservation=chosen),
        prompts=None,
        detector=None,
        phases=PhaseConfig(autoencoder=0.0),
    )


def _text_to_pixels(chosen: PreservationWeights) -> TextToPixelsTask:
    torch.manual_seed(1)
    network = TextToPixelsConfig(channels=8, features=8, width=16, heads=2, blocks=1, codebook_entries=16)
    return TextToPixelsTask(
        clip=None, network=network, loss=TextToPixelsLoss(previous="none", preservation=chosen), detector=None
    )


def _crops() -> Batch:
    batch = batch_to_float(collate([SyntheticDataset(2, (48, 64))[index] for index in range(2)]))
    batch["saliency"] = saliency_pair(batch["infrared"], luma(batch["visible"]))
    return batch


@pytest.mark.parametrize("build", [_promptfusion, _text_to_pixels])
def test_chosen_terms_are_added_with_their_weights(
    build: Callable[[PreservationWeights], FusionDetectionTask],
) -> None:
    crops, found = _crops(), {}
    for chosen in (PreservationWeights(), CHOSEN):
        task = build(chosen).eval()
        found[chosen] = task.fusion_loss("lower", task.network, crops)
    plain, more = found[PreservationWeights()], found[CHOSEN]
    assert {"edges", "differences"} <= set(more.terms)
    assert not {"edges", "differences", "information", "similarity"} & set(plain.terms)
    expected = plain.value + 0.5 * more.terms["edges"] + 3.0 * more.terms["differences"]
    torch.testing.assert_close(more.value, expected)
