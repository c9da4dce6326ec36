"""What packages of other people add: their methods, datasets, metrics and bilevel schemes, by installed entry points.

A package says in its metadata what it brings, and whoever installs it can name that as if it were ours:

    [project.entry-points."ivif.methods"]
    TinyFusion = "tiny_fusion.task:TinyFusionTask"

`ivif.methods` are tasks and `ivif.datasets` datamodules, by the names that configurations give as `class_path`;
`ivif.metrics` are entries of the kind of `ivif.metrics.registry`, and `ivif.schemes` solvers of bilevel problems. A
package's configurations lie in its folder `configs`, where bare names such as `--config tiny.yaml` find them. Nothing
of a package is imported before one of its names is used.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

METHODS: Final = "ivif.methods"
DATASETS: Final = "ivif.datasets"
METRICS: Final = "ivif.metrics"
SCHEMES: Final = "ivif.schemes"
GROUPS: Final = (METHODS, DATASETS, METRICS, SCHEMES)
"""Kinds of parts that a package can bring."""


class PluginError(ValueError):
    """An installed package whose entry point cannot be used; the message names the package."""


@cache
def installed(group: str) -> dict[str, EntryPoint]:
    """The parts of a group that installed packages bring, by name.

    Raises:
        PluginError: If two packages bring parts of one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise PluginError(
                f"Two installed packages bring the {group} '{entry.name}': {_package(other)} and {_package(entry)}. "
                f"Uninstall one of them."
            )
    return found


def class_path(entry: EntryPoint) -> str:
    """An entry point's object as configurations name it: `package.module.Class`."""
    return f"{entry.module}.{entry.attr}"


def loaded(group: str, name: str) -> Any:
    """The object behind a name.

    Raises:
        PluginError: If its package cannot be imported, or lacks it.
    """
    entry = installed(group)[name]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"The {group} '{name}' of the installed package {_package(entry)} cannot be imported: {error}. Install "
            f"what it needs, or uninstall it."
        ) from error


def packages() -> tuple[str, ...]:
    """Names of all top-level packages that bring something."""
    entries = (entry for group in GROUPS for entry in installed(group).values())
    return tuple(dict.fromkeys(entry.module.partition(".")[0] for entry in entries))


def config_folders() -> list[Path]:
    """Folders `configs` of the packages that bring something."""
    found = []
    for name in packages():
        spec = find_spec(name)  # of a top-level package: imports nothing
        found += [Path(place) / "configs" for place in (spec.submodule_search_locations if spec else None) or ()]
    return [folder for folder in found if folder.is_dir()]


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module
