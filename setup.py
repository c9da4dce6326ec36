"""Which packages a wheel has: every room of the repository as a part of `ivif`. All else is in pyproject.toml.

A room is a folder of the top level with an `__init__.py`; pyproject.toml alone cannot state such a rule.
"""

from setuptools import find_namespace_packages, find_packages, setup

ROOMS = [name for name in find_packages(exclude=["ivif", "tests"]) if "." not in name]
PARTS = find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")])
FOLDERS = find_namespace_packages(include=["configs.*", "datamodules.splits*", "commands.report.templates"])

setup(
    packages=["ivif", *(f"ivif.{name}" for name in dict.fromkeys([*PARTS, *FOLDERS]))],
    package_dir={"ivif": "ivif"} | {f"ivif.{room}": room for room in ROOMS},
    package_data={"": ["*.yaml", "*.txt", "*.csv", "*.md", "*.html", "*.json", "*.safetensors", "SHA256SUMS"]},
)
