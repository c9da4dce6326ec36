"""Trains the compact CLIP on generated scenes and writes models/compact_clip: weights and vocabulary.

    python benchmarks/compact_clip.py [--steps 600] [--output models/compact_clip]     train, measure, write
    python benchmarks/compact_clip.py --measure                                        measure what is there

Contrastive training of image-text pairs (Radford et al., ICML 2021) on one thread; the seed decides everything. Prints
how often the right caption is found among those of unseen scenes, with chance beside it.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from benchmarks.compact_clip_scenes import Batches, Scenes, draw_scenes  # noqa: E402
from benchmarks.mgfusion import Row, describe_machine, show  # noqa: E402
from models.clip import ImageTextEncoder, build_image_text_encoder, instantiate  # noqa: E402
from models.clip_encoder import OPENAI_MEAN, OPENAI_STD  # noqa: E402
from models.compact_clip import COMPACT_LAYOUT, COMPACT_WEIGHTS, ReducedTokenizer, compact_layout  # noqa: E402
from models.compact_clip.tokenizer import UNKNOWN  # noqa: E402

LARGEST_SCALE: Final = 100.0
HIDDEN_WORDS: Final = 0.03
"""Share of words that training replaces by the unknown row, so that it comes to mean nothing in particular."""


def vocabulary_of(scenes: Scenes, seed: int, draws: int) -> list[str]:
    """The byte-pair pieces that occur in the training texts, in alphabetic order."""
    tokenizer = ReducedTokenizer([], COMPACT_LAYOUT["text_cfg"]["context_length"])
    batches = Batches(scenes, seed)
    texts = {text for _ in range(draws) for text in batches.texts(len(scenes))}
    return sorted({piece for text in texts for piece in tokenizer.pieces(text)})


def train(scenes: Scenes, tokenizer: ReducedTokenizer, arguments: argparse.Namespace) -> nn.Module:
    """The trained CLIP."""
    clip: Any = instantiate(compact_layout(tokenizer.size)).train()
    optimizer = torch.optim.AdamW(clip.parameters(), lr=arguments.lr, betas=(0.9, 0.98), weight_decay=0.05)
    warmup = max(1, arguments.steps // 20)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.lr, total_steps=arguments.steps, pct_start=warmup / arguments.steps, cycle_momentum=False
    )
    batches = Batches(scenes, arguments.seed)
    for step in range(arguments.steps):
        pictures, texts = batches.draw(arguments.batch_size)
        ids = _with_hidden_words(tokenizer(texts), tokenizer, batches.generator)
        loss = _contrastive_loss(clip, _prepared(pictures), ids, texts)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(0.0, torch.tensor(LARGEST_SCALE).log())
        if step % 50 == 0 or step == arguments.steps - 1:
            scale = float(clip.logit_scale.detach().exp())
            print(f"step {step}: loss {float(loss):.3f}, scale {scale:.1f}, {time.process_time():.0f} s", flush=True)
    return cast("nn.Module", clip.eval())


def _prepared(pictures: Tensor) -> Tensor:
    """As `ImageTextEncoder` prepares images."""
    side = COMPACT_LAYOUT["vision_cfg"]["image_size"]
    small = F.interpolate(pictures, size=(side, side), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    return (small - torch.tensor(OPENAI_MEAN).view(3, 1, 1)) / torch.tensor(OPENAI_STD).view(3, 1, 1)


def _with_hidden_words(ids: Tensor, tokenizer: ReducedTokenizer, generator: torch.Generator) -> Tensor:
    unknown = tokenizer.encoder[UNKNOWN]
    hidden = (torch.rand(ids.shape, generator=generator) < HIDDEN_WORDS) & (ids > 0) & (ids < unknown)
    return ids.masked_fill(hidden, unknown)


def _contrastive_loss(clip: Any, images: Tensor, ids: Tensor, texts: list[str]) -> Tensor:
    """Symmetric cross-entropy; equal texts in a batch share their probability."""
    length = int(ids.argmax(dim=-1).max()) + 1
    states = clip.token_embedding(ids[:, :length]) + clip.positional_embedding[:length]
    states = clip.ln_final(clip.transformer(states, attn_mask=clip.attn_mask[:length, :length]))
    pooled = states[torch.arange(len(ids)), ids.argmax(dim=-1)] @ clip.text_projection
    logits = clip.logit_scale.exp() * F.normalize(clip.visual(images), dim=-1) @ F.normalize(pooled, dim=-1).T
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    labels = torch.tensor([numbers[text] for text in texts])
    shared = (labels[:, None] == labels).float()
    shared /= shared.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, shared) + F.cross_entropy(logits.T, shared)) / 2


def write(clip: nn.Module, pieces: list[str], folder: Path) -> None:
    """Half-precision weights in open_clip's names, and the vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in clip.state_dict().items()
        if name != "attn_mask"
    }
    save_file(state, folder / COMPACT_WEIGHTS.name)
    (folder / "vocabulary.json").write_text(json.dumps(pieces, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


@torch.no_grad()
def measure(encoder: ImageTextEncoder, scenes: Scenes) -> list[Row]:
    """Retrieval among all scenes, one row for each kind of picture."""
    captions = [scene.captions["road scene"][0] for scene in scenes.scenes]
    texts = F.normalize(encoder.encode_text(captions), dim=-1)
    own = torch.tensor([[first == second for second in captions] for first in captions])
    rows: list[Row] = []
    for kind, pictures in scenes.pictures.items():
        images = F.normalize(encoder.encode_image(pictures / 255.0), dim=-1)
        row = {"picture": kind}
        for name, similarity in (("caption of picture", images @ texts.T), ("picture of caption", texts @ images.T)):
            for best in (1, 5):
                found = own.gather(1, similarity.topk(best, dim=1).indices).any(dim=1)
                row[f"{name}, top {best}"] = f"{100 * float(found.float().mean()):.1f} %"
        row["chance, top 1 / 5"] = f"{100 / len(captions):.1f} / {500 / len(captions):.1f} %"
        rows.append(row)
    return rows


def main() -> None:
    """Trains and writes unless only asked to measure; measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
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
    encoder = build_image_text_encoder("compact")
    print(f"{encoder.identity}, {describe_machine(1)}")
    show(f"Retrieval among {arguments.unseen} unseen scenes", measure(encoder, draw_scenes("test", arguments.unseen)))


if __name__ == "__main__":
    main()
