"""Learnt prompts as files beside the run's checkpoints, for other runs and for people."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from ivif.files.whole import write_whole

PROMPTS_FILE: Final = "prompts.safetensors"
WORDS_FILE: Final = "prompts.md"


class PromptRecord(Callback):
    """Writes `prompts.safetensors` and `prompts.md`, the words nearest to each learnt vector, when training ends.

    Args:
        prompts: The learnt prompts; has `export_file(path)` and `nearest_words(count)`.
        words: How many words to list for each vector.
    """

    def __init__(self, prompts: Any, words: int = 3) -> None:
        self.prompts = prompts
        self.words = words

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes both, once.

        Raises:
            OSError: If the run folder cannot be written.
        """
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        self.prompts.export_file(folder / PROMPTS_FILE)
        words = self.prompts.nearest_words(self.words)
        write_whole(folder / WORDS_FILE, words_table(words))
        for name, vectors in words.items():
            rank_zero_info(f"Words nearest to the {name} prompt: {' '.join(near[0][0] for near in vectors)}")


def words_table(words: Mapping[str, Sequence[Sequence[tuple[str, float]]]]) -> str:
    """A Markdown table: one row for each vector, one column for each prompt.

    Args:
        words: By prompt, for each vector the nearest words and their cosines.
    """
    names = list(words)
    lines = [
        "# Words nearest to each learnt vector",
        "",
        "Cosines between embeddings, in brackets: 1.00 is the word itself, and below about 0.5 no word is meant.",
        "",
    ]
    lines += [f"| vector | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for number, row in enumerate(zip(*words.values(), strict=True), start=1):
        cells = (", ".join(f"{_escaped(word)} ({cosine:.2f})" for word, cosine in near) for near in row)
        lines.append(f"| {number} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _escaped(word: str) -> str:
    return word.replace("|", "\\|").replace("`", "\\`")
