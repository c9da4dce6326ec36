"""Does a server work? Asked with a time limit, before a library waits minutes for it."""

import threading
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Final

_REFUSALS: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
"""Answers of whoever stands between us and the server; it itself may ask for a key (401) or know no such page (404)."""

_NAME: Final = {"User-Agent": "ivif-lightning"}  # some hosts refuse the one of Python's own client


def unreachable(address: str, seconds: float) -> str | None:
    """Why a server gives no answer that promises anything, or None where it does.

    An HTTP error is an answer, unless the server says that it does not work (5xx) or a proxy that it lets nobody
    through (403, 407). Asked in a thread of its own, because looking up a name has no time limit otherwise.

    Args:
        address: Its URL.
        seconds: How long to wait.
    """
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(_ask(address, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"no answer within {seconds:g} s"


def _ask(address: str, seconds: float) -> str | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=_NAME), timeout=seconds):
            return None
    except urllib.error.HTTPError as error:
        with error:
            works = error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in _REFUSALS
            return None if works else f"HTTP {error.code} {error.reason}".strip()
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
