"""The terms around learnt prompts: what trains the network by them, and what trains them.

All take scaled cosines or probabilities, so that this module knows nothing about CLIP. The first column of `scores` is
the similarity to the positive prompt, the second to the negative one, as `ivif.models.learned_prompts` gives them.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ivif.losses.intensity import at_least_float32

PromptForm = Literal["ce", "prob", "ratio", "positive"]
PROMPT_FORMS: Final[tuple[str, ...]] = get_args(PromptForm)

LARGEST_EXPONENT: Final = 5.0
"""Where `ratio` is cut off on both sides: e^5 = 148."""


def prompt_loss(
    scores: Tensor, form: PromptForm = "ce", largest_exponent: float = LARGEST_EXPONENT, scale: float | Tensor = 100.0
) -> Tensor:
    """How far images are from the positive prompt; trains the fusion network while the prompts stand still.

    With d = s_neg - s_pos: `ce` -log p_pos = log(1 + e^d); `prob` p_neg = 1 / (1 + e^-d) (CLIP-LIT, Liang et al., ICCV
    2023); `ratio` p_neg / p_pos = e^d, which PromptFusion's released code means. That one has no bound, so d is clamped
    to +-`largest_exponent`, beyond which there is no gradient. `positive` scale (1 - cos_pos) ignores the negative
    prompt (the ablation with a positive prompt only); its gradient is that of `ce` where p_neg = 1.

    Args:
        scores: (B, 2), scaled cosines to the positive and the negative prompt.
        form: Which of the four.
        largest_exponent: Clamp of `ratio`.
        scale: Factor on the cosines that `scores` carries; only `positive` asks for it.

    Returns:
        A scalar, the mean over the batch, float32 or wider, >= 0.

    Raises:
        ValueError: If `form` is unknown or `scores` is not (B, 2).
    """
    difference = -_advantage(scores)
    if form == "ce":
        return F.softplus(difference).mean()
    if form == "prob":
        return torch.sigmoid(difference).mean()
    if form == "ratio":
        return difference.clamp(-largest_exponent, largest_exponent).exp().mean()
    if form == "positive":
        return (scale - at_least_float32(scores)[0][:, 0]).mean()
    raise ValueError(f"The prompt loss has no form '{form}'; known: {', '.join(PROMPT_FORMS)}.")


def prompt_cross_entropy(scores: Tensor, positive: Tensor) -> Tensor:
    """-[y log p_pos + (1 - y) log(1 - p_pos)]: initialises the prompts on examples (CLIP-LIT, eq. 1).

    Args:
        scores: (B, 2), scaled cosines to the positive and the negative prompt.
        positive: y (B,), bool or 0 and 1: which images are examples of good ones.

    Returns:
        A scalar, the mean over the batch, float32 or wider; log 2 where both prompts are equal.

    Raises:
        ValueError: If the shapes do not fit.
    """
    advantage = _advantage(scores)
    if positive.shape != advantage.shape:
        raise ValueError(
            f"Each of {len(advantage)} images needs one label, 1 for positive and 0 for negative; got labels of shape "
            f"{tuple(positive.shape)}."
        )
    return F.binary_cross_entropy_with_logits(advantage, positive.to(advantage))


def margin_ranking_loss(
    chain: Sequence[Tensor], margin_to_negative: float = 0.9, margin_between: float = 0.2
) -> Tensor:
    """Orders images from worse to better by p_pos; refines the prompts while the network stands still.

    Sum over pairs (worse a, better b) of max(0, p_pos(a) - p_pos(b) + m): the first of the chain against each other one
    with `margin_to_negative`, then each neighbouring pair of the others with `margin_between` (CLIP-LIT, sec. 3.3). A
    chain is negative, previous result, present result, positive; without a previous one it has three.

    Args:
        chain: Probabilities p_pos, (B,) each, from the worst images to the best; two or more.
        margin_to_negative: By how much the worst must lie below each other, in [0, 1].
        margin_between: By how much neighbours must differ, in [0, 1].

    Returns:
        A scalar, means over the batch summed over the pairs, float32 or wider, >= 0.

    Raises:
        ValueError: If the chain has fewer than two links, or they differ in shape.

    Example:
        >>> from torch import tensor
        >>> loss = margin_ranking_loss([tensor([0.0]), tensor([0.95]), tensor([0.9]), tensor([1.0])])
        >>> round(float(loss), 4)  # 0.25 + 0.1
        0.35
    """
    shapes = {tuple(link.shape) for link in chain}
    if len(chain) < 2 or len(shapes) > 1:
        raise ValueError(
            f"A ranking needs two or more batches of probabilities, all of one shape; got {len(chain)} with shapes "
            f"{sorted(shapes)}."
        )
    worst, *others = at_least_float32(*chain)
    pairs = [(worst, better, margin_to_negative) for better in others]
    pairs += [(worse, better, margin_between) for worse, better in pairwise(others)]
    return torch.stack([F.relu(worse - better + margin).mean() for worse, better, margin in pairs]).sum()


def _advantage(scores: Tensor) -> Tensor:
    """By how much the positive prompt is closer, (B,)."""
    if scores.ndim != 2 or scores.shape[1] != 2:
        raise ValueError(f"Prompt scores are (B, 2), positive and negative, not {tuple(scores.shape)}.")
    (scores,) = at_least_float32(scores)
    return scores[:, 0] - scores[:, 1]
