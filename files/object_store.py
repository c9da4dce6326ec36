"""The one door to object stores (S3 and what speaks as it does): few calls, every fault as one line."""

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from ivif.files.downloads import TRIES, shown_address
from ivif.files.errors import DatasetError
from ivif.files.libraries import needed
from ivif.files.names import printable

ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Environment variables with the address of a store that is not Amazon's; the first counts."""

DIGEST: Final = "blake2b-128"
"""What is noted beside an object: the digest of its content in hex."""

_ADDRESS: Final = re.compile(r"s3:/{1,2}([^/]+)/?(.*)", re.DOTALL)
_BLOCK: Final = 1 << 20
_KEYS: Final = (
    "Check the keys: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in AWS_PROFILE, and what they may do "
    "there"
)
_DENIED: Final = frozenset(
    {"403", "AccessDenied", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken",
     "InvalidToken", "Forbidden"}
)  # fmt: skip
_NO_BUCKET: Final = frozenset({"NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "301"})


class StoreError(DatasetError):
    """An object store does not give or take what it should; the message says what to check."""


@dataclass(frozen=True)
class Address:
    """A place in an object store: a bucket, and what the names of the objects begin with."""

    bucket: str
    prefix: str = ""

    def key(self, name: str) -> str:
        """The whole name of an object."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def address_of(place: str | Path) -> Address | None:
    """The place that `s3://bucket/prefix` names, also as a `Path`, which keeps one slash of two; None for a folder."""
    found = _ADDRESS.fullmatch(str(place))
    return Address(found[1], found[2].strip("/")) if found else None


class ObjectStore:
    """The objects at one address.

    Keys and the endpoint are found as all of Amazon's tools find them: environment, profile, role.

    Args:
        address: The place.

    Raises:
        MissingLibraryError: If boto3 is not installed.
    """

    def __init__(self, address: Address) -> None:
        needed("boto3", f"'{address}'", "pip install 'ivif-lightning[streaming]'")
        self.address = address
        self._clients: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without connections, which a process opens for itself."""
        return {**vars(self), "_clients": {}}

    def sizes(self) -> dict[str, int]:
        """The objects directly at the address: name -> bytes."""
        before = self.address.key("")
        with self._told("list", ""):
            pages = self._client().get_paginator("list_objects_v2")
            found = pages.paginate(Bucket=self.address.bucket, Prefix=before, Delimiter="/")
            return {each["Key"][len(before) :]: each["Size"] for page in found for each in page.get("Contents", ())}

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """An object's content, or some bytes of it."""
        return b"" if size == 0 else b"".join(self._blocks(name, offset, size))

    def copy_to(self, name: str, stream: BinaryIO) -> None:
        """An object's content into a file.

        Raises:
            OSError: If the file cannot be written.
        """
        for block in self._blocks(name):
            stream.write(block)

    def _blocks(self, name: str, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """What an object holds, in pieces; a transfer that breaks is taken up where it broke."""
        got = 0
        with self._told("read", name):
            from botocore import exceptions

            broken = (exceptions.HTTPClientError, exceptions.IncompleteReadError)
            for left in reversed(range(TRIES)):
                begin, end = offset + got, "" if size is None else offset + size - 1
                part = {} if size is None and not got else {"Range": f"bytes={begin}-{end}"}
                try:
                    body = self._client().get_object(**self._of(name), **part)["Body"]
                    for block in body.iter_chunks(_BLOCK):
                        got += len(block)
                        yield block
                    return
                except broken:
                    if not left:
                        raise

    def put(self, name: str, content: bytes, digest: str = "") -> None:
        """Makes or replaces an object; the store compares a checksum of what arrives."""
        checksum = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        noted = {"Metadata": {DIGEST: digest}} if digest else {}
        with self._told("write", name):
            self._client().put_object(**self._of(name), Body=content, ContentMD5=checksum, **noted)

    def noted_digest(self, name: str) -> str:
        """The digest that was noted beside an object when it was put there."""
        with self._told("read", name):
            answer = self._client().head_object(**self._of(name))
        return str(answer.get("Metadata", {}).get(DIGEST, ""))

    def _of(self, name: str) -> dict[str, str]:
        return {"Bucket": self.address.bucket, "Key": self.address.key(name)}

    def _client(self) -> Any:
        """A client of this process: connections must not be shared with one that was forked."""
        process = os.getpid()
        if process not in self._clients:
            import boto3
            from botocore.config import Config

            # other stores seldom have a host name for each bucket
            style = {"addressing_style": "path"} if endpoint() else {}
            config = Config(
                connect_timeout=10,
                read_timeout=60,
                retries={"total_max_attempts": 4, "mode": "standard"},
                request_checksum_calculation="when_required",  # others do not know those that Amazon's now has
                response_checksum_validation="when_required",
                s3=style,
            )
            self._clients = {process: boto3.session.Session().client("s3", config=config)}
        return self._clients[process]

    @contextmanager
    def _told(self, what: str, name: str) -> Iterator[None]:
        """Whatever the library raises within the block, as one line."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, ValueError) as error:
            where = f"{self.address}/{name}" if name else str(self.address)
            raise StoreError(f"Cannot {what} '{printable(where)}': {_why(error, self.address.bucket)}.") from error


def endpoint() -> str:
    """The address of the store where it is not Amazon's own; empty where nobody says so."""
    return next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")


def _why(error: Exception, bucket: str) -> str:
    """What went wrong, and what to check; without keys, which no message of the library has."""
    kind = type(error).__name__
    code = str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
    where = f"the address {shown_address(endpoint())} (AWS_ENDPOINT_URL)" if endpoint() else "the network"
    if "Credentials" in kind or kind in ("ProfileNotFound", "TokenRetrievalError", "SSOTokenLoadError"):
        return f"no usable keys were found ({_shown(error)}). {_KEYS}"
    if code in _DENIED:
        return f"the store refuses it ({code}). {_KEYS}"
    if code in _NO_BUCKET:
        return f"there is no bucket '{printable(bucket)}' ({code}). Check its name, its region and {where}"
    if code in ("NoSuchKey", "404"):
        return "it is not there. Check the name, and whether it was removed"
    if code:
        message = getattr(error, "response", {}).get("Error", {}).get("Message", "")
        return f"the store answers {printable(code)} {printable(message)}".rstrip(" .")
    if kind in ("ParamValidationError", "InvalidRegionError", "ValueError"):
        return f"{_shown(error)}. Check the name of the bucket and {where}"
    return f"the store does not answer ({kind}). Check {where}; what was read or written before stays"


def _shown(error: Exception) -> str:
    return " ".join(printable(error, keep="\n").split()).rstrip(".")
