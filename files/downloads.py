"""Files of the web: fetched by one process, resumed after a break, and in their place only when they are whole."""

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from ivif.files.digests import file_digest
from ivif.files.errors import UserError
from ivif.files.names import file_name, printable
from ivif.files.text_output import cell

STALL_SECONDS: Final = 30.0
"""How long a transfer may stand still."""

TRIES: Final = 3
"""How many transfers of one file are begun, as long as each gets something before it breaks."""

UNFINISHED: Final = ".download"
"""Ending of a file that is being fetched, or was when its process ended; its name begins with a dot."""

_BLOCK: Final = 1 << 20
_SHOWN: Final = 80


class DownloadError(UserError):
    """Something could not be fetched from where it was looked for."""


class PlaceError(DownloadError):
    """What is fetched cannot be written where it belongs: another address would not help."""


class _StaysProtected(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to anything else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The request that a redirect leads to.

        Raises:
            DownloadError: If it would go unprotected.
        """
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise DownloadError("it redirects to an address without https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def shown_address(url: str) -> str:
    """An address for messages: without the names, passwords and signatures that may be in it."""
    parts = urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


def check_address(url: str) -> None:
    """Refuses what is no address of the web, and names and passwords in one, which would reach name servers and logs.

    Raises:
        DownloadError: Says which of them it is.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise DownloadError("only http and https addresses are fetched")
    if "@" in urlsplit(url).netloc:
        raise DownloadError("addresses with a name or password in them are not used")


def ask_for(url: str, seconds: float) -> None:
    """Asks an address whether it has a file, without fetching it.

    Args:
        url: The address.
        seconds: How long it may take to answer, once its host is known.

    Raises:
        DownloadError: If it has not, or nothing answers.
    """
    _open(url, seconds).close()


def fetch(url: str, target: Path, digest: str = "", remedy: str = "") -> Path:
    """Fetches a file, or waits for the process that is fetching it; one that is there already is left as it is.

    What has arrived of it lies beside its place until it is whole, and a later call goes on there.

    Args:
        url: Its address, http or https.
        target: Its place; folders are made.
        digest: Its sha256 in hex, or the beginning; empty where none is known.
        remedy: What a user can do where the place cannot be written.

    Returns:
        The place.

    Raises:
        PlaceError: If it cannot be written there.
        DownloadError: If it cannot be fetched, or is not the file that was published.
    """
    key = hashlib.sha256(f"{url} {digest}".encode()).hexdigest()[:16]
    partial = target.with_name(f".{file_name(target.name, longest=_SHOWN)}-{key}{UNFINISHED}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _held(partial, target) as stream:
            if not _is_there(target, digest):
                try:
                    _receive(url, stream, target, remedy)
                    _check_digest(stream, digest)
                    os.fsync(stream.fileno())
                    partial.replace(target)
                except OSError:
                    partial.unlink(missing_ok=True)  # a full disk is not left full
                    raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise PlaceError(f"Cannot write '{printable(target)}': {reason}. {remedy}".rstrip()) from error
    return target


@contextmanager
def _held(partial: Path, target: Path) -> Iterator[BufferedRandom]:
    """The unfinished file, for this process alone; removed at the end where it is empty."""
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(descriptor, "r+b") as stream:
            _lock(stream, target)
            if not _is_at(stream, partial):
                continue  # the process that held it has finished
            try:
                yield stream
            finally:
                stream.flush()
                if not os.fstat(descriptor).st_size and _is_at(stream, partial):
                    partial.unlink()
            return


def _lock(stream: BufferedRandom, target: Path) -> None:
    """Waits until no other process holds the file; where a filesystem has no locks, all write the same bytes."""
    try:
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"Another process is fetching {target}: waiting for it.")
            fcntl.flock(stream, fcntl.LOCK_EX)
    except (ImportError, OSError):
        pass


def _is_there(target: Path, digest: str) -> bool:
    """Whether another process has fetched it by now."""
    return target.is_file() and file_digest(target).startswith(digest) if digest else target.exists()


def _is_at(stream: BufferedRandom, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _receive(url: str, stream: BufferedRandom, target: Path, remedy: str) -> None:
    """Fetches what is missing at the end of the stream; takes a transfer up again that breaks on its way."""
    for left in reversed(range(TRIES)):
        before = stream.seek(0, os.SEEK_END)
        try:
            _transfer(url, stream, target, remedy)
        except PlaceError:
            raise
        except DownloadError:
            if not left or stream.seek(0, os.SEEK_END) <= before:
                raise
        else:
            return


def _transfer(url: str, stream: BufferedRandom, target: Path, remedy: str) -> None:
    begin = stream.seek(0, os.SEEK_END)
    with _open(url, STALL_SECONDS, begin) as response:
        range_given = response.headers.get("Content-Range", "")
        refused = response.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        if refused and range_given == f"bytes */{begin}":
            return  # all of it was here
        misplaced = response.status == http.HTTPStatus.PARTIAL_CONTENT and not range_given.startswith(f"bytes {begin}-")
        if begin and (refused or misplaced):
            stream.truncate(0)  # what arrived before is no part of it, or what comes does not follow it
            _transfer(url, stream, target, remedy)
            return
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            begin = stream.seek(0)
            stream.truncate()
        length = response.headers.get("Content-Length")
        total = begin + int(length) if length and length.isdigit() else None
        _check_room(target, 0 if total is None else total - begin, remedy)
        _say(f"Fetching {shown_address(url)} to {target}{f', from byte {begin} on' if begin else ''}")
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task(printable(target.name), total=total, completed=begin)
            while block := _read(response):
                stream.write(block)
                progress.advance(bar, len(block))
    if total is not None and stream.tell() != total:
        raise DownloadError(f"the transfer ended after {stream.tell()} of {total} bytes; the next try goes on there")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"the transfer broke ({_why(error)}); the next try goes on there") from error


def _open(url: str, seconds: float, begin: int = 0) -> http.client.HTTPResponse:
    """The answer of an address; one that says that nothing is left after `begin` counts."""
    check_address(url)
    headers = {"User-Agent": "ivif-lightning", "Accept-Encoding": "identity"}
    request = urllib.request.Request(  # noqa: S310 - a checked address
        url, headers=headers | ({"Range": f"bytes={begin}-"} if begin else {})
    )
    try:
        answer: http.client.HTTPResponse = urllib.request.build_opener(_StaysProtected).open(request, timeout=seconds)
    except urllib.error.HTTPError as error:
        if begin and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return error  # type: ignore[return-value]  # an answer like any other
        error.close()
        raise DownloadError(f"the server answers {error.code} {printable(error.reason)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(_why(error)) from error
    return answer


def _why(error: BaseException) -> str:
    """What failed, without the address, which may hold a password."""
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return "no answer"
    return printable(inner if isinstance(inner, str) else getattr(inner, "strerror", None) or type(inner).__name__)


def _check_room(target: Path, needed: int, remedy: str) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise PlaceError(
            f"Cannot write '{printable(target)}': it needs {needed / 1e6:.0f} MB more, and {free / 1e6:.0f} MB are "
            f"free there. {remedy}".rstrip()
        )


def _check_digest(stream: BufferedRandom, digest: str) -> None:
    """Empties the file if it is not what was published.

    Raises:
        DownloadError: If it is not.
    """
    stream.seek(0)
    actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if not actual.startswith(digest):
        stream.truncate(0)
        raise DownloadError(f"what arrived has sha256 {actual[:16]}..., not {digest[:16]}..., and was removed")


def _say(text: str) -> None:
    Console(stderr=True).print(cell(text), soft_wrap=True, highlight=False)
