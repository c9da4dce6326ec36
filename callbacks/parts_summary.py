"""The table of a task's parts at the start of a training, without the operations that Lightning never counts."""

from typing import Any

from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count
from rich.console import Console

from ivif.files.text_tables import TextTable


class PartsSummary(ModelSummary):
    """Lightning's summary; it counts operations only of tasks that bring an example of their input, and ours do not."""

    @staticmethod
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        *_: Any,
        **__: Any,
    ) -> None:
        """Prints the parts with their weights and modes, and below them all weights in one line."""
        columns = {name: cells for name, cells in summary_data if name.strip() and name != "FLOPs"}
        console = Console()
        TextTable(list(columns), list(zip(*columns.values(), strict=True))).show(console)
        trained, whole = map(get_human_readable_count, (trainable_parameters, total_parameters))
        text = f"Trained: {trained.strip()} of {whole.strip()} parameters ({model_size:.1f} MB in all)."
        console.print(text, soft_wrap=True, highlight=False)
