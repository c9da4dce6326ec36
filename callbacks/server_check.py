"""Does a server work? Asked with a time limit, before a library waits minutes for it."""

import threading
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Final

_HEADERS: Final = {"User-Agent": "ivif-lightning", "Content-Type": "application/json"}
"""Some hosts refuse the name of Python's own client."""


def unreachable(address: str, seconds: float, query: tuple[str, bytes] | None = None) -> str | None:
    """Why a server gives no answer that promises anything, or None where it does.

    An HTTP error is an answer, unless the server says that it does not work (5xx) or a proxy that it lets nobody
    through (407): it may ask for a key (401), know no such page (404), or keep it from programs (403). Asked in a
    thread of its own, because looking up a name has no time limit otherwise.

    Args:
        address: Its URL.
        seconds: How long to wait in all.
        query: Path and JSON of a question to what works behind the page: a server may show the one without the other.
    """
    found: list[str | None] = []

    def ask() -> None:
        reason = _ask(address, seconds)
        if reason is None and query is not None:
            reason = _ask(address.rstrip("/") + query[0], seconds, query[1])
        found.append(reason)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"no answer within {seconds:g} s"


def _ask(address: str, seconds: float, content: bytes | None = None) -> str | None:
    if not address.lower().startswith(("http://", "https://")):  # a file answers too, and is no server
        return f"unknown url type: '{address}'"
    try:
        request = urllib.request.Request(address, content, headers=_HEADERS)  # noqa: S310 - a web address
        with urllib.request.urlopen(request, timeout=seconds):  # noqa: S310 - as above
            return None
    except urllib.error.HTTPError as error:
        with error:
            refused = error.code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
            works = error.code < HTTPStatus.INTERNAL_SERVER_ERROR and not refused
            return None if works else f"HTTP {error.code} {error.reason}".strip()
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
