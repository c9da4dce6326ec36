"""Parameters of inherited tests: each subclass has values of its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


class ParametrizedTests:
    """Runs a test for every value of the parameters that it asks for by name."""

    def parameters(self) -> dict[str, Sequence[Any]]:
        """The values of each parameter."""
        return {}

    def pytest_generate_tests(self, metafunc: "pytest.Metafunc") -> None:
        """Called by pytest for each test of the class."""
        for name, values in self.parameters().items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values, ids=str)
