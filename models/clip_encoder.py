"""The frozen CLIP encoder around an open_clip model: own normalisation, differentiable resize, token-level text."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, Protocol, Self, cast

import torch
from torch import Tensor, nn

from ivif.image_ops.resize import resize
from ivif.models.clip_state import fingerprint
from ivif.models.layers.frozen import FrozenModule, freeze

logger = logging.getLogger(__name__)

OPENAI_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD: Final = (0.26862954, 0.26130258, 0.27577711)

TEXT_CACHE_ENTRIES: Final = 1024
"""Texts that are remembered beside those that `remember_texts` makes room for."""

_TEXTS_AT_ONCE: Final = 128

WORD_END: Final = "</w>"
"""Ends a piece of the byte-pair vocabulary that closes a word."""


class TextFeatures(NamedTuple):
    """One prompt's features on the CPU: `states` (n, d) after the final LayerNorm up to end-of-text, `pooled` (E,)."""

    states: Tensor
    pooled: Tensor


class Tokenizer(Protocol):
    """What turns texts into rows of the token table; open_clip's `SimpleTokenizer` does."""

    @property
    def encoder(self) -> Mapping[str, int]:
        """The row of each piece."""

    def __call__(self, texts: list[str], /) -> Tensor:
        """Ids (B, L) int64: start, pieces, end, padding; end is the largest id."""


class ImageTextEncoder(FrozenModule):
    """Frozen CLIP: images and texts to vectors of one space (Radford et al., ICML 2021), never trained.

    Parameters carry no gradient; gradients still flow *through* the image tower to the image and through the text tower
    to token embeddings. Everything runs outside autocast, and features are float32 and not L2-normalised.

    Args:
        clip: An open_clip model, float32.
        name: Architecture and tag, such as `ViT-B-32-quickgelu:openai`.
        mean: RGB mean of the images it was trained on, in [0, 1].
        std: RGB standard deviation of the same.
        precision: `bf16` runs the towers in bfloat16.
        tokenizer: Texts to ids (B, L), and `encoder`, the row of each piece; None: open_clip's byte-pair tokenizer.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        clip: nn.Module,
        name: str,
        mean: Sequence[float] = OPENAI_MEAN,
        std: Sequence[float] = OPENAI_STD,
        precision: str = "fp32",
        tokenizer: Tokenizer | None = None,
    ) -> None:
        super().__init__()
        self.clip: Any = clip
        self.precision = precision
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        suffix = "" if precision == "fp32" else f"+{precision}"
        self._identity = f"{name}@{fingerprint(clip)[:12]}{suffix}"
        self._tokenizer = tokenizer
        self._text_cache: OrderedDict[str, TextFeatures] = OrderedDict()
        self._text_entries = TEXT_CACHE_ENTRIES
        freeze(self)

    @property
    def identity(self) -> str:
        """Architecture, tag and the first 12 hex digits of the weights' sha256; keys caches and marks checkpoints."""
        return self._identity

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that images are resized to."""
        size = self.clip.visual.image_size
        return int(size if isinstance(size, int) else size[0])

    @property
    def embedding_width(self) -> int:
        """E, the width of the common space."""
        return int(self._text.text_projection.shape[1])

    @property
    def text_width(self) -> int:
        """Width d of token embeddings and token states."""
        return int(self._text.token_embedding.weight.shape[1])

    @property
    def context_length(self) -> int:
        """L, the number of token positions."""
        return int(self._text.positional_embedding.shape[0])

    @property
    def logit_scale(self) -> Tensor:
        """Factor on cosine similarities before a softmax (100 for OpenAI's weights), a scalar without gradient."""
        return cast("Tensor", self.clip.logit_scale.detach().exp().reshape(()))

    @property
    def tokenizer(self) -> Tokenizer:
        """Texts to ids (B, L): open_clip's byte-pair tokenizer, whose vocabulary ships with it, unless given."""
        if self._tokenizer is None:
            from open_clip import SimpleTokenizer

            self._tokenizer = cast("Tokenizer", SimpleTokenizer(context_length=self.context_length))
        return self._tokenizer

    @property
    def _text(self) -> Any:
        return getattr(self.clip, "text", self.clip)

    def _arithmetic(self) -> AbstractContextManager[None]:
        """Outside of a trainer's autocast, in this encoder's own precision."""
        return cast(
            "AbstractContextManager[None]",
            torch.autocast(self.mean.device.type, dtype=torch.bfloat16, enabled=self.precision == "bf16"),
        )

    def encode_image(self, images: Tensor) -> Tensor:
        """Image features (B, E), float32.

        The whole frame is squashed to the encoder's square by an antialiased bicubic resize, without a centre crop,
        which would cut the sides off a 640x480 frame (PromptFusion and CLIP-LIT squash as well).

        Args:
            images: (B, 3, h, w) RGB or (B, 1, h, w) grey, repeated to three channels; any size, in [0, 1].

        Raises:
            ValueError: If `images` is no float batch of 1 or 3 channels.
        """
        with self._arithmetic():
            return cast("Tensor", self.clip.visual(self._prepared(images))).float()

    def encode_pair(self, infrared: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both images, (B, E) each, from one call on 2B images.

        Args:
            infrared: (B, 1, h, w) in [0, 1].
            visible: (B, 3, h, w) in [0, 1].
        """
        with self._arithmetic():
            both = torch.cat([self._prepared(infrared), self._prepared(visible)])
            features = cast("Tensor", self.clip.visual(both)).float()
        return features[: infrared.shape[0]], features[infrared.shape[0] :]

    def _prepared(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
            raise ValueError(
                f"CLIP takes float images (B, 1 or 3, h, w) in [0, 1], not {images.dtype} {tuple(images.shape)}."
            )
        images = images.float()
        size = (self.image_size, self.image_size)
        if torch.compiler.is_exporting() or images.shape[-2:] != size:  # an export is for all sizes
            images = resize(images, size, "bicubic")
        if not (torch.is_grad_enabled() and images.requires_grad):
            # Bicubic overshoot is cut off only where no gradient would die in it.
            images = images.clamp(0.0, 1.0)
        return ((images.expand(-1, 3, -1, -1) - self.mean) / self.std).to(self.mean.dtype)

    def token_embeddings(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Where learnt prompts start: token embeddings (B, L, d) without positions, and end-of-text positions (B,)."""
        ids = self._token_ids(texts).to(self.mean.device)
        return self._text.token_embedding(ids).float(), ids.argmax(dim=-1)

    def word_embeddings(self) -> tuple[list[str], Tensor]:
        """The whole words that the tokenizer knows, and their token embeddings (n, d) without positions."""
        rows = {piece.removesuffix(WORD_END): row for piece, row in self.tokenizer.encoder.items() if WORD_END in piece}
        return list(rows), self._text.token_embedding.weight.detach()[list(rows.values())]

    def encode_text_embeddings(self, embeddings: Tensor, end_of_text: Tensor) -> Tensor:
        """Text features (B, E) of token embeddings, with gradient to them (CoOp's and CLIP-LIT's learnt prompts).

        Args:
            embeddings: (B, L, d) without positions, laid out as `token_embeddings` gives them.
            end_of_text: (B,) int64, the position whose state is projected.
        """
        return self._pooled(self._token_states(embeddings), end_of_text)

    @torch.inference_mode(mode=False)  # later training steps may use what an evaluation has asked for
    @torch.no_grad()
    def encode_text_tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Token states after the final LayerNorm, (B, L, d) float32 without gradient, and their mask.

        Returns:
            The states, zero after end-of-text, and a bool mask (B, L) that is True on tokens and False on padding.
        """
        features, device = self._text_features(texts), self.mean.device
        # Pinned, so that the copy to a GPU does not wait for what the GPU still has to do.
        states = torch.zeros((len(texts), self.context_length, self.text_width), pin_memory=device.type == "cuda")
        for row, feature in zip(states, features, strict=True):
            row[: len(feature.states)] = feature.states
        mask = torch.arange(self.context_length) < torch.tensor([[len(feature.states)] for feature in features])
        return states.to(device, non_blocking=True), mask.to(device, non_blocking=True)

    def encode_token_ids(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """What `encode_text_tokens` gives, of ids (B, L) as `tokenizer` makes them; nothing is remembered."""
        mask = torch.arange(ids.shape[1], device=ids.device) <= ids.argmax(dim=-1, keepdim=True)
        return self._token_states(self._text.token_embedding(ids).float()) * mask.unsqueeze(-1), mask

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def encode_text(self, texts: list[str]) -> Tensor:
        """Text features (B, E), float32 without gradient; each prompt is encoded once and remembered."""
        return torch.stack([feature.pooled for feature in self._text_features(texts)]).to(self.mean.device)

    def remember_texts(self, texts: Iterable[str], room: int = 0) -> int:
        """Encodes the texts of a run in batches, so that no step of it has to, and keeps them on the CPU.

        A batch holds texts of one length without padding, in alphabetic order: the values are those of each text alone,
        on a GPU up to the last bits, and the same whenever the same texts are remembered.

        Args:
            texts: Those that are known beforehand.
            room: How many different texts the run may ask for in all, known beforehand or not.

        Returns:
            Bytes that the texts take.
        """
        distinct = set(texts)
        self._text_entries = max(self._text_entries, TEXT_CACHE_ENTRIES + max(room, len(distinct)))
        by_length: dict[int, list[tuple[str, Tensor]]] = {}
        for text in sorted(distinct - self._text_cache.keys()):
            ids = self._pieces(text)
            by_length.setdefault(len(ids), []).append((text, ids))
        for same_length in by_length.values():
            for start in range(0, len(same_length), _TEXTS_AT_ONCE):
                batch = same_length[start : start + _TEXTS_AT_ONCE]
                computed = self._compute_texts(torch.stack([ids for _, ids in batch]))
                self._text_cache.update(zip((text for text, _ in batch), computed, strict=True))
        return sum(self._text_cache[text].states.nbytes + self._text_cache[text].pooled.nbytes for text in distinct)

    def _text_features(self, texts: list[str]) -> list[TextFeatures]:
        for text in texts:
            if text not in self._text_cache:
                # Alone: beside others its last bits could depend on them, and so on when a run was resumed.
                self._text_cache[text] = self._compute_texts(self._pieces(text)[None])[0]
            self._text_cache.move_to_end(text)
        features = [self._text_cache[text] for text in texts]
        while len(self._text_cache) > self._text_entries:
            self._text_cache.popitem(last=False)
        return features

    # Leaves inference mode, because what the cache keeps is used in later training steps, which refuse such tensors.
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _compute_texts(self, ids: Tensor) -> list[TextFeatures]:
        """Features of texts of one length, (B, n) ids from start to end of text; attention is causal."""
        ends = torch.full((len(ids),), ids.shape[1] - 1, device=self.mean.device)
        states = self._token_states(self._text.token_embedding(ids.to(self.mean.device)).float())
        pooled = self._pooled(states, ends)
        return [TextFeatures(*(row.clone() for row in rows)) for rows in zip(states.cpu(), pooled.cpu(), strict=True)]

    def _pieces(self, text: str) -> Tensor:
        """Ids (n,) of one text from start to end."""
        ids = self._token_ids([text])[0]
        return ids[: int(ids.argmax()) + 1]

    def _token_ids(self, texts: list[str]) -> Tensor:
        ids = self.tokenizer(texts)
        for text, row in zip(texts, ids, strict=True):
            if int(row.argmax()) == self.context_length - 1:
                logger.warning(
                    "Prompt fills all %d tokens of CLIP; what follows is cut: %.80s", self.context_length, text
                )
        return ids

    def _token_states(self, embeddings: Tensor) -> Tensor:
        text, length = self._text, embeddings.shape[1]
        with self._arithmetic():
            states = embeddings + text.positional_embedding[:length]
            states = text.transformer(states, attn_mask=text.attn_mask[:length, :length])
            return cast("Tensor", text.ln_final(states)).float()

    def _pooled(self, states: Tensor, end_of_text: Tensor) -> Tensor:
        with self._arithmetic():
            at_end = states[torch.arange(len(states), device=states.device), end_of_text]
            return cast("Tensor", at_end @ self._text.text_projection).float()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._text_cache.clear()  # a move to another device or type
        return cast("Self", super()._apply(fn, recurse))  # type: ignore[no-untyped-call]
