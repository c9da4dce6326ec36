"""What words do to a fused image: one pair under several prompts, beside the result without a prompt.

    python benchmarks/prompt_panel.py --ckpt RUN/checkpoints/last.ckpt --infrared FILE --visible FILE
        [--prompt TEXT ...] [--gain 10] [--output panel.png]

Works for any task that reads prompts. The second row shows the difference in luma times `--gain`, grey where there is
none, and the largest and mean difference in grey levels (of 255) above it.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch import Tensor  # noqa: E402

from ivif.callbacks.images import panel, save_atomically  # noqa: E402
from ivif.contracts.batch import Batch, batch_to_float, collate  # noqa: E402
from ivif.datamodules.datasets.io import read_image, to_infrared, to_visible  # noqa: E402
from ivif.lightning_modules.detection_sources import load_fusion  # noqa: E402

PROMPTS: Final = (
    "A road scene at night with two people near the left side.",
    "A road scene by day with a car in the centre.",
)


def read_pair(infrared: Path, visible: Path, prompt: str) -> Batch:
    """One pair of files as a batch of one."""
    sample = {
        "infrared": to_infrared(read_image(infrared)),
        "visible": to_visible(read_image(visible)),
        "name": infrared.stem,
        "dataset": "pair",
        "content_id": infrared.stem,
        "prompt": prompt,
    }
    return batch_to_float(collate([sample]))  # type: ignore[list-item]


def draw(results: dict[str, Tensor], gain: float) -> Image.Image:
    """Fused images of each prompt above their differences from the first."""
    first = next(iter(results.values()))
    differences: dict[str, Tensor] = {}
    for prompt, fused in results.items():
        difference = (fused - first).mean(dim=0, keepdim=True)
        size = difference.abs() * 255
        title = "blank" if not prompt else f"largest {size.max():.1f}, mean {size.mean():.2f} levels"
        differences[title] = 0.5 + gain * difference
    upper = panel({prompt or "blank prompt": fused for prompt, fused in results.items()}, height=300)
    lower = panel(differences, height=300)
    canvas = Image.new("RGB", (upper.width, upper.height + lower.height), "white")
    canvas.paste(upper, (0, 0))
    canvas.paste(lower, (0, upper.height))
    return canvas


def main() -> None:
    """Fuses and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path, required=True)
    parser.add_argument("--infrared", type=Path, required=True)
    parser.add_argument("--visible", type=Path, required=True)
    parser.add_argument("--prompt", action="append", help="may be given several times")
    parser.add_argument("--gain", type=float, default=10.0)
    parser.add_argument("--output", type=Path, default=Path("panel.png"))
    options = parser.parse_args()
    task, _ = load_fusion(options.ckpt)
    results = {}
    with torch.no_grad():
        for prompt in ("", *(options.prompt or PROMPTS)):
            results[prompt] = task.fuse(read_pair(options.infrared, options.visible, prompt))["fused"][0]
    save_atomically(draw(results, options.gain), options.output)


if __name__ == "__main__":
    main()
