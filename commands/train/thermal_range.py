"""What `thermal_range auto` means for the data of a command, written into its configuration."""

from collections.abc import Callable, Mapping
from typing import Any

from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ivif.callbacks.run_record import RunRecord
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.start_checks import files_of


def settle_thermal_range(
    command: str, config: Namespace, trainer: Trainer, data: FusionDataModule, written: Callable[[], str]
) -> None:
    """Replaces `auto` in a configuration by the range that was measured, which later commands then take of the run.

    Args:
        command: Lightning's.
        config: The configuration of all commands; changed in place.
        trainer: Has the record of the run, which gets the new configuration.
        data: Measure once.
        written: Gives the configuration as YAML.
    """
    stage = {"fit": "train", "validate": "val", "predict": data.predict_stage}.get(command, "test")
    if _settled(config[command], data, stage):
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RunRecord) and callback.config:
                callback.config = written()


def _settled(config: Namespace, data: FusionDataModule, stage: str) -> bool:
    """Whether `auto` was replaced: not for pictures of 8 bits, nor where several datasets have ranges of their own."""
    reading = (config.data.get("init_args") or {}).get("reading")
    if reading is None or reading.thermal_range.mode != "auto":
        return False
    readers = [reader for dataset in data.stage_readers(stage) if (reader := files_of(dataset))]
    ranges = {reader.dataset_name: reader.thermal_range for reader in readers}
    deep = {name: each for name, each in ranges.items() if each.mode == "fixed"}
    if not deep:
        return False
    if len(deep) > 1:
        names = ", ".join(f"{name} {each.low:g}..{each.high:g}" for name, each in deep.items())
        rank_zero_warn(f"Infrared of several datasets has more than 8 bits and is scaled differently: {names}.")
        return False
    (measured,) = deep.values()
    rank_zero_info(
        f"Infrared from {measured.low:g} to {measured.high:g} becomes 0 to 1 (thermal_range auto: percentiles of the "
        f"dataset); the same in later commands on this run."
    )
    kept = reading.thermal_range
    kept.mode, kept.low, kept.high = measured.mode, measured.low, measured.high
    return True


def without_auto(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of data of 8 bits as they were noted before there was `auto`, which changes nothing of them."""
    reading = settings.get("reading") or {}
    thermal_range = reading.get("thermal_range") or {}
    if thermal_range.get("mode") != "auto":
        return dict(settings)
    return {**settings, "reading": {**reading, "thermal_range": {**thermal_range, "mode": "type"}}}
