"""How a refusal must look, from a reader or from the command line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ivif.commands.cli import main


def refusal(call: Callable[[], Any], kind: type[Exception], *named: str) -> str:
    """The message of the error that `call` must end with; it names everything in `named`."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    missing = [text for text in named if text not in message]
    assert not missing, f"{missing} not in: {message}"
    return message


def whole(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder: when each file was written, and what it holds; folders and links by their names."""
    return {str(path.relative_to(folder)): _state(path) for path in sorted(folder.rglob("*"))}


def _state(path: Path) -> tuple[int, bytes]:
    if path.is_symlink():
        return 0, str(path.readlink()).encode()
    return (path.stat().st_mtime_ns, path.read_bytes()) if path.is_file() else (0, b"")


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str], *named: str) -> str:
    """The one message of a command line that must end with exit code 1; it names everything in `named`."""
    capsys.readouterr()
    assert main(list(arguments)) == 1
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    assert captured.err.count("error: ") == 1, captured.err
    message = captured.err[captured.err.index("error: ") :]
    missing = [text for text in named if text not in message]
    assert not missing, f"{missing} not in: {message}"
    return message


def accepted(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command line that must end with exit code 0 printed."""
    capsys.readouterr()
    code = main(list(arguments))
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert "Traceback" not in captured.out + captured.err
    return captured.out + captured.err
