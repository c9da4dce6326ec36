"""Repositories of Hugging Face's hub that hold released weights: `model.safetensors`, `README.md`, `config.json`."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from ivif.files.answers import ANSWER_SECONDS, answers
from ivif.files.errors import UserError
from ivif.files.names import printable

MODEL_FILE: Final = "model.safetensors"
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


_SPEAKERS: Final = {"httpx", "httpx2", "requests"}
"""What the library's releases speak through, each with errors of its own."""
_XET_STATUS: Final = re.compile(r"HTTP status (?:client|server) error \((\d+)")
"""In the errors of hf_xet, which uploads large files where it is installed: it has a text alone."""
_LOG_IN: Final = "no token of the hub is known. Log in with `hf auth login`, or set HF_TOKEN."


class HubError(UserError, ValueError):
    """The hub has no such repository, refuses, or cannot be reached."""


def fetch_weights(repository: str) -> Path:
    """The weights of a repository `owner/name`, fetched once and kept in the library's own cache; no token is sent.

    Raises:
        HubError: If there is no such repository or file in it, or the hub cannot be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    _check(repository)
    with _in_our_words(repository):
        address = hf_hub_url(repository, MODEL_FILE, endpoint=_endpoint())
        (found,) = answers([partial(get_hf_file_metadata, address, token=False, timeout=ANSWER_SECONDS)])
        if isinstance(found, HfHubHTTPError):
            raise found
        # Where nobody answers, its own download would try again and again for 23 seconds.
        away = isinstance(found, Exception)
        return Path(hf_hub_download(repository, MODEL_FILE, endpoint=_endpoint(), token=False, local_files_only=away))


def push_folder(folder: Path, repository: str) -> str:
    """Uploads a folder to a repository, which is made where it is missing, by the token that the library knows.

    Returns:
        The address of the repository.

    Raises:
        HubError: If it is refused, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token

    _check(repository)
    if get_token() is None:  # the hub would only answer 401
        raise HubError(f"hf://{repository}: {_LOG_IN}")
    api = HfApi(endpoint=_endpoint())
    with _in_our_words(repository):
        address = str(api.create_repo(repository, exist_ok=True))
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Add weights and model card")
    return address


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _check(repository: str) -> None:
    if not _REPOSITORY.fullmatch(repository):
        raise HubError(f"hf://{printable(repository)}: a repository is named hf://owner/name.")


@contextmanager
def _in_our_words(repository: str) -> Iterator[None]:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
    )

    name = f"hf://{repository}"
    unreached = f"{name}: the hub cannot be reached. Go online, or give a file that you have."
    try:
        yield
    except RepositoryNotFoundError as error:
        raise HubError(f"{name}: the hub has no such repository, or it is private. Check owner and name.") from error
    except LocalEntryNotFoundError as error:
        raise HubError(unreached) from error
    except EntryNotFoundError as error:
        raise HubError(f"{name}: the repository holds no {MODEL_FILE}, so no weights of this suite.") from error
    except LocalTokenNotFoundError as error:
        raise HubError(f"{name}: {_LOG_IN}") from error
    except HfHubHTTPError as error:
        raise HubError(f"{name}: {_answer(error)}") from error
    except Exception as error:
        if isinstance(error.__cause__, HfHubHTTPError):  # of a file that is stored apart
            raise HubError(f"{name}: {_answer(error.__cause__)}") from error
        if status := _XET_STATUS.search(str(error)):
            raise HubError(f"{name}: {_answer(status[1])}") from error
        speakers = {type(part).__module__.partition(".")[0] for part in (error, error.__cause__)}
        if not (speakers & _SPEAKERS or isinstance(error, ConnectionError | TimeoutError)):
            raise
        raise HubError(unreached) from error


def _answer(error: Any) -> str:
    """What the hub says: its status, or an error that holds it."""
    response = getattr(error, "response", None)
    status = error if isinstance(error, str) else "an error" if response is None else response.status_code
    remedy = "Try again later" if str(status).startswith("5") else "Check your token and its rights"
    return f"the hub answers {status}. {remedy}."
