"""Libraries that read special files, which not everybody has installed."""

from importlib.util import find_spec

from ivif.files.errors import UserError


class MissingLibraryError(UserError):
    """A file needs a library that is not installed; the message says which, and how to get it."""


def needed(module: str, what: str, remedy: str = "pip install 'ivif-lightning[camera]'") -> None:
    """Refuses to go on without a library.

    Args:
        module: Its name.
        what: What it reads.
        remedy: How to get it.

    Raises:
        MissingLibraryError: If it is not installed.
    """
    if find_spec(module) is None:
        raise MissingLibraryError(f"{what} needs {module}: {remedy}")
