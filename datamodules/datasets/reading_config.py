"""How files are read: the options that every dataset has."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, get_args

from ivif.datamodules.datasets.boxes import DEFAULT_RULE, BoxRule
from ivif.datamodules.datasets.infrared_color import InfraredColor
from ivif.datamodules.datasets.thermal import DEFAULT_THERMAL_RANGE, ThermalRange
from ivif.files.pictures import MAX_PIXELS


@dataclass(frozen=True)
class ShardCache:
    """Where shards of an object store (`root: s3://bucket/prefix`) are kept when they were fetched.

    Args:
        folder: The folder, as `loading.cache_dir`; it may be deleted.
        gigabytes: How much of a packed dataset is kept. Its first shards, as many as fit, are fetched once; of the
            others each picture is fetched when it is read.

    Raises:
        ValueError: If `gigabytes` is negative.
    """

    folder: Path = Path(".cache/shards")
    gigabytes: float = 50.0

    def __post_init__(self) -> None:
        if not self.gigabytes >= 0:
            raise ValueError(f"reading.shards.gigabytes is {self.gigabytes}; it must be 0 or more.")

    @property
    def bytes(self) -> float:
        """The limit in bytes."""
        return self.gigabytes * 1e9


@dataclass(frozen=True)
class ReadingConfig:
    """How files are read, the same options for every dataset.

    Args:
        thermal_range: How infrared of more than 8 bits becomes [0, 1].
        infrared_color: Infrared stored in false colours: `invert` turns those of a known palette back into intensities
            and stops at others, `luma` takes the luma of any, `refuse` stops.
        labels: Read boxes where the dataset has them. Without, samples have no `targets`.
        missing_labels: A pair without a label file, where other pairs have one: `empty` takes it as an image without
            objects (one warning), `drop` leaves the pair out, `error` stops.
        unknown_labels: An object of a class that the dataset does not declare: `error` stops, `ignore` leaves it out.
        ignored_classes: Names of objects that are no objects to learn or to score: where they lie, finding any class is
            neither right nor wrong, as with KAIST's `[people, "person?"]`. As the labels write them, in any case.
        declared_sizes: A label file that declares another size than its picture has: `scale` scales its boxes where
            the proportions agree and stops where they do not; `ignore` takes them as pixels of the picture.
        minimum_box_side: Boxes with a shorter side than this, in pixels and after clipping to the image, are dropped.
        strict: Stop if a file has no partner (otherwise one warning and an entry in the pairing report).
        max_pixels: Most pixels of an image; a file whose header announces more is refused before it is decoded.
        shards: Where shards of an object store are kept.
    """

    thermal_range: ThermalRange = DEFAULT_THERMAL_RANGE
    infrared_color: InfraredColor = "invert"
    labels: bool = True
    missing_labels: Literal["empty", "drop", "error"] = "empty"
    unknown_labels: Literal["error", "ignore"] = "error"
    ignored_classes: tuple[str, ...] = ()
    declared_sizes: Literal["scale", "ignore"] = "scale"
    minimum_box_side: float = 1.0
    strict: bool = False
    max_pixels: int = MAX_PIXELS
    shards: ShardCache = ShardCache()

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"reading.max_pixels is {self.max_pixels}; it must be 1 or more.")
        if self.missing_labels not in ("empty", "drop", "error"):
            raise ValueError(f"reading.missing_labels is '{self.missing_labels}'; known: empty, drop, error.")
        if self.infrared_color not in get_args(InfraredColor):
            raise ValueError(
                f"reading.infrared_color is '{self.infrared_color}'; known: {', '.join(get_args(InfraredColor))}."
            )
        if self.declared_sizes not in ("scale", "ignore"):
            raise ValueError(f"reading.declared_sizes is '{self.declared_sizes}'; known: scale, ignore.")

    @property
    def box_rule(self) -> BoxRule:
        """What transforms keep of a box: the usual rule, but no smaller boxes than the reader takes."""
        return replace(DEFAULT_RULE, minimum_side=max(DEFAULT_RULE.minimum_side, self.minimum_box_side))


DEFAULT_READING: Final = ReadingConfig()
