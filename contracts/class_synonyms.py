"""Names that mean one class, wherever label files, weights files and sentences use them."""

from typing import Final

SYNONYMS: Final = (
    (("person", "people", "persons"), ("pedestrian", "pedestrians")),
    (("bicycle", "bicycles"), ("bike",), ("cyclist",)),
    (("motorcycle", "motorcycles", "motor"), ("motorbike",)),
    (("car", "cars"),),
    (("bus", "buses"),),
    (("truck", "trucks"),),
    (("lamp", "lamps"), ("streetlamp",), ("trafficlight",)),
)
"""A row for each class: its words in lower case, each in the singular and then in other forms."""

_CLASSES: Final = {form: row[0][0] for row in SYNONYMS for word in row for form in word}
_SINGULARS: Final = {form: word[0] for row in SYNONYMS for word in row for form in word}


def class_of(name: str) -> str:
    """The class that a name in lower case stands for; a name without synonyms stands for itself.

    Example:
        >>> class_of("pedestrians"), class_of("bike"), class_of("tram")
        ('person', 'bicycle', 'tram')
    """
    return _CLASSES.get(name, name)


def singular(name: str) -> str:
    """The word for one of what a name in lower case means; an unknown name is taken for a singular.

    Example:
        >>> singular("people"), singular("pedestrians")
        ('person', 'pedestrian')
    """
    return _SINGULARS.get(name, name)
