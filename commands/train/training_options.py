"""Options of Lightning's trainer that some tasks do differently, or that would quietly do something else."""

from typing import Any, Final

from ivif.commands.errors import UsageError
from ivif.lightning_modules.base import FusionTask
from ivif.lightning_modules.bilevel_task import BilevelTask

_HALF: Final = ("16", "16-mixed", "16-true")


def refuse_options(task: FusionTask, settings: dict[str, Any], on_cpu: bool) -> None:
    """Refuses what the task or the device cannot do, with what does it instead.

    Args:
        task: The task that is to be trained.
        settings: The trainer's arguments.
        on_cpu: Whether the run computes on a CPU.

    Raises:
        UsageError: If a task with several optimisers is to accumulate or clip by Lightning's own means, one with a
            single optimiser by two numbers, or float16 is asked for on a CPU (where Lightning would take bfloat16).
    """
    name, clip, own = type(task).__name__, settings.get("gradient_clip_val"), task.optimizer_config.gradient_clip
    if isinstance(task, BilevelTask):
        parts = settings.get("accumulate_grad_batches", 1)
        if parts not in (None, 1):
            raise UsageError(
                f"--trainer.accumulate_grad_batches {parts}: {name} has an optimiser for each level, and cuts each "
                f"batch itself. For the memory of a batch of B / {parts} set --model.init_args.bilevel.accumulate "
                f"{parts} and leave --loading.batch_size at B."
            )
        if clip:
            raise UsageError(
                f"--trainer.gradient_clip_val {clip}: {name} clips each level by its own number. Set "
                f"--model.init_args.lower.optimizer.gradient_clip {clip} and --model.init_args.upper.optimizer."
                f"gradient_clip {clip}."
            )
    elif clip and own:
        raise UsageError(
            f"--trainer.gradient_clip_val {clip}: {name} clips by its own number already ({own}). Set "
            f"--model.init_args.optimizer.gradient_clip {clip} instead."
        )
    precision = str(settings.get("precision") or "")
    if on_cpu and precision in _HALF:
        raise UsageError(
            f"--trainer.precision {precision}: float16 needs a GPU. On a CPU take --trainer.precision bf16-mixed."
        )
