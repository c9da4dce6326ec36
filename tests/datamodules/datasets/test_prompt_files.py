import json
from pathlib import Path

import pytest

from ivif.datamodules.datasets.prompt_files import ORIGINS, PromptEntry, PromptError, read_prompts, save_prompts


def test_saved_prompts_read_back_and_leave_no_partial_file(tmp_path: Path) -> None:
    entries = [PromptEntry("msrs", "a", 'Eine "Straße".', "human"), PromptEntry("msrs", "b", "")]
    path = tmp_path / "deep" / "p.jsonl"
    save_prompts(path, entries[:1])
    save_prompts(path, entries)
    assert read_prompts(path) == entries
    assert [file.name for file in path.parent.iterdir()] == ["p.jsonl"]
    assert "source" not in json.loads(path.read_text(encoding="utf-8").splitlines()[1])


def test_every_origin_reads_back(tmp_path: Path) -> None:
    entries = [PromptEntry("msrs", origin, "text", origin) for origin in ORIGINS]
    save_prompts(tmp_path / "p.jsonl", entries)
    assert read_prompts(tmp_path / "p.jsonl") == entries


def test_characters_that_end_a_line_elsewhere_stay_in_their_prompt(tmp_path: Path) -> None:
    entries = [PromptEntry("msrs", "a", "one\u2028two\x85three\nfour"), PromptEntry("msrs", "b", "x")]
    save_prompts(tmp_path / "p.jsonl", entries)
    assert read_prompts(tmp_path / "p.jsonl") == entries


def test_files_of_windows_editors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"dataset": "msrs", "name": "a", "prompt": "x"}\r\n' * 2)
    assert read_prompts(path) == [PromptEntry("msrs", "a", "x")] * 2


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError, match=r"Cannot read the prompt file .*p\.jsonl"):
        read_prompts(tmp_path / "p.jsonl")
