"""Trains the compact CLIP on generated scenes and writes models/compact_clip: weights and vocabulary.

    python benchmarks/compact_clip.py [--steps 300] [--output models/compact_clip]     train, measure, write
    python benchmarks/compact_clip.py --measure                                        measure what is there

Contrastive training of image-text pairs (Radford et al., ICML 2021) on one thread; the seed decides everything. Prints
how often the right caption is found among those of unseen scenes, with chance beside it.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any, Final, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from benchmarks.compact_clip_scenes import OBJECT_GROUPS, Batches, Scenes, draw_scenes, object_groups  # noqa: E402
from benchmarks.tables import Row, describe_machine, show  # noqa: E402
from ivif.models.clip import ImageTextEncoder, build_image_text_encoder, instantiate  # noqa: E402
from ivif.models.clip_encoder import OPENAI_MEAN, OPENAI_STD  # noqa: E402
from ivif.models.compact_clip import (  # noqa: E402
    CHECKSUMS_NAME,
    COMPACT_LAYOUT,
    COMPACT_WEIGHTS,
    VOCABULARY_NAME,
    ReducedTokenizer,
    checksums,
    compact_layout,
)
from ivif.models.compact_clip.tokenizer import UNKNOWN  # noqa: E402

LARGEST_SCALE: Final = 100.0
REPORT_EVERY: Final = 50
HIDDEN_WORDS: Final = 0.03
"""Share of words that training replaces by the unknown row, so that it comes to mean nothing in particular."""


def vocabulary_of(scenes: Scenes, seed: int, draws: int) -> list[str]:
    """The byte-pair pieces that occur in the training texts, in alphabetic order."""
    tokenizer = ReducedTokenizer([], COMPACT_LAYOUT["text_cfg"]["context_length"])
    batches = Batches(scenes, seed)
    texts = {text for _ in range(draws) for text in batches.texts(len(scenes))}
    return sorted({piece for text in texts for piece in tokenizer.pieces(text)})


def train(scenes: Scenes, tokenizer: ReducedTokenizer, arguments: argparse.Namespace) -> nn.Module:
    """The trained CLIP: its text tower alone for `text_steps`, then both towers."""
    clip: Any = instantiate(compact_layout(tokenizer.size)).train()
    batches = Batches(scenes, arguments.seed)
    naming = nn.Linear(COMPACT_LAYOUT["embed_dim"], OBJECT_GROUPS)

    def text_loss() -> Tensor:
        texts = batches.texts(arguments.batch_size)
        return _naming_loss(naming, _text_features(clip, tokenizer, texts, batches.generator), texts)

    def loss() -> Tensor:
        with torch.no_grad():
            clip.logit_scale.clamp_(0.0, log(LARGEST_SCALE))
        pictures, texts = batches.draw(arguments.batch_size, arguments.alike)
        pooled = _text_features(clip, tokenizer, texts, batches.generator)
        images = clip.visual(_prepared(pictures))
        total = _contrastive_loss(clip.logit_scale.exp(), images, pooled, texts)
        if arguments.naming:
            named = _naming_loss(naming, images, texts) + _naming_loss(naming, pooled, texts)
            total = total + arguments.naming * named
        return total

    text_tower = [value for name, value in clip.named_parameters() if not name.startswith("visual.")]
    _optimise("text", [*text_tower, *naming.parameters()], arguments.text_steps, arguments.text_lr, text_loss)
    _optimise("both", [*clip.parameters(), *naming.parameters()], arguments.steps, arguments.lr, loss)
    return cast("nn.Module", clip.eval())


def _optimise(name: str, parameters: list[nn.Parameter], steps: int, lr: float, loss_of: Callable[[], Tensor]) -> None:
    """AdamW with one cycle of the learning rate; parameters without a gradient stay."""
    if steps == 0:
        return
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.05)
    warmup = max(2, steps // 20) / steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=steps, pct_start=warmup, cycle_momentum=False
    )
    total = 0.0
    for step in range(1, steps + 1):
        loss = loss_of()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % REPORT_EVERY == 0:
            print(f"{name} {step}: loss {total / REPORT_EVERY:.3f}, {time.process_time():.0f} s", flush=True)
            total = 0.0


def _prepared(pictures: Tensor) -> Tensor:
    """As `ImageTextEncoder` prepares images."""
    side = COMPACT_LAYOUT["vision_cfg"]["image_size"]
    small = F.interpolate(pictures, size=(side, side), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    return (small - torch.tensor(OPENAI_MEAN).view(3, 1, 1)) / torch.tensor(OPENAI_STD).view(3, 1, 1)


def _with_hidden_words(ids: Tensor, tokenizer: ReducedTokenizer, generator: torch.Generator) -> Tensor:
    unknown = tokenizer.encoder[UNKNOWN]
    hidden = (torch.rand(ids.shape, generator=generator) < HIDDEN_WORDS) & (ids > 0) & (ids < unknown)
    return ids.masked_fill(hidden, unknown)


def _text_features(clip: Any, tokenizer: ReducedTokenizer, texts: list[str], generator: torch.Generator) -> Tensor:
    """Features (B, E), computed up to the longest text, a few words of each hidden."""
    ids = _with_hidden_words(tokenizer(texts), tokenizer, generator)
    ends = ids.argmax(dim=-1)
    length = int(ends.max()) + 1
    states = clip.token_embedding(ids[:, :length]) + clip.positional_embedding[:length]
    states = clip.ln_final(clip.transformer(states, attn_mask=clip.attn_mask[:length, :length]))
    return cast("Tensor", states[torch.arange(len(ids)), ends] @ clip.text_projection)


def _contrastive_loss(scale: Tensor, images: Tensor, pooled: Tensor, texts: list[str]) -> Tensor:
    """Symmetric cross-entropy; equal texts in a batch share their probability."""
    logits = scale * F.normalize(images, dim=-1) @ F.normalize(pooled, dim=-1).T
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    labels = torch.tensor([numbers[text] for text in texts])
    shared = (labels[:, None] == labels).float()
    shared /= shared.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, shared) + F.cross_entropy(logits.T, shared)) / 2


def _naming_loss(naming: nn.Linear, features: Tensor, texts: list[str]) -> Tensor:
    """Which groups of objects the texts mention, read off the features; texts without objects do not count."""
    mentioned = torch.zeros(len(texts), OBJECT_GROUPS)
    for row, text in zip(mentioned, texts, strict=True):
        row[object_groups(text)] = 1.0
    weights = mentioned.any(dim=1).float()
    losses = F.binary_cross_entropy_with_logits(naming(features), mentioned, reduction="none").mean(dim=1)
    return (losses * weights).sum() / weights.sum().clamp(min=1.0)


def write(clip: nn.Module, pieces: list[str], folder: Path) -> None:
    """Half-precision weights in open_clip's names, the vocabulary, and the checksums of both."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in clip.state_dict().items()
        if name != "attn_mask"
    }
    save_file(state, folder / COMPACT_WEIGHTS.name)
    (folder / VOCABULARY_NAME).write_text(json.dumps(pieces, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / CHECKSUMS_NAME).write_text(checksums(folder / COMPACT_WEIGHTS.name), encoding="utf-8")


@torch.no_grad()
def measure(encoder: ImageTextEncoder, scenes: Scenes) -> list[Row]:
    """Finding each picture's caption among those of all scenes, and among those of its own time of day."""
    captions = [scene.captions["road scene"][0] for scene in scenes.scenes]
    texts = F.normalize(encoder.encode_text(captions), dim=-1)
    equal = torch.tensor([[first == second for second in captions] for first in captions])
    alike = torch.tensor([[first.time == second.time for second in scenes.scenes] for first in scenes.scenes])
    count, rows = len(captions), []
    for kind, pictures in scenes.pictures.items():
        similarity = F.normalize(encoder.encode_image(pictures / 255.0), dim=-1) @ texts.T
        best = similarity.topk(5, dim=1).indices
        better = similarity > similarity.diag()[:, None]
        found = equal.gather(1, best).float()
        in_time = alike.gather(1, best[:, :1]).float().mean()
        chance_alike = (1 + alike.sum(dim=1).float().mean()) / 2
        rows.append(
            {
                "picture": kind,
                "top 1": f"{100 * float(found[:, 0].mean()):.1f} %",
                "top 5": f"{100 * float(found.amax(dim=1).mean()):.1f} %",
                "(chance)": f"{100 / count:.1f} %, {500 / count:.1f} %",
                "mean rank": f"{1 + float(better.sum(dim=1).float().mean()):.1f}",
                "(chance) ": f"{(1 + count) / 2:.1f}",
                "time of day": f"{100 * float(in_time):.1f} %",
                "(chance)  ": f"{100 * float(alike.float().mean()):.1f} %",
                "mean rank at that time": f"{1 + float((better & alike).sum(dim=1).float().mean()):.1f}",
                "(chance)   ": f"{float(chance_alike):.1f}",
            }
        )
    return rows


def main() -> None:
    """Trains and writes unless only asked to measure; measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=2500)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--text_steps", type=int, default=0, help="steps of the text tower alone, before")
    parser.add_argument("--text_lr", type=float, default=3e-3)
    parser.add_argument("--naming", type=float, default=0.0, help="weight of naming the objects from the features")
    parser.add_argument("--alike", type=float, default=0.0, help="share of batches with scenes of one time of day only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unseen", type=int, default=100)
    parser.add_argument("--output", type=Path, default=COMPACT_WEIGHTS.parent)
    parser.add_argument("--measure", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    if not arguments.measure:
        scenes = draw_scenes("train", arguments.scenes)
        print(f"{len(scenes)} scenes drawn in {time.process_time() - start:.0f} s", flush=True)
        pieces = vocabulary_of(scenes, arguments.seed, draws=4)
        tokenizer = ReducedTokenizer(pieces, COMPACT_LAYOUT["text_cfg"]["context_length"])
        write(train(scenes, tokenizer, arguments), pieces, arguments.output)
        size = (arguments.output / COMPACT_WEIGHTS.name).stat().st_size
        print(f"trained in {time.process_time() - start:.0f} s of processor time; {size / 1e6:.2f} MB")
    own = arguments.output == COMPACT_WEIGHTS.parent
    weights = None if own else str(arguments.output / COMPACT_WEIGHTS.name)
    encoder = build_image_text_encoder({"architecture": "compact", "weights": weights})
    print(f"{encoder.identity}, {describe_machine(1)}")
    show(f"Retrieval among {arguments.unseen} unseen scenes", measure(encoder, draw_scenes("test", arguments.unseen)))


if __name__ == "__main__":
    main()
