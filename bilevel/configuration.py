"""What a user can set about bilevel training, as one frozen dataclass that YAML shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, get_type_hints

from ivif.bilevel.schemes import scheme_names, solver_class
from ivif.bilevel.schemes.joint import JointConfig
from ivif.bilevel.schemes.rank_one import RankOneConfig
from ivif.bilevel.schemes.separate import SeparateConfig
from ivif.bilevel.schemes.value_function import ValueFunctionConfig
from ivif.bilevel.solver import Solver, SolverConfig

if TYPE_CHECKING:
    Scheme = str
else:
    Scheme = Literal[scheme_names()]  # the command line lists what is installed, and refuses everything else

_KINDS: Final[Mapping[Any, str]] = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


@dataclass(frozen=True, kw_only=True)
class BilevelConfig(RankOneConfig, ValueFunctionConfig, JointConfig, SeparateConfig):
    """Which scheme trains the two levels, and its numbers.

    Args:
        scheme: `separate`: all lower steps first, then the upper level on what is then frozen. `joint`: one weighted
            sum of both losses. `alternate`: lower steps and upper steps in turn (From Text to Pixels, eq 7).
            `value_function`: the upper level chooses among good lower solutions (BVFSM, arXiv 2110.04974).
            `rank1`: upper steps with a rank-one Gauss-Newton correction through the lower level.
        options: Further settings by name, of schemes that have such.

    Raises:
        ValueError: If a number is out of range, or the scheme or one of `options` unknown.
        PluginError: If the scheme's package cannot be used.
    """

    scheme: Scheme = "value_function"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings()
        super().__post_init__()

    @property
    def solver_class(self) -> type[Solver]:
        """The scheme's solver, which says what it needs."""
        return solver_class(self.scheme)

    def settings(self) -> SolverConfig:
        """What the scheme's solver takes: of its fields those that are here, and the others from `options`.

        Raises:
            ValueError: As the class.
            PluginError: As the class.
        """
        kind = self.solver_class.config_class
        here = {each.name for each in fields(self)}
        known = [each.name for each in fields(kind)]
        others = [name for name in known if name not in here]
        for name in self.options:
            if name not in others:
                remedy = f"set bilevel.{name}" if name in here else f"the scheme takes {', '.join(others) or 'none'}"
                raise ValueError(f"bilevel.options has '{name}' for '{self.scheme}': {remedy}.")
        hints = get_type_hints(kind)
        given = {name: _checked(name, value, hints[name]) for name, value in self.options.items()}
        try:
            return kind(**{name: getattr(self, name) for name in known if name in here}, **given)
        except TypeError as error:
            raise ValueError(f"bilevel.options do not fit the scheme '{self.scheme}': {error}.") from error


def _checked(name: str, value: Any, kind: Any) -> Any:
    """A plain value of the kind that its field has; a list becomes a tuple."""
    if kind is float and type(value) is int:
        return float(value)
    if kind in _KINDS and type(value) is not kind:
        raise ValueError(f"bilevel.options.{name} is {value!r}; it must be {_KINDS[kind]}.")
    return tuple(value) if isinstance(value, list) else value
