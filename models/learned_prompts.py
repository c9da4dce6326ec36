"""Learnt prompts: two sentences of free vectors in CLIP's text space, one for good images and one for bad ones."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ivif.files.errors import UserError
from ivif.files.whole import write_whole
from ivif.models.clip_encoder import ImageTextEncoder
from ivif.models.layers.frozen import FrozenPartsMixin

POSITIVE_SENTENCE: Final = (
    "The fused image is harmonious, the texture is very clear and the target is very striking."
)  # fmt: skip
NEGATIVE_SENTENCE: Final = "The image is not well fused, the texture is weak and the target is fuzzy."
FILLER: Final = "X"
"""The word that stands where a sentence is shorter than the prompt, or where there is no sentence."""

FILE_FORMAT: Final = "learned prompts 1"
_FORMAT_KEY: Final = "format"
_ENCODER_KEY: Final = "encoder"
_CHECKSUM_KEY: Final = "checksum"


class PromptFileError(UserError, RuntimeError):
    """A file of learnt prompts cannot be read, or belongs to another encoder; the message carries the remedy."""


class NearWord(NamedTuple):
    """A word of the vocabulary and the cosine between its embedding and a learnt vector, in [-1, 1]."""

    word: str
    cosine: float


class LearnedPrompts(FrozenPartsMixin):
    """A positive and a negative prompt of `length` vectors each between start and end of text (CoOp, CLIP-LIT).

    Zhou et al., "Learning to Prompt for Vision-Language Models" (IJCV 2022); Liang et al., "Iterative Prompt Learning
    for Unsupervised Backlit Image Enhancement" (ICCV 2023). T = text tower(start, vectors, end); p_pos(I) =
    softmax(scale * [cos(I, T_pos), cos(I, T_neg)])_pos. The vectors are the only parameters that train: both towers,
    positions, start and end are the frozen encoder's, and stay out of the state dict.

    Args:
        encoder: Any frozen CLIP.
        positive: Sentence whose token embeddings the positive prompt starts from; None: `X X ... X`. Words beyond
            `length` are cut, missing ones are filled with X.
        negative: The same for the negative prompt.
        length: How many vectors each prompt has.

    Raises:
        ValueError: If the encoder's context is too short for `length`, or `length` is not positive.
    """

    start: Tensor
    end: Tensor

    def __init__(
        self,
        encoder: ImageTextEncoder,
        positive: str | None = POSITIVE_SENTENCE,
        negative: str | None = NEGATIVE_SENTENCE,
        length: int = 16,
    ) -> None:
        super().__init__()
        longest = encoder.context_length - 2
        if not 1 <= length <= longest:
            raise ValueError(f"A prompt of {length} vectors: {encoder.identity} has room for 1 to {longest}.")
        self.encoder = encoder
        filler, ends = encoder.token_embeddings([FILLER])
        self.register_buffer("start", filler[0, :1].clone(), persistent=False)
        self.register_buffer("end", filler[0, ends[0] : ends[0] + 1].clone(), persistent=False)
        self.positive = nn.Parameter(self._embedded(positive, filler[0, 1], length))
        self.negative = nn.Parameter(self._embedded(negative, filler[0, 1], length))
        self._standing: tuple[object, Tensor] = (None, self.start)

    @torch.no_grad()
    def _embedded(self, sentence: str | None, filler: Tensor, length: int) -> Tensor:
        """(length, d): the sentence's tokens, then fillers."""
        vectors = filler.expand(length, -1).clone()
        if sentence is not None:
            embeddings, ends = self.encoder.token_embeddings([sentence])
            words = embeddings[0, 1 : int(ends[0])][:length]
            vectors[: len(words)] = words
        return vectors

    @property
    def length(self) -> int:
        """Vectors per prompt."""
        return len(self.positive)

    def text_features(self) -> Tensor:
        """Features (2, E) of the positive and the negative prompt, float32, with gradient to the vectors."""
        if torch.is_grad_enabled():
            self._standing = (None, self.start)  # who asks for a gradient is about to change the vectors
        prompts = [torch.cat([self.start, vectors.float(), self.end]) for vectors in (self.positive, self.negative)]
        end = torch.full((2,), self.length + 1, device=self.start.device)
        return self.encoder.encode_text_embeddings(torch.stack(prompts), end)

    @torch.inference_mode(mode=False)  # training may use what an evaluation has asked for
    @torch.no_grad()
    def standing_text_features(self) -> Tensor:
        """`text_features` without gradient, computed once while the vectors stand still.

        They are computed again after `text_features` has given a gradient, and when the vectors were moved or written
        to. The latter alone would not do: a fused optimiser leaves no trace in a tensor's version.
        """
        now = [(vectors.data_ptr(), vectors._version) for vectors in (self.positive, self.negative)]
        if self._standing[0] != now:
            self._standing = now, self.text_features()
        return self._standing[1]

    def feature_scores(self, features: Tensor, texts: Tensor | None = None) -> Tensor:
        """Scaled cosines (B, 2) of image features to the positive and the negative prompt; see `scores`.

        Args:
            features: (B, E) from `encoder.encode_image`: those of images that do not change can be kept.
            texts: (2, E) from `text_features`, where the prompts stand still; None computes them, with gradient.
        """
        with torch.autocast(features.device.type, enabled=False):
            texts = self.text_features() if texts is None else texts
            images, texts = F.normalize(features.float(), dim=-1), F.normalize(texts, dim=-1)
            return self.encoder.logit_scale * images @ texts.T

    def scores(self, images: Tensor) -> Tensor:
        """Scaled cosines (B, 2) of images to the positive and the negative prompt, float32.

        Gradient passes to the images and to the vectors, as far as each requires one.

        Args:
            images: (B, 3 or 1, H, W) in [0, 1], any size.
        """
        return self.feature_scores(self.encoder.encode_image(images))

    def probability(self, images: Tensor) -> Tensor:
        """p_pos (B,) in [0, 1], float32: how much closer images are to the positive than to the negative prompt.

        Args:
            images: (B, 3 or 1, H, W) in [0, 1], any size.
        """
        return self.scores(images).softmax(dim=-1)[:, 0]

    @torch.no_grad()
    def nearest_words(self, count: int = 3) -> dict[str, list[list[NearWord]]]:
        """For people to read: per prompt and vector the words whose embeddings point most nearly the same way.

        Args:
            count: How many words per vector, the nearest first.

        Returns:
            `{"positive": [...], "negative": [...]}`, one list of words for each vector.
        """
        words, table = self.encoder.word_embeddings()
        directions = F.normalize(table.float(), dim=-1)
        prompts = {"positive": self.positive, "negative": self.negative}
        return {name: _nearest(vectors, words, directions, count) for name, vectors in prompts.items()}

    def export_file(self, path: Path) -> None:
        """Writes both prompts as a safetensors file that names the encoder; missing folders are made.

        Args:
            path: The file; one of that name is replaced.
        """
        from safetensors.torch import save

        tensors = {
            name: parameter.detach().to("cpu", torch.float32).contiguous()
            for name, parameter in (("positive", self.positive), ("negative", self.negative))
        }
        metadata = {_FORMAT_KEY: FILE_FORMAT, _ENCODER_KEY: self.encoder.identity, _CHECKSUM_KEY: _checksum(tensors)}
        write_whole(path, save(tensors, metadata))

    @torch.no_grad()
    def import_file(self, path: Path) -> None:
        """Reads what `export_file` wrote, in place; optimisers keep their parameters.

        Raises:
            PromptFileError: If the file cannot be read, holds no prompts, or was made with another encoder or length.
        """
        tensors = _read(path, self.encoder.identity)
        for name, parameter in (("positive", self.positive), ("negative", self.negative)):
            if tensors[name].shape != parameter.shape:
                raise PromptFileError(
                    f"{path} has a {name} prompt of shape {tuple(tensors[name].shape)}, but this run's has "
                    f"{tuple(parameter.shape)}. Set the prompts' length to {len(tensors[name])}."
                )
        self.positive.copy_(tensors["positive"])
        self.negative.copy_(tensors["negative"])


def _nearest(vectors: Tensor, words: Sequence[str], directions: Tensor, count: int) -> list[list[NearWord]]:
    cosines, rows = (F.normalize(vectors.float(), dim=-1) @ directions.T).topk(min(count, len(words)), dim=-1)
    return [
        [NearWord(words[row], cosine) for row, cosine in zip(near, values, strict=True)]
        for near, values in zip(rows.tolist(), cosines.tolist(), strict=True)
    ]


def _read(path: Path, identity: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise PromptFileError(f"{path} cannot be read as learnt prompts: it is no file. Export them again.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise PromptFileError(f"{path} cannot be read as learnt prompts ({error}). Export them again.") from error
    if metadata.get(_FORMAT_KEY) != FILE_FORMAT or set(tensors) != {"positive", "negative"}:
        raise PromptFileError(f"{path} holds no learnt prompts of the format '{FILE_FORMAT}'. Export them again.")
    if metadata.get(_CHECKSUM_KEY, _checksum(tensors)) != _checksum(tensors):  # files of earlier versions have none
        raise PromptFileError(f"{path} is damaged (its checksum differs). Export the prompts again, or copy the file.")
    if not all(torch.isfinite(vectors).all() for vectors in tensors.values()):
        raise PromptFileError(f"{path} holds prompts that are not finite. Export those of an earlier checkpoint.")
    if metadata.get(_ENCODER_KEY) != identity:
        raise PromptFileError(
            f"{path} was learnt with the encoder {metadata.get(_ENCODER_KEY)}, but this run has {identity}. Prompts "
            f"mean nothing to another encoder: configure that one, or learn them again."
        )
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and values: another type of the same size would read them as other numbers."""
    checksum = 0
    for name, values in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {values.dtype} {tuple(values.shape)}".encode(), checksum)
        checksum = zlib.crc32(values.reshape(-1).view(torch.uint8).numpy().data, checksum)
    return f"{checksum:08x}"
