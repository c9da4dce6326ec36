"""The schemes: a file and an entry in this table for each; installed packages add theirs (`contracts.plugins`)."""

from collections.abc import Mapping
from typing import Final

from ivif.bilevel.schemes.alternate import AlternateSolver
from ivif.bilevel.schemes.joint import JointSolver
from ivif.bilevel.schemes.rank_one import RankOneSolver
from ivif.bilevel.schemes.separate import SeparateSolver
from ivif.bilevel.schemes.value_function import ValueFunctionSolver
from ivif.bilevel.solver import Solver
from ivif.contracts import plugins

SCHEMES: Final[Mapping[str, type[Solver]]] = {
    "separate": SeparateSolver,
    "joint": JointSolver,
    "alternate": AlternateSolver,
    "value_function": ValueFunctionSolver,
    "rank1": RankOneSolver,
}
"""Solver of each scheme of ours."""


def scheme_names() -> tuple[str, ...]:
    """Every scheme that can be named: ours, then those of installed packages.

    Raises:
        PluginError: As `ivif.contracts.plugins.installed`.
    """
    return tuple(dict.fromkeys([*SCHEMES, *plugins.installed(plugins.SCHEMES)]))


def solver_class(name: str) -> type[Solver]:
    """The solver of a scheme; of one name ours comes first.

    Raises:
        ValueError: If there is no such scheme.
        PluginError: If a package's scheme cannot be imported, or is no solver.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    if name not in scheme_names():
        raise ValueError(f"bilevel.scheme is '{name}'; known: {', '.join(scheme_names())}.")
    found = plugins.loaded(plugins.SCHEMES, name)
    if not (isinstance(found, type) and issubclass(found, Solver)):
        raise plugins.PluginError(
            f"The {plugins.SCHEMES} '{name}' of an installed package is no subclass of ivif.bilevel.Solver: {found!r}."
        )
    return found
