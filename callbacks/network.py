"""Is a server there? Asked with a time limit, before a library waits minutes for it."""

import threading
import urllib.error
import urllib.request


def unreachable(address: str, seconds: float) -> str | None:
    """Why a server gives no answer, or None where it does; an HTTP error is an answer.

    Asked in a thread of its own, because looking up a name has no time limit otherwise.

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
        with urllib.request.urlopen(address, timeout=seconds):
            return None
    except urllib.error.HTTPError:
        return None
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
