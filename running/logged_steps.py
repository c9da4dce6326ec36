"""Which steps' values are logged: those that anything reads."""

from lightning import Trainer


def logs_this_step(trainer: Trainer) -> bool:
    """Whether the values of the step under way are logged.

    Lightning takes 0.3 ms for each value that it is given to log, whether anything reads it or not. So values are
    logged at the trainer's interval where there is a reader, and at the last step of each epoch and of `max_steps` in
    any case: `trainer.callback_metrics` then has them.
    """
    interval, trial = trainer.log_every_n_steps, bool(trainer.fast_dev_run)  # type: ignore[attr-defined]
    # Counted as Lightning counts for its loggers, which `global_step` does not where there are several optimisers.
    number = trainer.fit_loop.epoch_loop._batches_that_stepped + 1
    due = trial or trainer.should_stop or (interval > 0 and number % interval == 0)
    last = trainer.is_last_batch or 0 < trainer.max_steps <= number
    return last or (due and _has_reader(trainer))


def _has_reader(trainer: Trainer) -> bool:
    """Whether there is a logger, a progress bar, or a callback or schedule that watches a value of training."""
    if trainer.loggers or trainer.progress_bar_callback is not None:
        return True
    if any(config.reduce_on_plateau for config in trainer.lr_scheduler_configs):
        return True
    watched = (getattr(callback, "monitor", None) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    return any(isinstance(name, str) and name.startswith("train/") for name in watched)
