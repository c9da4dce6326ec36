"""What a user can set about loading and transforming, as frozen dataclasses that YAML shows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ivif.files.places import home

Stage = Literal["train", "val", "test"]
"""Stages of a manifest."""

PredictStage = Literal["train", "val", "test", "all"]
"""What `predict` may fuse: a stage's pairs, or every pair on disk whatever the manifest says."""


@dataclass(frozen=True)
class LoadingConfig:
    """How batches are made.

    Args:
        batch_size: Training pairs per batch and process. Evaluation uses 1 unless `transforms.resize` is set.
        predict_batch: Pairs that `predict` fuses at a time, if they have one size and stand next to each other. More
            than 1 saves time where pictures are small; sums may then be rounded otherwise.
        share_batch: Whether all processes together have `batch_size` pairs, so that a step is the same for any number
            of them.
        balance: Whether an epoch draws as many pairs of each dataset, where several are mixed. It stays as long as it
            was; of small datasets pairs come repeatedly, of large ones some do not come in every epoch.
        num_workers: Loader processes per training process; 0 loads in the training process.
        seed: Seed of order and augmentation, by default the run's own (`seed_everything`). The same seed gives the same
            draws for any number of workers.
        cache: Where decoded training and validation pairs are kept from one epoch to the next: `none` decodes them at
            every visit, `ram` takes memory (in every training process), `disk` writes a file that later runs use too.
            A pair takes 4 bytes for each pixel; the size is said up front. Test and prediction see a pair once: they
            read its files.
        cache_dir: Folder of the `disk` cache; a relative one lies in the clone, wherever a run is started,
            and in the current folder where the suite is installed without one. Its
            files are made again when they are missing, so it may be deleted.

    Raises:
        ValueError: If a number is out of range or `cache` is unknown.
    """

    batch_size: int = 16
    predict_batch: int = 1
    share_batch: bool = False
    balance: bool = False
    num_workers: int = 2
    seed: int | None = None
    cache: Literal["none", "ram", "disk"] = "none"
    cache_dir: Path = Path(".cache/decoded")

    def __post_init__(self) -> None:
        for name in ("batch_size", "predict_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"loading.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.num_workers < 0:
            raise ValueError(f"loading.num_workers is {self.num_workers}; it must be 0 or more.")
        if self.cache not in ("none", "ram", "disk"):
            raise ValueError(f"loading.cache is '{self.cache}'; known: none, ram, disk.")

    @property
    def cache_folder(self) -> Path:
        """`cache_dir`, absolute."""
        return home() / self.cache_dir


@dataclass(frozen=True)
class TransformConfig:
    """What happens to a pair between disk and batch. All geometry moves infrared, visible, boxes and planes together.

    Frames are made first (`clip_size`, `resize`, `saliency`), then joined (`mosaic`), then changed (`zoom`, `crop`,
    `flip`, `rotate90`, `jitter`): the latter two steps in training alone. For detectors on street scenes, say:
    `{crop: null, resize: [256, 320], flip: horizontal, rotate90: false, zoom: [0.7, 1.5], mosaic: 0.5, jitter: 0.2}`.

    Args:
        crop: Side of the random square training crop in pixels; smaller images are padded; `None` keeps whole frames.
        flip: Random horizontal and vertical flips; `horizontal`: for scenes that have an up and a down.
        rotate90: Random rotation by a multiple of 90 degrees. Frames that are not square (`crop: null`) are turned by
            180 alone, because a batch has one size.
        jitter: Strength in [0, 1] of brightness, contrast and saturation jitter on the visible image alone.
        resize: (height, width) that every frame of training and validation is resized to first; `None` keeps native
            sizes.
        test_resize: The same for test, whose pairs keep their own size by default, as in `predict`: tables of fusion
            are of the pictures themselves.
        clip_size: Side of the `clip_view_*` planes (the whole frame, squashed, not augmented); `None` leaves them out.
            The command line fills it in for tasks that ask for `clip_view: full`.
        zoom: Least and largest factor by which training frames are randomly shown smaller (grey around them) or larger
            (a random window), at constant size.
        mosaic: Probability that a training frame is joined from parts of four pairs of one size, of which the first
            gives name and prompt. Loads four pairs for one.
        saliency: Add the `saliency` plane (infrared, visible luma) to training frames, computed before anything is cut.

    Raises:
        ValueError: If a number is out of range, or `mosaic` is combined with `clip_size`.
    """

    crop: int | None = 256
    flip: bool | Literal["horizontal"] = True
    rotate90: bool = True
    jitter: float = 0.0
    resize: tuple[int, int] | None = None
    test_resize: tuple[int, int] | None = None
    clip_size: int | None = None
    zoom: tuple[float, float] | None = None
    mosaic: float = 0.0
    saliency: bool = False

    def frame_size(self, stage: str) -> tuple[int, int] | None:
        """(height, width) of every frame of `train`, `val`, `test` or `predict`; None: each has its own."""
        return {"test": self.test_resize, "predict": None}.get(stage, self.resize)

    def __post_init__(self) -> None:
        if self.crop is not None and self.crop < 8:
            raise ValueError(f"transforms.crop is {self.crop}; it must be at least 8 pixels, or null for whole frames.")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"transforms.jitter is {self.jitter}; it must lie in [0, 1].")
        for name, size in (("resize", self.resize), ("test_resize", self.test_resize)):
            if size is not None and min(size) < 8:
                raise ValueError(f"transforms.{name} is {size}; height and width must be at least 8 pixels.")
        if self.clip_size is not None and self.clip_size < 1:
            raise ValueError(f"transforms.clip_size is {self.clip_size}; it must be at least 1 pixel, or null.")
        if self.flip not in (True, False, "horizontal"):
            raise ValueError(f"transforms.flip is {self.flip!r}; known: true, false, horizontal.")
        if self.zoom is not None and not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"transforms.zoom is {self.zoom}; give two positive factors, the smaller one first.")
        if not 0 <= self.mosaic <= 1:
            raise ValueError(f"transforms.mosaic is {self.mosaic}; it must lie in [0, 1].")
        if self.mosaic and self.clip_size:
            raise ValueError(
                "transforms.mosaic joins four pairs, but clip views and their cached features stand for one: set "
                "transforms.mosaic to 0, or let the task take its CLIP view from the crop."
            )


def with_clip_size(config: TransformConfig, size: int) -> TransformConfig:
    """The same transforms with `clip_view_*` planes of the given side, unless the user chose another."""
    return config if config.clip_size else replace(config, clip_size=size)
