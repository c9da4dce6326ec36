"""Text of other people's files: UTF-8, or what the file itself declares; anything else is named, and never guessed."""

import codecs
import re
import shlex
from pathlib import Path
from typing import Final

from ivif.files.names import printable

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer ones first: UTF-32's begins as UTF-16's does."""

_XML_ENCODING: Final = re.compile(rb"""<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
LARGEST: Final = 1_000_000_000
"""Bytes of a text: the labels of COCO's 118,000 pictures are 450 million."""

_HIGH_BYTES: Final = re.compile(rb"[\x80-\xff]+")
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")


class EncodingError(ValueError):
    """A file is no text that can be read: what it may be, and what to do, without the file's name before it."""


def read_text(path: Path) -> str:
    r"""The text of a file, with `\n` at the ends of lines.

    Raises:
        EncodingError: If it is neither UTF-8 nor what its mark or its xml declaration says, or larger than `LARGEST`.
        OSError: If it cannot be read.
    """
    if (size := path.stat().st_size) > LARGEST:
        raise EncodingError(f"it has {size} bytes, and {LARGEST} are read. Divide it, or give the right file.")
    content = path.read_bytes()
    try:
        text = content.decode(next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8"))
    except UnicodeDecodeError as error:
        text = _as_declared(content, path, error)
    if "\0" in text and (encoding := _half_of_the_bytes_are_null(content)):
        raise EncodingError(_told(encoding, path))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _as_declared(content: bytes, path: Path, error: UnicodeDecodeError) -> str:
    """What an xml declaration says of a file that is not UTF-8; a file without one is refused."""
    declared = _XML_ENCODING.match(content)
    try:
        if declared and (encoding := codecs.lookup(declared[1].decode()).name) not in ("utf-8", "utf-16", "utf-32"):
            return content.decode("gb18030" if encoding in ("gb2312", "gbk") else encoding)
    except (LookupError, UnicodeError):
        pass
    raise EncodingError(_told(_likely_encoding(content), path)) from error


def _half_of_the_bytes_are_null(content: bytes) -> str:
    """The name of UTF-16 without a mark, in which every other byte of plain text is 0; else an empty text."""
    even, odd = content[0::2].count(0), content[1::2].count(0)
    if min(even, odd) * 4 > max(even, odd) or max(even, odd) * 4 < len(content):
        return ""
    return "UTF-16LE" if odd > even else "UTF-16BE"


def _likely_encoding(content: bytes) -> str:
    """What bytes that are not UTF-8 may be; an empty text for what is no text at all."""
    if any(content.startswith(mark) for mark, _ in _MARKS):
        return ""  # it has said what it is, and is not
    if encoding := _half_of_the_bytes_are_null(content):
        return encoding
    if _CONTROLS.search(content):
        return ""
    runs = _HIGH_BYTES.findall(content)  # two bytes a Chinese character; a single one is a letter with an accent
    return "GBK" if all(len(run) % 2 == 0 for run in runs) else "WINDOWS-1252"


def _told(encoding: str, path: Path) -> str:
    if not encoding:
        return "it is no text, neither UTF-8 nor of a declared encoding. Restore or remove it."
    file, new = shlex.quote(printable(path)), shlex.quote(f"{printable(path)}.utf8")
    return (
        f"it is not UTF-8, but may be {encoding}. Save it as UTF-8 in an editor, or run "
        f"`iconv -f {encoding} -t UTF-8 {file} > {new} && mv {new} {file}`."
    )
