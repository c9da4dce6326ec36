"""CLIP's byte-pair tokenizer over a small table: rows only for the words of the captions, one for all others."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

PADDING: Final = "<padding>"
UNKNOWN: Final = "<unknown>"
START: Final = "<start_of_text>"
END: Final = "<end_of_text>"


class ReducedTokenizer:
    """Texts to rows of a reduced token table, laid out as CLIP expects it: 0 pads, the last row is end-of-text.

    Args:
        pieces: The byte-pair pieces that have a row, such as `road</w>`.
        context_length: L; longer texts are cut, keeping end-of-text.

    Raises:
        ValueError: If a piece is not in CLIP's vocabulary or appears twice.
    """

    def __init__(self, pieces: Sequence[str], context_length: int) -> None:
        from open_clip import SimpleTokenizer

        self._full: Any = SimpleTokenizer(context_length=context_length)
        wrong = sorted({piece for piece in pieces if piece not in self._full.encoder or pieces.count(piece) > 1})
        if wrong:
            raise ValueError(f"No piece of CLIP's vocabulary, or given twice: {', '.join(wrong[:5])}.")
        self.encoder: dict[str, int] = {
            name: row for row, name in enumerate((PADDING, *pieces, UNKNOWN, START, END))
        }  # fmt: skip
        self._rows = torch.full((len(self._full.encoder),), self.encoder[UNKNOWN])
        self._rows[[self._full.encoder[piece] for piece in pieces]] = torch.arange(1, len(pieces) + 1)
        self._rows[self._full.sot_token_id] = self.encoder[START]
        self._rows[self._full.eot_token_id] = self.encoder[END]

    @property
    def size(self) -> int:
        """Rows of the token table."""
        return len(self.encoder)

    def __call__(self, texts: list[str], /) -> Tensor:
        """Rows (B, L) int64: start, the text's pieces, end, padding."""
        ids: Tensor = self._full(texts)
        rows = self._rows[ids]
        after_end = torch.arange(ids.shape[1]) > ids.argmax(dim=-1, keepdim=True)
        return rows.masked_fill(after_end, self.encoder[PADDING])

    def pieces(self, text: str) -> list[str]:
        """The byte-pair pieces of a text, known or not."""
        return [self._full.decoder[number] for number in self._full.encode(text)]
