"""Scores of fused pictures against their pairs: which pairs count, and the values of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rich.progress import Progress
from torch import Tensor

from ivif.commands.report.score_inputs import ScoreInputs, read_picture, size
from ivif.files.errors import UserError
from ivif.image_ops.color import recolor, split_luma_chroma
from ivif.metrics.conventions import suite
from ivif.metrics.functional import Triplet
from ivif.metrics.preparation import grey_levels

Row = tuple[str, str, str, str, float, str, int, int]
"""A row of `per_image.csv` (`ivif.commands.report.tables.COLUMNS`)."""


@dataclass
class Scoring:
    """Scores pairs, and leaves out what cannot be compared.

    By default only the pairs count that all methods have: means over different pictures say nothing about the methods.
    A method without a usable picture, or without a pair that the others have, does not count among them.

    Attributes:
        inputs: Pairs, fused files and problems.
        conventions: Convention -> metrics.
        classic: Whether the classic rules are scored too.
        device: Where to compute.
        every_pair: Whether each method is scored on all pairs that it has, whatever others lack.
        usable: Method -> names of the pairs for which it has a picture that can be scored.
        rows: What was scored; of pairs that do not count in the end too.
    """

    inputs: ScoreInputs
    conventions: Mapping[str, tuple[str, ...]]
    classic: bool
    device: str
    every_pair: bool
    usable: dict[str, set[str]] = field(init=False)
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Takes all files that are there for usable."""
        self.usable = {method: set(files) for method, files in self.inputs.methods.items()}

    def run(self, progress: Progress) -> list[Row]:
        """Scores all pairs that count; returns the rows of these and of the methods that could be compared.

        What turns out to be unusable changes which pairs count, so that further ones may have to be scored.
        """
        scored: set[str] = set()
        while left := self.counted() - scored:
            methods, names = self.compared(), [name for name in self.inputs.pairs if name in left]
            for name in progress.track(names, description="scoring"):
                self._score(name, methods)
            scored.update(names)
        methods, counted = self.compared(), self.counted()
        own = [row for row in self.rows if row[1] in counted]
        return [row for row in own if row[0] in methods or row[0] not in self.inputs.methods]

    def compared(self) -> list[str]:
        """The methods that are in the tables."""
        kept = {method: names for method, names in self.usable.items() if names}
        while not self.every_pair and kept and not set.intersection(*kept.values()):
            del kept[min(reversed(kept), key=lambda method: len(kept[method]))]
        return list(kept)

    def counted(self) -> set[str]:
        """The names of the pairs that count."""
        names = [self.usable[method] for method in self.compared()]
        if not names:
            return set()
        return set(self.inputs.pairs) if self.every_pair else set.intersection(*names)

    def _score(self, name: str, methods: list[str]) -> None:
        """Adds the rows of a pair, or takes it out of the pairs where it cannot be used."""
        pair = self.inputs.pairs[name]
        try:
            sources = pair.read()
        except (UserError, ValueError) as error:
            self._drop(name, "of a pair that cannot be used", f"{name}: {error}")
            return
        own = [method for method in methods if name in self.usable[method]]
        pictures = {method: found for method in own if (found := self._read(method, name, sources)) is not None}
        if self.classic:
            pictures |= _classic(self.inputs, sources)
        try:
            self.rows += self._values(name, sources, pictures)
        except ValueError as error:
            self._drop(name, "of a pair too small for a metric", f"'{name}' cannot be scored: {error} See --metrics.")

    def _drop(self, name: str, kind: str, text: str) -> None:
        self.inputs.problems.add(kind, text)
        del self.inputs.pairs[name]
        for names in self.usable.values():
            names.discard(name)

    def _read(self, method: str, name: str, sources: tuple[Tensor, Tensor]) -> Tensor | None:
        """The grey levels of a fused picture; None, with a problem, where it cannot be scored."""
        path = self.inputs.methods[method][name]
        try:
            fused = read_picture(path, self.inputs.max_pixels, colour=True)
        except UserError as error:  # which names the file
            kind, text = "unreadable", f"{error} Left out."
        except ValueError as error:
            kind, text = "unreadable", f"{path}: {error} Left out."
        else:
            if fused.shape[2:] == sources[0].shape[2:]:
                return grey_levels(fused)
            kind = "of another size than their pair"
            text = f"{path} is {size(fused)}, its pair is {size(sources[0])}: {method} is not scored on '{name}'"
        self.inputs.problems.add(kind, text)
        self.inputs.unusable.setdefault(method, text)
        self.usable[method].discard(name)
        return None

    def _values(self, name: str, sources: tuple[Tensor, Tensor], pictures: Mapping[str, Tensor]) -> list[Row]:
        height, width = sources[0].shape[2:]
        levels = [grey_levels(source).to(self.device) for source in sources]
        rows: list[Row] = []
        for method, fused in pictures.items():
            triplet = Triplet(fused.to(self.device), *levels)
            for convention, chosen in self.conventions.items():
                for metric, value in suite(convention).score(triplet, chosen).items():
                    number = float(value)
                    number = number if abs(number) < float("inf") else float("nan")
                    dataset = self.inputs.pairs[name].dataset
                    rows.append((method, name, convention, metric, number, dataset, width, height))
        return rows


def _classic(inputs: ScoreInputs, sources: tuple[Tensor, Tensor]) -> Iterator[tuple[str, Tensor]]:
    from ivif.models.classic import CLASSIC_FUSIONS

    visible_luma, chroma = split_luma_chroma(sources[1])
    for method, fuse in CLASSIC_FUSIONS.items():
        label = f"{method} (classic)" if method in inputs.methods else method
        yield label, grey_levels(recolor(fuse(sources[0], visible_luma), chroma))
