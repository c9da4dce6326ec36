import json
from pathlib import Path

import pytest
from torch.utils.data import Dataset

from commands.prompts import SAVE_EVERY, extend_prompts, write_prompts
from datamodules.datasets.batch import Sample
from datamodules.datasets.prompts import (
    SENTENCES,
    PromptConfig,
    PromptedDataset,
    PromptEntry,
    PromptError,
    read_prompts,
    save_prompts,
)
from datamodules.datasets.synthetic import SyntheticDataset

SIZE = (64, 64)


def test_writes_one_line_per_pair_and_says_how_it_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "prompts.jsonl"
    readers = [SyntheticDataset(3, SIZE), SyntheticDataset(2, SIZE, split="val")]
    assert write_prompts(readers, out) == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["name"] for line in lines] == [*readers[0].names, *readers[1].names]
    assert {line["source"] for line in lines} == {"template"}
    assert lines[1]["prompt"] == readers[0][1]["prompt"]
    printed = capsys.readouterr().out
    assert "5 new prompts, 5 in all" in printed
    assert "do not use those of test pairs while scoring mAP" in printed


def test_resumes_and_keeps_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"
    kept = PromptEntry("synthetic", "night_000001", "Written by hand.", "human")
    elsewhere = PromptEntry("tno", "01", "Another data set.", "caption")
    save_prompts(out, [kept, elsewhere])
    assert extend_prompts([SyntheticDataset(3, SIZE)], out, "dataset") == 2
    entries = read_prompts(out)
    assert entries[:2] == [kept, elsewhere]
    assert [(entry.name, entry.prompt, entry.source) for entry in entries[2:]] == [
        (name, SENTENCES["synthetic"], "dataset") for name in ("day_000000", "dusk_000002")
    ]
    assert extend_prompts([SyntheticDataset(3, SIZE)], out, "template") == 0
    assert read_prompts(out) == entries


def test_the_written_file_serves_as_source(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"
    reader = SyntheticDataset(2, SIZE)
    extend_prompts([reader], out, "template")
    dataset = PromptedDataset(reader, PromptConfig("file", out))
    assert dataset[1]["prompt"] == reader[1]["prompt"]
    assert dataset.leaks_labels


def test_an_interrupted_run_keeps_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "prompts.jsonl"

    def interrupted(self: PromptedDataset, index: int) -> str:
        if index == SAVE_EVERY + 5:
            raise KeyboardInterrupt
        return "text"

    monkeypatch.setattr(PromptedDataset, "prompt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extend_prompts([SyntheticDataset(SAVE_EVERY + 10, SIZE)], out, "dataset")
    assert len(read_prompts(out)) == SAVE_EVERY


def test_prompts_that_a_reader_carries_are_not_used(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"
    wrapped = PromptedDataset(SyntheticDataset(1, SIZE), PromptConfig("coarse", sentence="Something else."))
    extend_prompts([wrapped], out, "dataset")
    assert read_prompts(out)[0].prompt == SENTENCES["synthetic"]


def test_refusals(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"
    with pytest.raises(PromptError, match="There is no pair"):
        write_prompts([], out)
    with pytest.raises(PromptError, match="cannot be made by 'caption'; known: template, dataset"):
        extend_prompts([SyntheticDataset(1, SIZE)], out, "caption")
    bare: Dataset[Sample] = Dataset()
    with pytest.raises(PromptError, match="is not a reader of pairs"):
        write_prompts([bare], out)
    assert not out.exists()
    out.write_text("{broken", encoding="utf-8")
    with pytest.raises(PromptError, match="line 1"):
        write_prompts([SyntheticDataset(1, SIZE)], out)
    assert out.read_text(encoding="utf-8") == "{broken"
