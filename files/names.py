"""Names of files come from strangers: what is shown of them, and what they are stored as."""

import hashlib
import os
import unicodedata
from typing import Final

LONGEST_FILE_NAME: Final = 255
"""Bytes that filesystems allow."""

UTF8_REMEDY: Final = "Rename it, for instance with `convmv -r -f latin1 -t utf8 --notest FOLDER`."

_JOINERS: Final = "\u200c\u200d"
"""Invisible, but part of how some scripts and emojis are spelled."""

_DIGEST_BYTES: Final = 6


def printable(text: object, keep: str = "") -> str:
    r"""A text in which everything that a terminal or a page would obey instead of show stands as an escape.

    Those are control characters (so that a name stays on its line), the changes of writing direction and other
    invisible ones, and bytes that are not UTF-8.

    Args:
        text: What is to be shown.
        keep: Control characters that stay.

    Example:
        >>> printable("a\x1b[2J\nb")
        'a\\x1b[2J\\nb'
    """
    plain = str(text)
    return plain if plain.isprintable() else "".join(c if c in keep else _shown(c) for c in plain)


def is_utf8(name: str) -> bool:
    """Whether a file's name is text: Python stands for other bytes with characters that nothing can be written with."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def file_name(stem: str, suffix: str = "", longest: int = LONGEST_FILE_NAME) -> str:
    """A file's name: the stem and the suffix, or the beginning of the stem and a hash of it where that is too long.

    Args:
        stem: What it is called.
        suffix: Its ending.
        longest: Bytes of the whole.
    """
    if len(os.fsencode(stem + suffix)) <= longest:
        return stem + suffix
    encoded = os.fsencode(stem)
    end = f"~{hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).hexdigest()}{suffix}"
    return encoded[: longest - len(os.fsencode(end))].decode(errors="ignore") + end


def _shown(character: str) -> str:
    is_shown = character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    return character if is_shown else character.encode("unicode_escape").decode("ascii")
