"""A run in phases: which is going on at a share of the run, and how much of a level's own time has passed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """Where a run stands among its phases.

    Args:
        name: Of the present phase.
        number: Its place, from 1.
        count: How many phases the run has.
        start: Share of the run at which it begins.
        end: Share of the run at which it ends.
        fraction: Share of the phase that is finished, in [0, 1].
    """

    name: str
    number: int
    count: int
    start: float
    end: float
    fraction: float


class PhaseSchedule:
    """Phases one after the other; everything follows from the share of the run, so that a resumed run agrees.

    Args:
        lengths: Relative length of each phase, in order; one of length 0 does not take place.

    Raises:
        ValueError: If a length is negative, or none is positive.
    """

    def __init__(self, lengths: Mapping[str, float]) -> None:
        if min(lengths.values(), default=0.0) < 0 or not any(lengths.values()):
            listed = ", ".join(f"{name}={length:g}" for name, length in lengths.items())
            raise ValueError(
                f"phases: lengths must not be negative and one must be positive, got {listed}. Phases without what "
                f"they train (prompts, a detector) do not take place."
            )
        self.lengths = {name: length for name, length in lengths.items() if length > 0}
        self._total = sum(self.lengths.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The phases that take place, in order."""
        return tuple(self.lengths)

    def at(self, fraction: float) -> Phase:
        """The phase at a share of the run, in [0, 1]."""
        begun = 0.0
        for number, (name, length) in enumerate(self.lengths.items(), start=1):
            start, end = begun / self._total, (begun + length) / self._total
            if fraction < end or number == len(self.lengths):
                done = (fraction - start) / (end - start)
                return Phase(name, number, len(self.lengths), start, end, min(max(done, 0.0), 1.0))
            begun += length
        raise AssertionError("A schedule has at least one phase.")

    def fraction_of(self, name: str, fraction: float) -> float:
        """Share of one phase that is finished, in [0, 1], wherever the run stands; 0 for one that never takes place."""
        if name not in self.lengths:
            return 0.0
        before = sum(length for other, length in self._before(name))
        done = (fraction * self._total - before) / self.lengths[name]
        return min(max(done, 0.0), 1.0)

    def share_done(self, finished: Mapping[str, float]) -> float:
        """Share of several phases' time that has passed.

        Args:
            finished: Finished share of each of them, in [0, 1].
        """
        whole = sum(self.lengths.get(name, 0.0) for name in finished)
        done = sum(self.lengths.get(name, 0.0) * share for name, share in finished.items())
        return done / whole if whole else 0.0

    def _before(self, name: str) -> Iterable[tuple[str, float]]:
        for other, length in self.lengths.items():
            if other == name:
                return
            yield other, length
