"""What Lightning needs of torchmetrics, without the rest of it."""

import logging
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from typing import Any, Final

_NAME: Final = "torchmetrics"

_PARTS: Final = {"Metric": "torchmetrics.metric", "MetricCollection": "torchmetrics.collections"}
"""All that Lightning asks of the package, and where it is defined."""


def load_parts_of_torchmetrics() -> bool:
    """Puts off what `import torchmetrics` runs until something is asked of it that Lightning does not need.

    The package imports every one of its functions, and for them torchvision's networks, scipy.signal and regex: a
    quarter of the time until `fit` begins. Whoever asks for more than two classes gets the complete package.

    Returns:
        Whether that was done: not where the package is loaded already, or is built otherwise than expected.
    """
    spec = find_spec(_NAME) if _NAME not in sys.modules else None
    if spec is None or spec.loader is None:
        return False
    package, loader = module_from_spec(spec), spec.loader

    def complete(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module '{_NAME}' has no attribute '{name}'")
        del package.__getattr__
        loader.exec_module(package)
        return getattr(package, name)

    vars(package).update(__getattr__=complete, __version__=version(_NAME), _logger=logging.getLogger(_NAME))
    sys.modules[_NAME] = package
    try:
        import_module("torchmetrics.utilities")  # first: the modules below and its own import one another
        vars(package).update({name: getattr(import_module(module), name) for name, module in _PARTS.items()})
    except (ImportError, AttributeError):
        for module in [name for name in sys.modules if name.partition(".")[0] == _NAME]:
            del sys.modules[module]
        return False
    return True
