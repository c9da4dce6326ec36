"""What learnt prompts know after P0: are good fusions nearer to the positive prompt than worse pictures?

    python benchmarks/prompt_learning.py [--clip compact] [--steps 400] [--root FOLDER] [--out FOLDER]

Learns the prompts on generated scenes (split `train`), from the default sentences and from `X ... X`, and asks on
unseen pairs how often p_pos(contourlet fusion) > p_pos(worse picture), for each kind of worse picture: generated scenes
of the split `test`, and with `--root` the test pairs of the real datasets below that folder, which the prompts have
never seen. Equal prompts rank nothing (0 %); chance is 50 %. Writes prompt_learning.md.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.tables import Row, describe_machine, heading, markdown, show, write  # noqa: E402
from ivif.contracts.batch import Batch, batch_to_float, collate  # noqa: E402
from ivif.datamodules.configuration import LoadingConfig, TransformConfig  # noqa: E402
from ivif.datamodules.datasets.synthetic import SyntheticDataset  # noqa: E402
from ivif.datamodules.unified import UnifiedDataModule  # noqa: E402
from ivif.lightning_modules.prompt_learning import PromptLearner, PromptsConfig  # noqa: E402
from ivif.losses.prompt import prompt_cross_entropy  # noqa: E402
from ivif.models.prompt_examples import NEGATIVE_KINDS  # noqa: E402

SIDE: Final = (128, 160)
"""Size of generated scenes; real pairs are resized to it."""

BATCH: Final = 16
TRAINING_PAIRS: Final = 96
UNSEEN_PAIRS: Final = 64
REAL: Final = ("roadscene", "msrs", "tno")


def generated(split: str, count: int) -> list[Batch]:
    """Batches of generated pairs."""
    scenes = SyntheticDataset(length=count, size=SIDE, split=split)
    samples = [scenes[index] for index in range(count)]
    return [batch_to_float(collate(samples[start : start + BATCH])) for start in range(0, count, BATCH)]


def real(root: Path, name: str) -> list[Batch]:
    """The test pairs of one dataset of the manifest `roadscene_msrs`, resized."""
    data = UnifiedDataModule(
        root=root,
        datasets=(name,),
        manifest="roadscene_msrs",
        loading=LoadingConfig(batch_size=1, num_workers=0),
        transforms=TransformConfig(crop=None, resize=SIDE),
    )
    data.prepare_data()
    data.setup("test")
    return [batch_to_float(batch) for loader in data.test_dataloader() for batch in loader]


def learn(config: PromptsConfig, batches: Sequence[Batch], steps: int) -> PromptLearner:
    """P0: the cross-entropy of `PromptLearner`, on the features of two draws of examples for each pair."""
    torch.manual_seed(0)
    learner = PromptLearner(config)
    pairs = [(batch, *learner.examples(batch)) for batch in [*batches, *batches]]
    features = [learner.features(batch, good, bad) for batch, good, bad in pairs]
    parameters = [learner.prompts.positive, learner.prompts.negative]
    optimizer = torch.optim.Adam(parameters, config.level.schedule.peak)
    for step in range(steps):
        own = features[step % len(features)]
        optimizer.zero_grad()
        loss = prompt_cross_entropy(learner.prompts.feature_scores(own), torch.arange(len(own)) < len(own) // 2)
        torch.autograd.backward(loss)
        optimizer.step()
    return learner


@torch.no_grad()
def ranked_right(learner: PromptLearner, batches: Sequence[Batch]) -> dict[str, float]:
    """Share of pairs whose positive example is nearer to the positive prompt, by kind of the negative, and over all."""
    shares: dict[str, float] = {}
    for kind in NEGATIVE_KINDS:
        right = []
        for number, batch in enumerate(batches):
            torch.manual_seed(number)
            features = learner.features(batch, *learner.examples(batch, (kind,)))
            good, bad = learner.prompts.feature_scores(features).softmax(dim=-1)[:, 0].chunk(2)
            right.append(good > bad)
        shares[kind] = float(torch.cat(right).float().mean())
    return shares | {"all": sum(shares.values()) / len(shares)}


def rows(clip: str, steps: int, root: Path | None) -> list[Row]:
    """One row for each start, before and after P0, and each set of pairs."""
    training = generated("train", TRAINING_PAIRS)
    sets = {f"generated ({UNSEEN_PAIRS})": generated("test", UNSEEN_PAIRS)}
    if root is not None:
        sets |= {f"{name} ({len(batches)})": batches for name in REAL if (batches := real(root, name))}
    starts = {"sentences": PromptsConfig(clip=clip), "X ... X": PromptsConfig(clip=clip, positive=None, negative=None)}
    found = []
    for start, config in starts.items():
        for when, count in (("before", 0), (f"after {steps} steps", steps)):
            learner = learn(config, training, count)
            for pairs, batches in sets.items():
                shares = {kind: f"{share:.0%}" for kind, share in ranked_right(learner, batches).items()}
                found.append({"pairs": pairs, "start": start, "P0": when, **shares})
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Parses the options, measures, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="compact", help="which encoder")
    parser.add_argument("--steps", type=int, default=400, help="steps of P0")
    parser.add_argument("--root", type=Path, help="folder with RoadScene, MSRS and TNO")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="where the table goes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    machine = describe_machine(1)
    table = rows(options.clip, options.steps, options.root)
    command = f"python benchmarks/prompt_learning.py --clip {options.clip} --steps {options.steps}"
    command += " --root FOLDER" if options.root else ""
    head = heading("prompt_learning", "Learnt prompts after P0", machine, command)
    about = (
        "Share of unseen pairs on which p_pos(contourlet fusion) > p_pos(worse picture), by kind of the worse one. "
        "Chance is 50 %; equal prompts\n(`X ... X` before P0) rank nothing.\n"
        f"Learnt on {TRAINING_PAIRS} generated pairs, seed 0; in brackets the number of pairs asked.\n\n"
    )
    write(options.out, "prompt_learning", head + about + markdown(table), {})
    show("Learnt prompts after P0", table)


if __name__ == "__main__":
    main()
