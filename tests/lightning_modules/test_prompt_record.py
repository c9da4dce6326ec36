"""Learnt prompts beside a run's checkpoints: the file that another run reads, and the words for people."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ivif.lightning_modules.prompt_record import PromptRecord, words_table

WORDS = {"positive": [[("clear", 1.0), ("a|b", 0.25)], [("sharp", 0.5)]], "negative": [[("dull", 0.75)], [(",", 0.1)]]}


class _Prompts:
    def __init__(self) -> None:
        self.asked: list[Any] = []

    def export_file(self, path: Path) -> None:
        self.asked.append(path)
        path.write_bytes(b"prompts")

    def nearest_words(self, count: int) -> dict[str, Any]:
        self.asked.append(count)
        return WORDS


def test_the_table_has_a_row_for_each_vector() -> None:
    lines = words_table(WORDS).splitlines()
    assert lines[-3:] == [
        "| --- | --- | --- |",
        "| 1 | clear (1.00), a\\|b (0.25) | dull (0.75) |",
        "| 2 | sharp (0.50) | , (0.10) |",
    ]


def test_both_files_are_written_by_the_first_process_alone(tmp_path: Path) -> None:
    prompts = _Prompts()
    record = PromptRecord(prompts, words=2)
    record.on_fit_end(SimpleNamespace(is_global_zero=False, default_root_dir=tmp_path), SimpleNamespace())  # type: ignore[arg-type]
    assert prompts.asked == []
    record.on_fit_end(SimpleNamespace(is_global_zero=True, default_root_dir=tmp_path), SimpleNamespace())  # type: ignore[arg-type]
    assert prompts.asked == [tmp_path / "prompts.safetensors", 2]
    assert (tmp_path / "prompts.md").read_text(encoding="utf-8") == words_table(WORDS)
