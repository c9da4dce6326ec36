"""LightningCLI with the suite's run folders, defaults and refusals."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

from lightning import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import Logger

from ivif.callbacks.checkpoint_io import WholeFileCheckpointIO
from ivif.callbacks.compilation import Compilation
from ivif.callbacks.diagnostics import DiagnosticsLogger
from ivif.callbacks.evaluator import Evaluator
from ivif.callbacks.gradient_norms import GradientNorms
from ivif.callbacks.image_logger import ImageLogger
from ivif.callbacks.memory_guard import MemoryGuard
from ivif.callbacks.parts_summary import PartsSummary
from ivif.callbacks.prediction_shards import Shard
from ivif.callbacks.prediction_writer import PredictionWriter
from ivif.callbacks.run_checkpoint import RunCheckpoint
from ivif.callbacks.run_record import RunRecord
from ivif.callbacks.throughput import Throughput
from ivif.callbacks.trial_report import trial_reports
from ivif.callbacks.unprofiled import Unprofiled
from ivif.commands.errors import UsageError
from ivif.commands.parsing.command_line import CommandLine
from ivif.commands.parsing.option_checks import plain_run_name, refuse_linked_options, refuse_nulls, refuse_numbers
from ivif.commands.train.checkpoints import CHECKPOINT_WORDS, check_weights
from ivif.commands.train.cluster import without_own_requeue
from ivif.commands.train.compatibility import (
    class_names,
    provide,
    refuse_options,
    refuse_unknown_classes,
    start_from,
    watch_what_is_logged,
)
from ivif.commands.train.consents import settle_consents
from ivif.commands.train.devices import settle_devices
from ivif.commands.train.loggers import build_loggers, logging_callbacks, without_dashboards
from ivif.commands.train.options import DESCRIPTIONS, TrainingParser, add_suite_arguments
from ivif.commands.train.predictions import held_output, refuse_sources, say_where, skip_finished
from ivif.commands.train.run_folder import checkpoint_to_resume, choose_run_folder, lock_run_folder
from ivif.commands.train.run_start import TrainingFolder, mark_latest, remove_failed_start
from ivif.commands.train.shards import chosen_shard
from ivif.commands.train.stored_settings import say_differences
from ivif.commands.train.submission import submit
from ivif.commands.train.thermal_range import settle_thermal_range
from ivif.configs import DEFAULTS
from ivif.contracts.run_files import LAST
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.lightning_modules.base import FusionTask
from ivif.running.command_line import PreparedCLI
from ivif.running.internals import allow_unused_parameters


class SuiteCLI(PreparedCLI):
    """Builds task, datamodule and trainer from YAML; `run` then carries out the subcommand.

    Departures from LightningCLI: `--ckpt_path` never changes the configuration, checkpoints load with `weights_only`,
    `loading` and `transforms` are given beside the dataset (a method chooses them, not a dataset), and every run has a
    folder of its own.
    """

    line: CommandLine
    run_folder: Path
    _loggers: Sequence[Logger] = ()
    _made: Sequence[Path] = ()
    _shard: Shard | None = None

    @classmethod
    def from_arguments(cls, line: CommandLine) -> Self:
        """Parses and builds, but does not run.

        Raises:
            UsageError: If the command line or a configuration is wrong.
        """
        cls.line = line
        return cls(
            FusionTask,
            FusionDataModule,
            save_config_callback=None,
            parser_class=TrainingParser,
            parser_kwargs={
                name: {"default_config_files": [str(DEFAULTS)], "description": DESCRIPTIONS[name]}
                for name in cls.subcommands()
            },
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            args=line.arguments,
        )

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:
        """The one that is asked for, else all: to build the parsers of the others takes longer than to parse."""
        known = LightningCLI.subcommands()
        return {name: known[name] for name in cls.line.arguments[:1] if name in known} or known

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parses our own list, without LightningCLI's warning that `sys.argv` is not empty."""
        self.config = parser.parse_args(args)
        refuse_numbers(self.config[self.config.subcommand])

    def add_arguments_to_parser(self, parser: Any) -> None:
        """Adds ours, and the callbacks that every run has."""
        add_suite_arguments(parser)
        parser.add_argument("--loading", type=LoadingConfig, default=LoadingConfig())
        parser.add_argument("--transforms", type=TransformConfig, default=TransformConfig())
        parser.link_arguments("loading", "data.init_args.loading")
        parser.link_arguments("transforms", "data.init_args.transforms")
        parser.link_arguments("data", "model.init_args.classes", compute_fn=self._class_names, apply_on="instantiate")
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(Evaluator, "evaluator")
        parser.add_lightning_class_args(ImageLogger, "images")
        parser.add_lightning_class_args(MemoryGuard, "memory_guard")
        parser.add_lightning_class_args(GradientNorms, "gradient_norms")
        parser.add_lightning_class_args(Compilation, "compilation")

    def before_instantiate_classes(self) -> None:
        """Refuses what cannot work before anything is built, and chooses the run folder."""
        refuse_linked_options(self.line.arguments)
        settle_consents(self.line.arguments, self.config[self.subcommand])
        settle_devices(self.config[self.subcommand])
        if self.subcommand == "predict":
            self._shard = chosen_shard(self.option("shard"), self.option("output_dir"), self.option("submit"))
        refuse_nulls(self.config[self.subcommand], {"loading": LoadingConfig, "transforms": TransformConfig})
        if self.option("convention"):
            self.config[self.subcommand].evaluator.convention = self.option("convention")
        if self.line.resume is not None:
            self.run_folder = self.line.resume
        else:
            self.run_folder = choose_run_folder(Path(self.option("runs_dir")), self._run_name(), self.line.arguments)
        if self.subcommand == "fit":
            checkpoint = checkpoint_to_resume(self.run_folder, self.option("ckpt_path"))
            self.config[self.subcommand].ckpt_path = checkpoint
        task, random_too = str(self.option("model")["class_path"]), self.option("allow_random_weights")
        check_weights(str(self.subcommand), task, self.option("ckpt_path"), random_too)
        say_differences(str(self.subcommand), self.config[self.subcommand])

    def instantiate_classes(self) -> None:
        """Builds task, data and trainer; a constructor that refuses its values is a user's mistake.

        Raises:
            UsageError: With the constructor's own message.
        """
        try:
            super().instantiate_classes()
            provide(self.model, self.datamodule, self.run_folder / "previous" if self.subcommand == "fit" else None)
            on_cpu = self.trainer.strategy.root_device.type == "cpu"
            refuse_options(self.model, dict(self.option("trainer")), on_cpu)
            if self.option("tile") is not None and self.subcommand != "fit":  # a run's test takes it of config.yaml
                self.model.use_tiles(self.option("tile"))
        except (ValueError, TypeError) as error:
            # jsonargparse names our own function first
            raise UsageError(str(error).rpartition(") failed: ")[2]) from error
        if self.option("init_from") and not self.option("ckpt_path"):
            settings = self.option("model").as_dict()["init_args"]
            start_from(self.model, Path(self.option("init_from")), settings)
        self.model.on_non_finite = self.option("on_non_finite")
        if self.model.uses_parameters_in_turn:
            allow_unused_parameters(self.trainer)
        watch_what_is_logged(self.model, self.trainer)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with the run folder, its loggers and the callbacks of this subcommand."""
        if self.keeps_folder:
            configured = self.built("trainer")["logger"]
            wandb, project = self.option("wandb"), self.option("wandb_project")
            self._loggers = build_loggers(configured, self.run_folder, str(self.subcommand), wandb, project)
        kwargs["logger"] = without_dashboards(self._loggers)
        kwargs["default_root_dir"] = str(self.run_folder)
        return super().instantiate_trainer(**kwargs)

    def complete_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> tuple[dict[str, Any], list[Any]]:
        """Adds what every run has, and leaves out callbacks that are switched off."""
        extra: list[Any] = logging_callbacks(self.model, str(self.subcommand), self._loggers)
        if self.keeps_folder:
            extra.append(RunRecord("" if config.get("fast_dev_run") else self.written_config()))
        extra += [Throughput(), DiagnosticsLogger()]
        plugins = config.get("plugins") or []
        config["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeFileCheckpointIO()]
        if config.get("enable_progress_bar") is not False:
            extra.append(TQDMProgressBar(refresh_rate=20))
        if self.subcommand == "fit":
            extra += [TrainingFolder(), *trial_reports()]
            extra += [PartsSummary()] if config.get("enable_model_summary") is not False else []
            config["enable_model_summary"] = False  # that is Lightning's own
        if self.subcommand == "predict":
            output = self.option("output_dir")
            extra.append(PredictionWriter(Path(output) if output else None, self.option("grey"), self.built("boxes")))
        config["profiler"] = config.get("profiler") or Unprofiled()
        # Lightning calls each callback at eight places of a step, whether it does anything there or not.
        wanted = [callback for callback in callbacks if getattr(callback, "enabled", True)]
        if not self.keeps_folder:
            wanted = [callback for callback in wanted if not isinstance(callback, ImageLogger)]
            for callback in wanted:
                if isinstance(callback, Evaluator):
                    callback.keeps_tables = False
        return config, [*wanted, *extra]

    def run(self) -> None:
        """Carries out the subcommand in its locked folder, and says where the results are."""
        self._refuse_sources()
        if self.subcommand == "predict" and self.option("submit"):
            submit(self.line.arguments, *(Path(self.option(name)) for name in ("submit", "output_dir", "runs_dir")))
            return
        settle_thermal_range(str(self.subcommand), self.config, self.trainer, self.datamodule, self.written_config)
        if self.trainer.is_global_zero and self.keeps_folder:
            self._made = lock_run_folder(self.run_folder)
        with self._held_output(), without_own_requeue(self.trainer):
            self._run_trainer()
        if self.trainer.is_global_zero:
            self._say_where()

    @property
    def keeps_folder(self) -> bool:
        """Whether this run has a run folder: not where its results go elsewhere, or to the terminal alone."""
        if self.subcommand == "predict":
            return not self.option("output_dir")
        asked = {argument.partition("=")[0] for argument in self.line.arguments}
        return self.subcommand != "validate" or not asked.isdisjoint(("--wandb", "--trainer.logger"))

    def _refuse_sources(self) -> None:
        if self.subcommand == "predict" and self.option("output_dir"):
            folder = Path(self.option("output_dir"))
            refuse_sources(folder, self.datamodule, self.datamodule.predict_stage, "--output_dir")
        if self.subcommand == "fit" and self.datamodule.previous_dir is not None:
            refuse_sources(self.datamodule.previous_dir, self.datamodule, "train", "--data.previous_dir")

    def _run_trainer(self) -> None:
        if self.subcommand == "predict":
            configs = {key: self.option(key).as_dict() for key in ("model", "data")}
            weights = Path(path) if (path := self.option("ckpt_path")) else None
            writer, seed = self._prediction_writer(), self.option("seed_everything")
            skip_finished(writer, self.model, self.datamodule, configs, weights, seed, self._shard)
        if self.subcommand in ("validate", "test"):
            self.datamodule.warn_of_leaks({"validate": "val"}.get(self.subcommand, "test"), self.model.scores_detection)
        run: Callable[..., Any] = getattr(self.trainer, str(self.subcommand))
        with self._stop_requests():
            run(**self.run_arguments())

    def _held_output(self) -> AbstractContextManager[object]:
        if self.subcommand != "predict" or not self.trainer.is_global_zero:
            return nullcontext()
        return held_output(self._prediction_writer().output_dir, self._shard)

    def tidy_failed_start(self) -> None:
        """Removes the run folder of a run that failed before anything came of it."""
        if self._made:
            remove_failed_start(self.run_folder, self._made)

    def _stop_requests(self) -> AbstractContextManager[object]:
        """Signals that come before training begins are requests to stop already; other commands end at once."""
        found = [callback for callback in self.trainer.checkpoint_callbacks if isinstance(callback, RunCheckpoint)]
        return found[0].stops if self.subcommand == "fit" and found else nullcontext()

    def run_arguments(self) -> dict[str, Any]:
        """Those of the subcommand; checkpoints hold no code."""
        kwargs = super().run_arguments() | {"weights_only": True}
        if self.subcommand in ("validate", "test"):
            kwargs["verbose"] = False  # the Evaluator's table says the same, readably
        if self.subcommand == "predict":
            kwargs["return_predictions"] = False  # the writer has them; a list of all would fill the memory
        return kwargs

    def _run_name(self) -> str:
        given = any(argument.partition("=")[0] == "--run_name" for argument in self.line.arguments)
        if self.option("run_name") and (given or self.subcommand == "fit"):  # that of a file names trainings
            return plain_run_name(str(self.option("run_name")))
        model, data = (str(self.option(key)["class_path"]).rpartition(".")[2] for key in ("model", "data"))
        return f"{model.removesuffix('Task').lower()}-{data.removesuffix('DataModule').lower()}"

    def _class_names(self, data: FusionDataModule) -> list[str]:
        checkpoint = self.option("ckpt_path")
        known = checkpoint and checkpoint not in CHECKPOINT_WORDS
        names = class_names(data, Path(checkpoint) if known else None, scored=self.subcommand != "predict")
        if not names:
            refuse_unknown_classes(data, self.option("model").as_dict())
        return names

    def _prediction_writer(self) -> PredictionWriter:
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        return next(callback for callback in callbacks if isinstance(callback, PredictionWriter))

    def _say_where(self) -> None:
        if self.subcommand == "predict":
            writer = self._prediction_writer()
            say_where(writer, writer.folder(self.trainer))
        elif self.keeps_folder:
            print(f"Run folder: {self.run_folder}")
        if self.subcommand == "fit":
            print(f"Checkpoint: {self.run_folder / LAST}")
        elif self.keeps_folder:
            mark_latest(self.run_folder, str(self.subcommand))
