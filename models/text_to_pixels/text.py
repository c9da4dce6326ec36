"""Text states at the width of the image tokens, with one learnt token where there is no text."""

import torch
from torch import Tensor, nn


class TextAdapter(nn.Module):
    """Linear and layer normalisation of token-level text states; a null token for samples without text.

    The pooled text vector would not do: with a single key the softmax is 1 for every query, so every pixel would get
    the same vector.

    Args:
        text_width: Width E of the text states; None: there is never any text.
        width: Width d of the image tokens.
    """

    def __init__(self, text_width: int | None, width: int) -> None:
        super().__init__()
        self.text_width = text_width
        self.projection = None
        if text_width is not None:
            self.projection = nn.Sequential(nn.Linear(text_width, width), nn.LayerNorm(width))
        self.null_token = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, text: Tensor | None, mask: Tensor | None, batch: int) -> tuple[Tensor, Tensor | None]:
        """Brings text to the image tokens.

        Args:
            text: (B, L, E), or None for a batch without text.
            mask: (B, L) bool, True at real tokens; a row without any has no text. None: all are real.
            batch: B.

        Returns:
            States (B, L, d), or (B, 1, d) without text, and which of them may be read, (B, L) or None for all.

        Raises:
            ValueError: If the text does not fit.
        """
        if text is None:
            return self.null_token.expand(batch, 1, -1), None
        if self.projection is None or text.ndim != 3 or text.shape[0] != batch or text.shape[2] != self.text_width:
            raise ValueError(
                f"This network reads text states of (batch, tokens, width) = ({batch}, L, {self.text_width}), got "
                f"{tuple(text.shape)}. Build it with the width of the text encoder (text_width)."
            )
        if mask is not None and mask.shape != text.shape[:2]:
            raise ValueError(f"A text mask is {tuple(text.shape[:2])} for this text, got {tuple(mask.shape)}.")
        states: Tensor = self.projection(text.detach().to(self.null_token.dtype))
        if mask is None:
            return states, None
        empty = ~mask.any(dim=1, keepdim=True)
        states = torch.where(empty[:, :, None], self.null_token.to(states.dtype), states)
        return states, mask | empty  # equal keys and values count as one
