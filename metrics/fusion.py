"""Fusion metrics over any number of batches: one as a monitor, or all of a table, per image, dataset and process."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from ivif.metrics.conventions import check_names, suite
from ivif.metrics.functional.triplet import Triplet
from ivif.metrics.preparation import GreyLevels, grey_levels
from ivif.metrics.registry import METRICS

_KEY_BYTES = 528
_NAME_BYTES = 512
_SEPARATOR = "\0"


class FusionMetric(Metric):
    """The mean of one metric over images, undefined values left out. `FusionMetrics` computes several for less.

    A repeated image counts twice here; where processes share a data set, use `FusionMetrics`.

    Args:
        name: A metric, out of `ivif.metrics.registry.METRICS`.
        convention: Name of a convention in `ivif.metrics.conventions.CONVENTIONS`.
        eight_bit: Whether images are scored as the 8-bit files that they would be saved as.
        **kwargs: Options of `torchmetrics.Metric`.

    Raises:
        ValueError: If the convention or the metric is unknown.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> metric = FusionMetric("Qabf")
        >>> metric.update(*(image / 255 for image in formula_triplet("average")))
        >>> round(metric.compute().item(), 4)
        0.3979
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, name: str, convention: str = "standard", eight_bit: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        (self.name,) = check_names([name])
        self.convention = suite(convention)
        self.eight_bit = eight_bit
        # a name of its kind: a `MetricCollection` updates only one of the metrics whose states look the same at first
        self._state = f"sums_{name}_{convention}_{eight_bit}"
        self.add_state(self._state, default=torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]  # torchmetrics has it per class
        """The direction, as `torchmetrics.MetricTracker` asks for it."""
        return METRICS[self.name].higher_is_better

    def update(self, fused: Tensor, infrared: Tensor, visible: Tensor) -> None:
        """Scores a batch.

        Args:
            fused: (B, 1 or 3, H, W) in [0, 1].
            infrared: (B, 1 or 3, H, W) in [0, 1].
            visible: (B, 1 or 3, H, W) in [0, 1].
        """
        with torch.no_grad():
            triplet = Triplet(*(grey_levels(image, self.eight_bit) for image in (fused, infrared, visible)))
            values = self.convention.score(triplet, [self.name])[self.name]
        defined = torch.isfinite(values)
        sums = torch.stack([torch.where(defined, values, 0.0).sum(), defined.sum(), (~defined).sum()])
        setattr(self, self._state, self._sums + sums)

    def compute(self) -> Tensor:
        """The mean, NaN if it is undefined for every image."""
        return self._sums[0] / self._sums[1]

    @property
    def undefined(self) -> int:
        """The number of images for which the metric is undefined."""
        return int(self._sums[2])

    @property
    def _sums(self) -> Tensor:
        sums: Tensor = getattr(self, self._state)
        return sums


class FusionMetrics(Metric):
    """Fusion metrics under a named convention, kept per image.

    Images are scored as the 8-bit files that they would be saved as: `round(255 x)`, then the luma of RGB images,
    rounded, so that tensors and files give the same figures. Metrics share their intermediate results. A value that is
    undefined for an image (a constant image, a fused image equal to a source) is NaN in `per_image`, left out of every
    mean, and missing from the count (`counts`). An image that several processes scored, as samplers repeat samples to
    fill batches, counts once. Half precision is promoted; a bfloat16 image has fewer than 256 grey levels to begin
    with.

    Args:
        names: Metrics, out of `ivif.metrics.registry.METRICS`; the convention's own by default.
        convention: Name of a convention in `ivif.metrics.conventions.CONVENTIONS`.
        chunk: Images that are computed on at once. Default: 1 on a CPU, where small buffers stay in the cache, and all
            elsewhere.
        eight_bit: Whether images are rounded to 8 bits first; otherwise they are scored as floats (a training monitor).
        **kwargs: Options of `torchmetrics.Metric`.

    Raises:
        ValueError: If the convention, a metric or the chunk size is unknown or invalid.

    Example:
        >>> from ivif.metrics.functional import formula_triplet
        >>> fused, infrared, visible = (image / 255 for image in formula_triplet("average"))
        >>> metrics = FusionMetrics(["EN", "Qabf"])
        >>> metrics.update(fused, infrared, visible, dataset=["formula"], name=["average"])
        >>> {name: round(value.item(), 4) for name, value in metrics.compute().items()}
        {'EN': 6.9019, 'Qabf': 0.3979}
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    values: list[Tensor] | Tensor
    keys: list[Tensor] | Tensor

    def __init__(
        self,
        names: Sequence[str] | None = None,
        convention: str = "standard",
        chunk: int | None = None,
        eight_bit: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}.")
        self.convention = suite(convention)
        self.names = check_names(self.convention.names if names is None else names)
        self.chunk = chunk
        self.eight_bit = eight_bit
        self._rows: list[dict[str, object]] = []
        self.add_state("values", default=[], dist_reduce_fx="cat")
        self.add_state("keys", default=[], dist_reduce_fx="cat")

    def update(
        self,
        fused: Tensor,
        infrared: Tensor | GreyLevels,
        visible: Tensor | GreyLevels,
        dataset: list[str],
        name: list[str],
    ) -> None:
        """Scores a batch.

        Args:
            fused: (B, 1 or 3, H, W) in [0, 1].
            infrared: (B, 1 or 3, H, W) in [0, 1]; or its grey levels, prepared once for several fused images.
            visible: (B, 1 or 3, H, W) in [0, 1]; or its grey levels.
            dataset: Dataset of each image.
            name: Name of each image, unique within its dataset.

        Raises:
            ValueError: If sizes or the numbers of images and names differ, or an image is too small for a metric.
        """
        if not len(fused) == len(infrared) == len(visible) == len(dataset) == len(name):
            raise ValueError(
                f"Got {len(fused)} fused, {len(infrared)} infrared and {len(visible)} visible images with "
                f"{len(dataset)} datasets and {len(name)} names; one of each per image is needed."
            )
        levels = [grey_levels(image, self.eight_bit) for image in (fused, infrared, visible)]
        step = self.chunk or (1 if fused.device.type == "cpu" else max(1, len(fused)))
        for start in range(0, len(fused), step):
            images = [image[start : start + step] for image in levels]
            self._append("values", self.score(Triplet(*images)))
        height, width = fused.shape[-2:]
        keys = [_encode(*names, width, height) for names in zip(dataset, name, strict=True)]
        self._append("keys", torch.cat(keys).to(self.device))

    def score(self, triplet: Triplet) -> Tensor:
        """Values (B, metrics) of grey images 0..255, float64; NaN: undefined."""
        with torch.no_grad():
            scores = torch.stack(list(self.convention.score(triplet, self.names).values()), dim=1)
        return torch.where(torch.isfinite(scores), scores, torch.full_like(scores, torch.nan)).to(self.device)

    def compute(self) -> dict[str, Tensor]:
        """The mean of every metric over all images for which it is defined; NaN where there is none.

        With several processes all of them must call this; `per_image`, `per_dataset` and `counts` then need no further
        communication.
        """
        self._rows = self._table()
        means = _means(self._rows, self.names)
        return {name: torch.tensor(means[name], dtype=torch.float64) for name in self.names}

    def per_image(self) -> list[dict[str, object]]:
        """One row per image, in the order of dataset and name.

        Keys are `dataset`, `name`, `width` and `height` at which it was scored, and every metric (NaN: undefined).
        """
        self.compute()
        return [dict(row) for row in self._rows]

    def per_dataset(self) -> dict[str, dict[str, float]]:
        """The means of each dataset: {dataset: {metric: mean}}."""
        self.compute()
        return {dataset: _means(rows, self.names) for dataset, rows in self._by_dataset().items()}

    def counts(self) -> dict[str, dict[str, int]]:
        """For how many images of each dataset a metric is defined: {dataset: {metric: n}}; "images" counts all."""
        self.compute()
        return {
            dataset: {"images": len(rows)} | {name: len(_defined(rows, name)) for name in self.names}
            for dataset, rows in self._by_dataset().items()
        }

    def reset(self) -> None:
        """Forgets all images."""
        super().reset()
        self._rows = []

    def _by_dataset(self) -> dict[str, list[dict[str, object]]]:
        groups: dict[str, list[dict[str, object]]] = {}
        for row in self._rows:
            groups.setdefault(str(row["dataset"]), []).append(row)
        return groups

    def _append(self, state: str, value: Tensor) -> None:
        stored = getattr(self, state)
        # after a synchronised or merged state torchmetrics may hold one tensor instead of a list
        setattr(self, state, [*stored, value] if isinstance(stored, list) else [stored, value])

    def _table(self) -> list[dict[str, object]]:
        values, keys = (state if isinstance(state, Tensor) else _cat(state) for state in (self.values, self.keys))
        rows: dict[tuple[str, str], dict[str, object]] = {}
        for key, numbers in zip(keys.cpu(), values.cpu().tolist(), strict=True):
            place = _decode(key)
            names = str(place["dataset"]), str(place["name"])
            if names not in rows:
                rows[names] = place | dict(zip(self.names, numbers, strict=True))
        return [rows[key] for key in sorted(rows)]

    def _sync_dist(
        self,
        dist_sync_fn: Callable[..., Any] = gather_all_tensors,
        process_group: Any = None,
    ) -> None:
        # torchmetrics would send a float32 vector for a process without images, which fits neither state
        if not len(self.values):
            self.values = [torch.zeros((0, len(self.names)), dtype=torch.float64, device=self.device)]
            self.keys = [torch.zeros((0, _KEY_BYTES), dtype=torch.uint8, device=self.device)]
        super()._sync_dist(dist_sync_fn, process_group)


def _means(rows: list[dict[str, object]], names: Sequence[str]) -> dict[str, float]:
    return {name: _mean(_defined(rows, name)) for name in names}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _defined(rows: list[dict[str, object]], name: str) -> list[float]:
    values = (row[name] for row in rows)
    return [value for value in values if isinstance(value, float) and not math.isnan(value)]


def _cat(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts else torch.zeros((0, 0))


def _encode(dataset: str, name: str, width: int, height: int) -> Tensor:
    names = f"{dataset}{_SEPARATOR}{name}".encode()
    if len(names) > _NAME_BYTES:
        raise ValueError(f"The name of '{dataset}/{name}' is longer than {_NAME_BYTES} bytes; shorten it.")
    text = names + f"{_SEPARATOR}{width}{_SEPARATOR}{height}".encode()
    return torch.tensor([*text, *bytes(_KEY_BYTES - len(text))], dtype=torch.uint8).view(1, -1)


def _decode(key: Tensor) -> dict[str, object]:
    dataset, name, width, height = bytes(key.tolist()).rstrip(b"\0").decode().split(_SEPARATOR)
    return {"dataset": dataset, "name": name, "width": int(width), "height": int(height)}
