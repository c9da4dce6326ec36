"""W&B as the dashboard of a run: offline unless told otherwise, and never in the way of the run."""

import netrc
import os
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import yaml
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from PIL import Image

from ivif.callbacks.boxes import overlay
from ivif.callbacks.dashboards import Dashboard, read_records
from ivif.callbacks.server_check import unreachable
from ivif.contracts.batch import Boxes
from ivif.contracts.run_files import CONFIG
from ivif.files.inside import read_inside
from ivif.files.whole import write_whole
from ivif.metrics.registry import METRICS

RUN_ID: Final = "wandb_run_id"
"""File of the run folder that holds the id of its W&B run, so that a resumed run continues it."""

_LONGEST_ID: Final = 1000
STEP: Final = "trainer/global_step"
"""The axis of every curve."""

ANSWER_SECONDS: Final = 3.0
"""How long the server may take to say that it is there."""

_QUERY: Final = ("/graphql", b'{"query": "{ viewer { id } }"}')
"""What W&B's own client asks first; without a key it is answered that there is no viewer."""

START_SECONDS: Final = 5.0
"""How long it may take to open the run, once the server is there, unless `WANDB_INIT_TIMEOUT` says otherwise; a start
waits less than 10 seconds for W&B in all."""

FINISH_SECONDS: Final = 120.0
"""How long the end of a run may wait for uploads; the rest is kept on disk, for `wandb sync`."""

Mode = Literal["offline", "online", "disabled"]


class WandbRun(WandbLogger, Dashboard):
    """One W&B run per run folder, `RUN_FOLDER/wandb/`.

    Online means: if a key is there and the server answers. Otherwise the run goes on offline and says so, without
    asking for a login. `wandb sync RUN_FOLDER/wandb/offline-run-*` uploads it later.

    Args:
        mode: `offline` writes to disk only. `None` takes the environment's WANDB_MODE, else `offline`.
        project: Where the run is shown.
        entity: Whose project; `None` is W&B's default for the key.
        tags: For filtering.
        checkpoint: `best` keeps the best checkpoint (the newest, where nothing ranks them) as an artifact.
    """

    def __init__(
        self,
        mode: Mode | None = None,
        project: str = "ivif-lightning",
        entity: str | None = None,
        tags: Sequence[str] = (),
        checkpoint: Literal["none", "best"] = "none",
    ) -> None:
        super().__init__(project=project, entity=entity, tags=list(tags))
        self.mode: Mode | None = mode
        self.checkpoint = checkpoint
        self._folder: Path | None = None
        self._best: ModelCheckpoint | None = None

    @property
    def project(self) -> str:
        """Where the run is shown."""
        return str(self._wandb_init["project"])

    @project.setter
    def project(self, name: str) -> None:
        self._wandb_init["project"] = self._project = name

    def place(self, folder: Path, job: str) -> None:
        """Names the run after its folder, and takes up the W&B run that the folder holds."""
        self._folder = folder
        self._save_dir = str(folder)
        stored = folder / RUN_ID
        self._id = read_inside(stored, folder, _LONGEST_ID).decode().strip() if stored.is_file() else None
        experiment = folder.parent.name
        self._wandb_init |= {
            "dir": str(folder.absolute()),  # W&B writes from another process, which may stand elsewhere
            "name": f"{experiment}/{folder.name}",
            "group": experiment,
            "job_type": job,
            "id": self._id or os.environ.get("WANDB_RUN_ID"),  # a sweep's agent has chosen it
        }

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run, opened when first asked for."""
        if self._experiment is None:
            self._experiment = self._open()
            _define_metrics(self._experiment)
            if self._folder is not None and not self._experiment.disabled:
                write_whole(self._folder / RUN_ID, f"{self._experiment.id}\n")
        return self._experiment

    def _open(self) -> Any:
        import wandb

        start_wandb()
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)  # W&B falls back to a temporary folder otherwise
        mode = self.mode or os.environ.get("WANDB_MODE") or "offline"
        if mode == "online":
            obstacle = _obstacle(wandb.setup().settings.base_url)  # of the user's settings: `start_wandb`
            if obstacle is None:
                try:
                    return self._init("online", resume="allow")
                except wandb.errors.Error as error:
                    obstacle = str(error).strip().partition("\n")[0]
            rank_zero_info(
                f"W&B: the run goes on offline, because {obstacle}. Upload it later: wandb sync "
                f"{self._folder or '.'}/wandb/offline-run-*"
            )
            mode = "offline"
        return self._init(mode)

    def _init(self, mode: str, resume: str | None = None) -> Any:
        import wandb

        options = {name: value for name, value in self._wandb_init.items() if name not in ("anonymous", "resume")}
        seconds = float(os.environ.get("WANDB_INIT_TIMEOUT", START_SECONDS))
        settings = wandb.Settings(init_timeout=seconds, finish_timeout=FINISH_SECONDS)
        return wandb.init(**options, mode=mode, resume=resume, settings=settings)  # type: ignore[arg-type]

    def show_picture(
        self,
        key: str,
        picture: Image.Image,
        step: int,
        boxes: Mapping[str, Boxes] | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        """A picture with its boxes as overlays, to be switched on and off per class."""
        overlays = {name: overlay(own, class_names) for name, own in (boxes or {}).items()}
        self.log_image(key, [picture], step=step, **({"boxes": [overlays]} if overlays else {}))

    def show_table(self, path: Path) -> None:
        """A W&B table `tables/<name>`, to be sorted, filtered and plotted."""
        from ivif.files.table_files import read_table  # brings pandas

        self.log_table(f"tables/{path.stem}", dataframe=read_table(path))

    @rank_zero_only
    def show_record(self, folder: Path) -> None:
        """The configuration as the run's config; all records as its files."""
        for name, content in read_records(folder):
            copy = Path(self.experiment.dir) / "record" / name
            write_whole(copy, content, durable=False)
            self.experiment.save(str(copy), base_path=self.experiment.dir, policy="now")
            if name == Path(CONFIG):
                self.log_hyperparams(yaml.safe_load(content))

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Notes who knows the best checkpoint."""
        self._best = checkpoint_callback

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Keeps the best checkpoint, if asked for, and closes the run."""
        if self._experiment is None:
            return
        if status == "success" and self.checkpoint == "best" and self._best is not None:
            self._keep(self._best)
        self._id = self._wandb_init["id"] = self._experiment.id
        self._experiment.finish(exit_code=0 if status == "success" else 1)
        self._experiment = None

    def _keep(self, callback: ModelCheckpoint) -> None:
        import wandb

        path = Path(callback.best_model_path or callback.last_model_path)
        if not path.is_file():
            return
        score = callback.best_model_score
        found = {"file": path.name, "monitor": callback.monitor, "score": None if score is None else float(score)}
        artifact = wandb.Artifact(f"checkpoint-{self.experiment.id}", type="model", metadata=found)
        artifact.add_file(str(path), name="model.ckpt")
        self.experiment.log_artifact(artifact, aliases=["best"])


def start_wandb() -> None:
    """Has W&B read its settings from the user's folder and environment, and not from the working folder.

    `./wandb/settings` comes with a stranger's folder, and could name the host that the key is sent to.
    """
    import wandb

    here = Path.cwd()
    given = [path for path in (here / "wandb/settings", here / ".wandb/settings") if os.path.lexists(path)]
    if not given:
        wandb.setup()
        return
    rank_zero_info(
        f"W&B: {given[0]} is not read. Settings belong into ~/.config/wandb/settings or the environment, such as "
        f"WANDB_BASE_URL."
    )
    with TemporaryDirectory() as empty, chdir(empty):  # W&B takes the working folder's file, and has no option for it
        wandb.setup(settings=wandb.Settings(root_dir=str(here)))


def _obstacle(address: str) -> str | None:
    """Why nothing can be sent to a W&B server; None where nothing is known to be in the way."""
    if not _has_key(address):
        return f"there is no key for {address} (`wandb login`, or WANDB_API_KEY)"
    reason = unreachable(address, ANSWER_SECONDS, _QUERY)
    return None if reason is None else f"{address} cannot be used ({reason})"


def _has_key(address: str) -> bool:
    """Whether W&B would find credentials where it looks for them, without asking for any."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    path = Path(os.environ.get("NETRC") or Path.home() / ".netrc").expanduser()
    try:
        return path.is_file() and netrc.netrc(path).authenticators(urlsplit(address).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _define_metrics(run: Any) -> None:
    """The axis of every curve, and which value of a metric the table of runs shows: the best one."""
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    for name, entry in METRICS.items():
        run.define_metric(f"val/{name}", step_metric=STEP, summary="max" if entry.higher_is_better else "min")
    for name in ("mAP50", "mAP50_95"):
        run.define_metric(f"val/{name}", step_metric=STEP, summary="max")
    run.define_metric("train/loss", step_metric=STEP, summary="min")
