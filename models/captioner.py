"""Captions of images by CoCa (Yu et al., TMLR 2022), open_clip's captioning model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor, nn

from ivif.image_ops.resize import resize
from ivif.models.clip import instantiate
from ivif.models.clip_config import WEIGHT_SUFFIXES, ClipConfig
from ivif.models.clip_encoder import OPENAI_MEAN, OPENAI_STD
from ivif.models.clip_state import fingerprint, load_weights, read_state_dict
from ivif.models.clip_weights import ClipWeightsError, locate_weights
from ivif.models.layers.frozen import FrozenModule, freeze

DEFAULT_TAG: Final = "mscoco_finetuned_laion2b_s13b_b90k"
"""Weights fine-tuned on COCO's captions: whole sentences, where the others give titles as found on web pages."""

DEFAULT_COCA: Final = f"{DEFAULT_TAG}/coca_ViT-L-14"

START: Final = 49406
END: Final = 49407
PADDING: Final = 0
"""Ids of open_clip's tokenizer; CoCa takes the id 0 for padding."""

SHORTEST: Final = 5
LONGEST: Final = 30
"""Tokens of a caption with its start and end, as open_clip's `generate` has them; two captions fit CLIP's 77 tokens."""


class Captioner(FrozenModule):
    """Frozen CoCa: images to one English sentence each.

    Decoding is greedy, deterministic and the same whatever else is in the batch: open_clip's `generate` with
    `generation_type="top_k", top_k=1`, which itself needs the `transformers` package for every kind of generation. Runs
    in float32, outside autocast. As in CLIP's encoder the whole frame is squashed to the square; the published models
    were trained on centre crops.

    Args:
        coca: An open_clip `CoCa`, float32.
        name: Architecture and tag.
        mean: RGB mean of the images it was trained on, in [0, 1].
        std: RGB standard deviation of the same.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, coca: nn.Module, name: str, mean: Sequence[float] = OPENAI_MEAN, std: Sequence[float] = OPENAI_STD
    ) -> None:
        from open_clip import SimpleTokenizer

        super().__init__()
        self.coca: Any = coca
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self._identity = f"{name}@{fingerprint(coca)[:12]}"
        self._tokenizer: Any = SimpleTokenizer()
        freeze(self)

    @property
    def identity(self) -> str:
        """Architecture, tag and the first 12 hex digits of the weights' sha256."""
        return self._identity

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that images are resized to."""
        size = self.coca.visual.image_size
        return int(size if isinstance(size, int) else size[0])

    def caption(self, images: Sequence[Tensor]) -> list[str]:
        """One sentence per image, starting in upper case and ending with a full stop; empty if nothing was said.

        Args:
            images: (3, h, w) RGB or (1, h, w) grey, each of any size, float in [0, 1], on any device.

        Raises:
            ValueError: If an image is no float plane of 1 or 3 channels.
        """
        if not images:
            return []
        with torch.inference_mode(), torch.autocast(self.mean.device.type, enabled=False):
            ids = self.generate(torch.cat([self._prepared(image) for image in images]))
        return [self._sentence(row) for row in ids.tolist()]

    def generate(self, pixels: Tensor) -> Tensor:
        """Token ids (B, n) with n <= `LONGEST`: start, the most probable words, end, padding.

        Args:
            pixels: (B, 3, S, S), normalised as the model was trained.
        """
        features = self.coca(pixels)
        ids = torch.full((len(pixels), 1), START, device=pixels.device)
        finished = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        while not finished.all():
            length = ids.shape[1]
            output = self.coca(
                pixels,
                ids,
                image_latent=features["image_features"],
                image_embs=features["image_embs"],
                output_labels=False,
            )
            logits = output["logits"][:, -1]
            if length < SHORTEST:
                logits[:, END] = -torch.inf
            words = logits.argmax(dim=-1) if length + 1 < LONGEST else torch.full_like(finished, END, dtype=torch.long)
            words = words.masked_fill(finished, PADDING)
            ids = torch.cat([ids, words[:, None]], dim=1)
            finished |= (words == END) | (words == PADDING)
            if ids.shape[1] == LONGEST:
                break
        return ids

    def _prepared(self, image: Tensor) -> Tensor:
        if image.ndim != 3 or image.shape[0] not in (1, 3) or not image.is_floating_point():
            raise ValueError(
                f"A captioner takes float images (1 or 3, h, w) in [0, 1], not {image.dtype} {tuple(image.shape)}."
            )
        size = (self.image_size, self.image_size)
        pixels = image[None].to(self.mean)
        if pixels.shape[-2:] != size:
            pixels = resize(pixels, size, "bicubic").clamp(0, 1)
        return (pixels.expand(-1, 3, -1, -1) - self.mean) / self.std

    def _sentence(self, ids: list[int]) -> str:
        words = [token for token in ids if token not in (START, END, PADDING)]
        text = " ".join(self._tokenizer.decode(words).split()).rstrip(" .")
        return f"{text[0].upper()}{text[1:]}." if text else ""


def build_captioner(spec: str = DEFAULT_COCA) -> Captioner:
    """Builds the captioning model that a user names, with its weights.

    Args:
        spec: `<tag>/<architecture>` as open_clip lists them, in either order; an architecture alone, where
            `DEFAULT_TAG` is meant; or the path of a weights file in open_clip's layout, whose shapes tell the
            architecture.

    Raises:
        ClipWeightsError: If no such model is known, or its weights are missing, damaged or of another architecture;
            says what to fetch and where to put it. Missing ones are fetched where that can be done at once.
    """
    from open_clip import get_pretrained_cfg

    layouts = _layouts()
    config = _resolve(spec, layouts)
    path = locate_weights(config, remedy="say where the file lies: --coca FILE")
    state = read_state_dict(path)
    architecture = config.architecture or _architecture_of(state, layouts, path)
    published: Mapping[str, Any] = get_pretrained_cfg(architecture, config.tag) if config.tag else {}
    coca = instantiate(layouts[architecture])
    load_weights(coca, state, f"CoCa weights {path} and architecture '{architecture}'")
    mean, std = published.get("mean", OPENAI_MEAN), published.get("std", OPENAI_STD)
    return Captioner(coca, f"{architecture}:{config.tag or 'custom'}", mean, std)


def _layouts() -> dict[str, dict[str, Any]]:
    """The captioning configurations that open_clip has, by name: those with its own text tower and tokenizer."""
    from open_clip import get_model_config, list_models

    layouts = {name: cast("dict[str, Any]", get_model_config(name)) for name in list_models()}
    return {
        name: layout
        for name, layout in layouts.items()
        if layout.get("multimodal_cfg", {}).get("vocab_size") == END + 1 and "hf_model_name" not in layout["text_cfg"]
    }


def _resolve(spec: str, layouts: Mapping[str, Any]) -> ClipConfig:
    """A configuration whose architecture is empty where the file has to tell it."""
    from open_clip import list_pretrained_tags_by_model

    if spec.endswith(WEIGHT_SUFFIXES) or Path(spec).is_file():
        return ClipConfig("", weights=spec)
    first, _, second = spec.partition("/")
    architecture, tag = (second, first) if second in layouts else (first, second or DEFAULT_TAG)
    known = [f"{of}/{name}" for name in sorted(layouts) for of in list_pretrained_tags_by_model(name)]
    if f"{tag}/{architecture}" not in known:
        raise ClipWeightsError(
            f"'{spec}' names no captioning model that open_clip has, and no file. Known: {', '.join(known)}; or give "
            f"the path of a weights file ({', '.join(WEIGHT_SUFFIXES)})."
        )
    return ClipConfig(architecture, tag)


def _architecture_of(state: Mapping[str, Tensor], layouts: Mapping[str, Any], path: Path) -> str:
    """The first architecture whose image patches and words have the shapes that a file has."""
    keys = "visual.conv1.weight", "text.token_embedding.weight", "text_decoder.text_projection"
    found = [tuple(state[key].shape) if key in state else None for key in keys]
    for name, layout in layouts.items():
        vision, text, decoder = layout["vision_cfg"], layout["text_cfg"], layout["multimodal_cfg"]
        patches = (vision["width"], 3, vision["patch_size"], vision["patch_size"])
        if found == [patches, (text["vocab_size"], text["width"]), (decoder["width"], decoder["vocab_size"])]:
            return name
    raise ClipWeightsError(
        f"{path} holds the weights of no captioning model that is known ({', '.join(sorted(layouts))}). Fetch CoCa's "
        f"file in open_clip's layout, with an image tower, a text tower and a text decoder; MODELS.md says where."
    )
