"""Text of other people's files: read where they declare what they are, else named with a command that works."""

import re
import subprocess
from pathlib import Path

import pytest

from ivif.files.text_files import LARGEST, EncodingError, read_text

TEXT = "人行道 a\r\nb\rc\n"
DECLARED = '<?xml version="1.0" encoding="{}"?><a>{}</a>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_text_that_says_what_it_is_is_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "a.txt") == "人行道 a\nb\nc\n"


@pytest.mark.parametrize(
    ("declared", "stored", "text"),
    [
        ("GBK", "gbk", "人行道"),
        ("gb2312", "gb18030", "人行道\u0e01"),
        ("Big5", "big5", "人行道"),
        ("shift_jis", "shift_jis", "歩道"),
        ("ISO-8859-1", "latin-1", "piéton"),
        ("gb2312", "utf-8", "人行道"),
        ("utf-16", "utf-8", "人行道"),
    ],
)
def test_an_xml_declaration_is_believed_where_it_can_be(declared: str, stored: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(DECLARED.format(declared, text).encode(stored))
    assert read_text(tmp_path / "a.xml") == DECLARED.format(declared, text)


@pytest.mark.parametrize(
    ("stored", "named", "text"),
    [
        ("gbk", "GBK", "人行道 a"),
        ("latin-1", "WINDOWS-1252", "piétons et vélos"),
        ("utf-16-le", "UTF-16LE", "0 0.5 0.5"),
        ("utf-16-be", "UTF-16BE", "0 0.5 0.5 人"),
    ],
)
def test_another_encoding_is_named_and_its_command_converts_it(
    stored: str, named: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "a b's.txt"
    path.write_bytes(text.encode(stored))
    with pytest.raises(EncodingError, match=f"may be {named}. Save it as UTF-8") as caught:
        read_text(path)
    (command,) = re.findall("`(.*)`", str(caught.value))
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert read_text(path) == text


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\xff\xfe", b"\xff\xfea", b"\xff\x01\x02"])
def test_what_is_no_text_is_not_to_be_converted(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(EncodingError, match=r"no text.*Restore or remove") as caught:
        read_text(tmp_path / "a.txt")
    assert "iconv" not in str(caught.value)


def test_a_text_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as stream:
        stream.truncate(LARGEST + 1)
    with pytest.raises(EncodingError, match=f"has {LARGEST + 1} bytes"):
        read_text(tmp_path / "a.json")
