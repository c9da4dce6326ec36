"""The committed configurations, and where they lie: in an installed package as in a clone."""

from importlib.resources import files
from pathlib import Path
from typing import Final

CONFIGS: Final = Path(str(files("ivif.configs")))
"""The folder."""
DEFAULTS: Final = CONFIGS / "default.yaml"
"""Read before every configuration."""
