"""English sentences about an image from its boxes and its brightness: the `fine` prompts of From Text to Pixels."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from torch import Tensor

from ivif.contracts.batch import Targets, plane_to_float
from ivif.contracts.class_synonyms import singular
from ivif.image_ops.color import luma

TIME_PHRASES: Final = {
    "day": "A daytime {place}",
    "bright": "A bright daytime {place}",
    "dusk": "A {place} at dusk",
    "night": "A {place} at night",
    "fog": "A foggy {place}",
}
NIGHT_BELOW: Final = 55 / 255
DUSK_BELOW: Final = 80 / 255
"""Mean visible luma in [0, 1] below which it is night, or dusk. MSRS: 95 % of its night images lie below 47/255, and
95 % of its day images above 66/255."""

NEAR_FROM: Final = 0.2
FAR_BELOW: Final = 0.08
"""Share of the image's height from which on an object is near, and below which it is far; nothing is said between."""

MOST_GROUPS: Final = 6
"""Groups of objects in one sentence; CLIP reads no more than 77 tokens."""

NUMBERS: Final = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
PLURALS: Final = {"person": "people", "bus": "buses", "man": "men", "woman": "women", "child": "children"}


def time_of_day(visible: Tensor) -> str:
    """Guesses `day`, `dusk` or `night` from the mean luma.

    Args:
        visible: (3, H, W) RGB, uint8 or float32 in [0, 1].
    """
    thinned = plane_to_float(visible[:, ::4, ::4].contiguous())
    mean = float(luma(thinned[None]).mean())
    if mean < NIGHT_BELOW:
        return "night"
    return "dusk" if mean < DUSK_BELOW else "day"


def describe(
    time: str, targets: Targets | None, classes: Sequence[str], size: tuple[int, int], place: str = "scene"
) -> str:
    """One sentence: time of day, then how many objects of each class are where.

    Args:
        time: A key of `TIME_PHRASES`.
        targets: The objects; None where nobody has looked for any, and nothing is said about them.
        classes: Name of each label.
        size: Height and width of the image, in pixels.
        place: What kind of view it is.

    Returns:
        A sentence such as "A road scene at night with two people near on the left and one car in the centre."

    Raises:
        ValueError: If `time` is unknown.

    Example:
        >>> import torch
        >>> boxes = torch.tensor([[0.0, 10.0, 20.0, 60.0], [50.0, 40.0, 55.0, 46.0]])
        >>> describe("night", {"boxes": boxes, "labels": torch.tensor([0, 1])}, ("person", "car"), (100, 100))
        'A scene at night with one person near on the left and one car far in the centre.'
    """
    if time not in TIME_PHRASES:
        raise ValueError(f"No time of day '{time}'; known: {', '.join(TIME_PHRASES)}.")
    opening = TIME_PHRASES[time].format(place=place)
    if targets is None:
        return f"{opening}."
    groups = _groups(targets, classes, size)
    if not groups:
        return f"{opening} with no objects."
    phrases = [f"{counted(name, count)}{where}" for (name, where), count in groups[:MOST_GROUPS]]
    rest = sum(count for _, count in groups[MOST_GROUPS:])
    if rest:
        phrases.append(f"{counted('other object', rest)}")
    return f"{opening} with {enumerated(phrases)}."


def _groups(targets: Targets, classes: Sequence[str], size: tuple[int, int]) -> list[tuple[tuple[str, str], int]]:
    """((class, where), count), by class, then left to right, then near to far; rare groups give way to common ones."""
    counts: Counter[tuple[int, int, int]] = Counter()
    height, width = size
    for (left, top, right, bottom), label in zip(targets["boxes"].tolist(), targets["labels"].tolist(), strict=True):
        third = min(2, max(0, int(1.5 * (left + right) / width)))
        share = (bottom - top) / height
        counts[int(label), third, 0 if share >= NEAR_FROM else 2 if share < FAR_BELOW else 1] += 1
    kept = sorted(counts, key=lambda group: (group[2], -counts[group], group))[:MOST_GROUPS]
    ordered = [*sorted(kept), *(group for group in sorted(counts) if group not in kept)]
    distances, sides = (" near", "", " far"), (" on the left", " in the centre", " on the right")
    return [((_singular(classes[c]), distances[d] + sides[s]), counts[c, s, d]) for c, s, d in ordered]


def enumerated(phrases: Sequence[str]) -> str:
    """Phrases joined as English does: commas, and `and` before the last.

    Example:
        >>> enumerated(["a car", "a lamp", "a person"])
        'a car, a lamp and a person'
    """
    *others, last = phrases
    return f"{', '.join(others)} and {last}" if others else last


def counted(name: str, count: int) -> str:
    """A number in words, and the noun in its number: `two people`."""
    return f"{number_word(count)} {name if count == 1 else _plural(name)}"


def number_word(count: int) -> str:
    """A number up to twelve in words, a larger one in digits."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def _singular(name: str) -> str:
    return singular(name.lower().replace("_", " ").strip())


def _plural(name: str) -> str:
    *front, last = name.split(" ")
    return " ".join([*front, PLURALS.get(last) or _regular_plural(last)])


def _regular_plural(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"
