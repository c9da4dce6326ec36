"""`ivif`: LightningCLI for fit, validate, test and predict; plain functions for the others."""

import logging
import shlex
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from io import TextIOWrapper
from typing import Final

from ivif.commands.errors import UsageError, is_user_error, report_error
from ivif.commands.program import program
from ivif.contracts.class_paths import SHORT_NAMES, known_names
from ivif.contracts.plugins import DATASETS, METHODS
from ivif.files.names import UTF8_REMEDY, is_utf8, printable
from ivif.files.text_output import clean_logs
from ivif.machine.termination import EXIT_TERMINATED, TerminatedError

_COMMANDS: Final = """usage: {program} COMMAND [--config FILE ...] [--help]

  fit       train a method                                 --config mgfusion.yaml --data NAME.yaml
  validate  score a checkpoint on the validation pairs     --ckpt_path CKPT | --run RUN_FOLDER, --data NAME.yaml
  test      score it on the test pairs, with the classic rows
  predict   write fused pictures                           ... --output_dir FOLDER [--shard 2/4]; then merge FOLDER
  fuse      two pictures, or two folders of them           INFRARED VISIBLE --out FUSED
  demo      a page on this machine to try networks on pictures  [--model CKPT]
  export    a network as one file: ONNX, torch.export      --ckpt_path CKPT --out FILE.onnx
  data      download | check | prompts | manifests | scenes    --data NAME.yaml --data.root FOLDER
  models    list | show | pack | push                      NAME, or --ckpt_path CKPT --name NAME
  report    score | run | grid | workspace                 --infrared DIR --visible DIR --fused DIR
  study     run | search | table                           STUDY.yaml
"""
_HELP: Final = "COMMAND --help lists every option; COMMAND ... --print_config shows every setting with its value."

MERGE: Final = "merge"
"""The word after `predict` that joins shards, and needs no trainer."""

PLAIN_COMMANDS: Final = ("fuse", "demo", "export", "data", "models", "report", "study")
"""Commands that need no trainer."""

COMMANDS: Final = ("fit", "validate", "test", "predict", *PLAIN_COMMANDS)
"""All commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code; a user's mistake is one message, never a traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    clean_logs()
    _print_whatever_comes()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0 if arguments else 1
    try:
        _check_encoding(arguments)
        if arguments[0] == "--print_completion":
            return _print_completion(arguments[1:])
        check_command(arguments)
        if arguments[:2] == ["predict", MERGE]:
            return _run_plain(MERGE, arguments[2:])
        if arguments[0] in PLAIN_COMMANDS:
            return _run_plain(arguments[0], arguments[1:])
        return run_lightning(arguments)
    except TerminatedError:
        print("stopped by SIGTERM", file=sys.stderr)
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        print("stopped by the keyboard", file=sys.stderr)
        return 130
    except Exception as error:
        if is_user_error(error):
            return report_error(error)
        raise


def _print_completion(shells: Sequence[str]) -> int:
    from ivif.machine.light_torchmetrics import load_parts_of_torchmetrics

    load_parts_of_torchmetrics()
    from ivif.commands.completion import print_completion

    print_completion(*shells[:1] or ("bash",))
    return 0


def overview() -> str:
    """What the program says without a command: its commands, and the methods and datasets that can be named."""
    lists = []
    for title, group in (("methods", METHODS), ("datasets", DATASETS)):
        foreign = {name: path.partition(".")[0] for name, path in known_names(group).items() if name not in SHORT_NAMES}
        names = [f"{name} ({foreign[name]})" if name in foreign else name for name in known_names(group)]
        lists.append(textwrap.fill(f"  {title:9} {', '.join(names)}", 118, subsequent_indent=" " * 12))
    return "\n".join([_COMMANDS.format(program=program()), *lists, "", _HELP])


def check_command(arguments: Sequence[str]) -> None:
    """Refuses a command line that does not begin with a command.

    Raises:
        UsageError: Names the command that was meant, where it can be seen.
    """
    given = arguments[0]
    if given in COMMANDS:
        return
    if given.startswith("-"):
        any_command = "fit" if ".help" in given else "COMMAND"  # whose options are those of all
        command = next((argument for argument in arguments if argument in COMMANDS), any_command)
        options = [argument for argument in arguments if argument != command]
        raise UsageError(
            f"{given}: the command comes first, its options after it: {program()} {shlex.join([command, *options])}"
        )
    close = get_close_matches(given, COMMANDS, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    raise UsageError(f"{given}: there is no such command.{meant} Commands are {', '.join(COMMANDS)}.")


def _check_encoding(arguments: Sequence[str]) -> None:
    """Refuses paths that no record of a run could hold.

    Raises:
        UsageError: Names the argument.
    """
    for argument in arguments:
        if not is_utf8(argument):
            raise UsageError(f"'{printable(argument)}' is not UTF-8, and no record could hold it. {UTF8_REMEDY}")


def _print_whatever_comes() -> None:
    """What the terminal's encoding lacks is printed as an escape; Python would end the command."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run_plain(command: str, arguments: list[str]) -> int:
    """Runs one of `PLAIN_COMMANDS`, or `predict merge`.

    Raises:
        UsageError: If the command line is wrong, or a file cannot be written or read.
    """
    try:
        return _plain_main(command)(arguments)
    except OSError as error:
        if error.filename is None or is_user_error(error):
            raise
        from ivif.commands.train.failures import disk_failure

        raise UsageError(f"{disk_failure(error)} Make room, or choose another place.") from error


def _plain_main(command: str) -> Callable[[list[str]], int]:
    if command == "data":
        from ivif.commands.data.command import main as data_main

        return data_main
    if command == "fuse":
        return _fuse
    if command == MERGE:
        from ivif.commands.merge import main as merge_main

        return merge_main
    if command == "demo":
        from ivif.commands.demo.command import main as demo_main

        return demo_main
    if command == "export":
        from ivif.commands.export import main as export_main

        return export_main
    if command == "study":
        from ivif.commands.study.command import main as study_main

        return study_main
    if command == "models":
        from ivif.commands.models.command import main as models_main

        return models_main
    from ivif.commands.report.command import main as report_main

    return report_main


def _fuse(arguments: list[str]) -> int:
    from ivif.commands.fuse import fuse

    line = fuse(arguments)
    return run_lightning(line) if line else 0


def _prepare_lightning() -> None:
    """Before its import: takes no more of torchmetrics than it needs, and leaves out what no user can act on."""
    from ivif.machine.light_torchmetrics import load_parts_of_torchmetrics

    load_parts_of_torchmetrics()
    for message in (
        "Experiment logs directory .* exists and is not empty",  # the run folder holds config.yaml already
        ".*in eval mode at the start of training.*",  # frozen encoders
        ".*LeafSpec.*is deprecated.*",
        ".*dataloader is not resumable.*",  # our sampler is: tests/lightning_modules/test_resume.py
        "Total length of `.*` across ranks is zero.*",  # predict with nothing left to do
        ".*recommended to use `self.log.*sync_dist=True.*",  # the Evaluator's values are gathered already
        "Checkpoint directory .* exists and is not empty.*",  # a resumed run's own
        "The `srun` command is available on your system but is not used.*",  # one process on a cluster is a choice
        "The dirpath has changed from .*",  # testing a checkpoint has a run folder of its own
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage() and "litmodels" not in record.getMessage()
    )


def run_lightning(arguments: Sequence[str]) -> int:
    """Parses, builds and runs one of Lightning's subcommands.

    Raises:
        UsageError: If the command line or a configuration is wrong.
    """
    _prepare_lightning()
    from ivif.callbacks.stop_requests import RunStoppedError
    from ivif.commands.parsing.command_line import rewrite
    from ivif.commands.train.cluster import report_stop
    from ivif.commands.train.devices import settle_missing_gpu
    from ivif.commands.train.failures import explain
    from ivif.commands.train.launchers import say_restart_advice
    from ivif.commands.train.lightning_cli import SuiteCLI
    from ivif.commands.train.run_folder import forget_run_folder, release_run_folder
    from ivif.machine.process_group import leave_process_group_at_exit

    leave_process_group_at_exit()
    settle_missing_gpu()
    say_restart_advice()
    try:
        cli = SuiteCLI.from_arguments(rewrite(arguments))
    except BaseException:  # a --help too: its folder may have been chosen by then
        forget_run_folder()
        raise
    try:
        cli.run()
    except RunStoppedError as stopped:
        return report_stop(stopped, cli.run_folder, cli.trainer)
    except KeyboardInterrupt:
        cli.tidy_failed_start()
        raise
    except SystemExit as ended:  # which Lightning makes of an interrupt
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        cli.tidy_failed_start()
        raise ended.__context__ from None
    except Exception as error:
        cli.tidy_failed_start()
        explained = explain(error, arguments[0], cli.datamodule.largest_batch, cli.run_folder)
        if explained is None:
            raise
        raise explained from error
    finally:
        release_run_folder(cli.run_folder)
    return 0
