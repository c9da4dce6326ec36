"""CLIP's and CoCa's weights from the places that publish them, checked against the sha256 that stands there."""

import os
import re
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from ivif.files.answers import ANSWER_SECONDS, answers
from ivif.files.downloads import DownloadError, PlaceError, ask_for, check_address, fetch, shown_address

DOWNLOAD_VARIABLE: Final = "IVIF_DOWNLOAD"
"""Environment variable whose 0 forbids downloads, as `HF_HUB_OFFLINE` does."""

WEIGHTS_DIRECTORY_VARIABLE: Final = "IVIF_WEIGHTS_DIR"

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_OFFICIAL_HUB: Final = "https://huggingface.co"


class Source(NamedTuple):
    """One official place of a weights file.

    Args:
        url: Its address.
        name: Path relative to a weights folder, under which the file is looked up.
        digest: Published start of its sha256 in hex; empty where the hub that has the file says it.
    """

    url: str
    name: str
    digest: str


def hub_address() -> str:
    """Where Hugging Face's hub is: `HF_ENDPOINT`, as its own library has it."""
    return os.environ.get("HF_ENDPOINT", _OFFICIAL_HUB).rstrip("/")


def forbidden() -> str:
    """What forbids downloads, in words; empty where nothing does."""
    from huggingface_hub import constants

    if os.environ.get(DOWNLOAD_VARIABLE) == "0":
        return f"{DOWNLOAD_VARIABLE}=0 forbids downloads"
    return "HF_HUB_OFFLINE=1 forbids downloads" if constants.HF_HUB_OFFLINE else ""


def download(sources: list[Source], directory: Path) -> Path:
    """Fetches the first of the files that can be had into `directory`; several processes fetch it once.

    All places are asked at the same time and once, and have five seconds to answer.

    Raises:
        PlaceError: If it cannot be written there.
        DownloadError: If no place has it, in one line for each.
    """
    import huggingface_hub.file_download  # noqa: F401 - takes its time, which is not the servers'

    reasons = []
    asked = answers([partial(_published, source) for source in sources])
    for source, digest in zip(sources, asked, strict=True):
        try:
            if isinstance(digest, Exception):
                raise digest
            remedy = f"Make room, or set {WEIGHTS_DIRECTORY_VARIABLE} to another folder."
            return fetch(source.url, directory / source.name, digest, remedy)
        except PlaceError:
            raise
        except DownloadError as error:
            reasons.append(f"{shown_address(source.url)}: {error}")
    raise DownloadError("\n".join(reasons))


def _published(source: Source) -> str:
    """The sha256 of a file as its place publishes it; asks whether the file is there.

    Raises:
        DownloadError: If it is not, or nobody says what its sha256 is.
    """
    if source.digest:
        ask_for(source.url, ANSWER_SECONDS)
        return source.digest
    from huggingface_hub import get_hf_file_metadata

    check_address(source.url)
    try:
        etag = get_hf_file_metadata(source.url, token=False, timeout=ANSWER_SECONDS).etag or ""
    except Exception as error:  # the errors of its HTTP library, whose texts hold addresses, and of the hub
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise DownloadError(f"the hub answers {status}" if status else f"no answer ({type(error).__name__})") from error
    if not _SHA256.fullmatch(etag):
        raise DownloadError("the hub names no sha256 of the file")
    return etag
