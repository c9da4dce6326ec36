import copy
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

import pytest
import torch

from ivif.contracts.batch import Sample, Targets
from ivif.datamodules.datasets.base import PairedDataset
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.pairs.records import PairingReport
from ivif.datamodules.datasets.prompt_files import PromptError
from ivif.datamodules.datasets.prompts import (
    SENTENCES,
    PromptableReader,
    PromptConfig,
    PromptedDataset,
    warn_if_labels_leak,
)
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from tests.fakes import Faults, write_msrs
from tests.inputs import brings


class PlainReader:
    """A night-time reader with one near person on the right in every pair."""

    def __init__(self, names: Iterable[str], *, dataset_name: str = "msrs", has_labels: bool = True) -> None:
        self.dataset_name = dataset_name
        self.classes: tuple[str, ...] = ("person", "car")
        self.has_labels = has_labels
        self.pairing = PairingReport()
        self.names = list(names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> Sample:
        return {
            "infrared": torch.zeros(1, 40, 60, dtype=torch.uint8),
            "visible": torch.full((3, 40, 60), 20, dtype=torch.uint8),
            "name": self.names[index],
            "dataset": self.dataset_name,
            "content_id": str(index),
        }

    def load_targets(self, index: int) -> Targets:
        return {"boxes": torch.tensor([[50.0, 5.0, 58.0, 30.0]]), "labels": torch.tensor([0])}

    def image_size(self, index: int) -> tuple[int, int]:
        return 40, 60

    def select(self, names: Iterable[str]) -> Self:
        subset = copy.copy(self)
        subset.names = list(names)
        return subset


def _write_lines(path: Path, *lines: dict[str, Any] | str) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def _prompts(dataset: PromptedDataset) -> list[str]:
    return [dataset[index]["prompt"] for index in range(len(dataset))]


def test_readers_fit_the_protocol() -> None:
    assert isinstance(SyntheticDataset(1), PromptableReader)
    assert isinstance(PlainReader(["a"]), PromptableReader)


def test_none_and_coarse() -> None:
    reader = PlainReader(["a", "b"])
    assert _prompts(PromptedDataset(reader, PromptConfig())) == ["", ""]
    assert _prompts(PromptedDataset(reader, PromptConfig("coarse"))) == [SENTENCES["msrs"]] * 2
    assert _prompts(PromptedDataset(reader, PromptConfig("coarse", sentence="Streets."))) == ["Streets."] * 2
    own = PromptedDataset(PlainReader(["a"], dataset_name="mine"), PromptConfig("coarse"))
    assert own.prompt(0) == SENTENCES["folder"]


def test_fine_describes_boxes_and_brightness() -> None:
    dataset = PromptedDataset(PlainReader(["a"]), PromptConfig("fine"))
    assert dataset[0]["prompt"] == dataset.prompt(0) == "A scene at night with one person near on the right."
    unlabelled = PromptedDataset(PlainReader(["a"], has_labels=False), PromptConfig("fine"))
    assert unlabelled.prompt(0) == "A scene at night."
    assert unlabelled.origin(0) == "brightness"
    assert not unlabelled.leaks_labels


def test_a_pair_without_a_label_file_is_not_said_to_be_empty() -> None:
    reader = PlainReader(["a", "b"])
    reader.pairing = PairingReport(unlabelled=("b",))
    dataset = PromptedDataset(reader, PromptConfig("fine"))
    assert dataset[1]["prompt"] == "A scene at night."
    assert dataset[0]["prompt"] == "A scene at night with one person near on the right."
    assert [dataset.origin(0), dataset.origin(1)] == ["template", "brightness"]
    assert dataset.leaks_labels
    assert dataset.select(["a"]).leaks_labels
    assert not dataset.select(["b"]).leaks_labels


def test_the_label_file_decides_for_real_readers(tmp_path: Path) -> None:
    reader: PairedDataset = MSRS(write_msrs(tmp_path, faults=Faults(missing_label=True)))
    dataset = PromptedDataset(reader, PromptConfig("fine"))
    origins = {name: dataset.origin(index) for index, name in enumerate(dataset.names)}
    (missing,) = reader.pairing.unlabelled
    assert [name for name, origin in origins.items() if origin == "brightness"] == [missing]
    assert set(origins.values()) == {"brightness", "template"}
    assert "with" not in dataset.prompt(dataset.names.index(missing))
    assert PromptedDataset(reader, PromptConfig("coarse")).origin(0) == "dataset"
    assert PromptedDataset(reader, PromptConfig("none")).origin(0) is None


def test_generated_scenes_keep_their_caption_when_fine() -> None:
    reader = SyntheticDataset(4, (64, 64))
    assert PromptedDataset(reader, PromptConfig("fine")).prompt(3) == reader[3]["prompt"]
    assert PromptedDataset(reader, PromptConfig("none")).prompt(3) == ""
    assert PromptedDataset(reader, PromptConfig("coarse"))[3]["prompt"] == SENTENCES["synthetic"]


def test_file_by_dataset_and_name_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _write_lines(
        tmp_path / "p.jsonl",
        {"dataset": "msrs", "name": "b", "prompt": "first"},
        "",
        {"dataset": "llvip", "name": "a", "prompt": "not ours"},
        {"dataset": "msrs", "name": "b", "prompt": "ein Fußgänger", "source": "human"},
    )
    with caplog.at_level(logging.WARNING):
        dataset = PromptedDataset(PlainReader(["a", "b", "c"]), PromptConfig("file", path))
    assert _prompts(dataset) == ["", "ein Fußgänger", ""]
    assert len(caplog.records) == 1
    assert "2 of 3 pairs of msrs have no prompt" in caplog.text
    subset = dataset.select(["b"])
    assert _prompts(subset) == ["ein Fußgänger"]
    assert subset.prompt(0) == "ein Fußgänger"
    assert len(dataset) == 3


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"dataset": "msrs", "name"', "not a JSON object"),
        ('["msrs", "a", "text"]', "not a JSON object"),
        ('{"dataset": "msrs", "name": "a"}', "'prompt' is missing"),
        ('{"dataset": "msrs", "name": 7, "prompt": "x"}', "'name' is missing or not a text"),
        ('{"dataset": "msrs", "name": "a", "prompt": "x", "source": "dream"}', "'source' is 'dream'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    good = {"dataset": "msrs", "name": "a", "prompt": "x"}
    path = _write_lines(tmp_path / "p.jsonl", good, good, line)
    with pytest.raises(PromptError, match=rf"p\.jsonl', line 3: {complaint}"):
        PromptedDataset(PlainReader(["a"]), PromptConfig("file", path))


def test_a_missing_file_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="data prompts --out"):
        PromptedDataset(PlainReader(["a"]), PromptConfig("file", tmp_path / "none.jsonl"))


def test_folder_takes_the_first_of_several_captions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "1").mkdir()
    for name, text in (
        ("a.txt", "one\n text "),
        ("1/1_1.txt", "first"),
        ("1/1_2.txt", "second"),
        ("v_1.txt", "of v_1"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        dataset = PromptedDataset(PlainReader(["a", "1", "v", "v_1"]), PromptConfig("folder", tmp_path))
    # `v_1.txt` belongs to the pair v_1, not to v
    assert _prompts(dataset) == ["one text", "first", "", "of v_1"]
    assert "1 of 4 pairs" in caplog.text


def test_folder_faults(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="No text files under"):
        PromptedDataset(PlainReader(["a"]), PromptConfig("folder", tmp_path))
    for folder in ("Text_ir", "Text_vi"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("x", encoding="utf-8")
    with pytest.raises(PromptError, match=r"'a' has 2 prompts.*Point `prompts\.path`"):
        PromptedDataset(PlainReader(["a"]), PromptConfig("folder", tmp_path))
    (tmp_path / "Text_ir" / "a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(PromptError, match=r"a\.txt'.*UTF-8"):
        PromptedDataset(PlainReader(["a"]), PromptConfig("folder", tmp_path / "Text_ir"))


LINE = '{"dataset": "msrs", "name": "a", "prompt": "a road 一条路"}\n'


@pytest.mark.parametrize(
    ("encoding", "outcome"),
    [
        pytest.param(
            "utf-16", "", marks=brings("labels", "prompts in UTF-16 with its mark", "works", "read as they are")
        ),
        pytest.param("gbk", "GBK", marks=brings("labels", "prompts in GBK", "refused", "named, with a command")),
        pytest.param("utf-16-le", "UTF-16LE", id="no mark"),
    ],
)
@pytest.mark.parametrize("source", ["file", "folder"])
def test_prompts_in_other_encodings_are_read_or_named(
    source: Literal["file", "folder"], encoding: str, outcome: str, tmp_path: Path
) -> None:
    path = tmp_path / ("p.jsonl" if source == "file" else "a.txt")
    path.write_bytes((LINE if source == "file" else "a road 一条路").encode(encoding))
    config = PromptConfig(source, path if source == "file" else tmp_path)
    if not outcome:
        assert _prompts(PromptedDataset(PlainReader(["a"]), config)) == ["a road 一条路"]
        return
    with pytest.raises(PromptError, match=rf"{path.name}': it is not UTF-8, but may be {outcome}.*iconv -f {outcome}"):
        PromptedDataset(PlainReader(["a"]), config)


def test_wrong_configurations_are_named() -> None:
    with pytest.raises(ValueError, match="'best'; known: none, coarse, fine, file, folder"):
        PromptConfig("best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"prompts\.path is not set: give the JSONL file"):
        PromptConfig("file")
    with pytest.raises(ValueError, match=r"prompts\.path is set, but prompts\.source is 'none': set it to 'auto'"):
        PromptConfig(path="p.jsonl")


def test_the_leak_warning_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = PlainReader(["a"])
    fine, coarse = (PromptedDataset(reader, PromptConfig(source)) for source in ("fine", "coarse"))
    with caplog.at_level(logging.WARNING):
        assert not warn_if_labels_leak(coarse, "test", scores_detection=True)
        assert not warn_if_labels_leak(fine, "val", scores_detection=True)
        assert not warn_if_labels_leak(fine, "test", scores_detection=False)
        assert not caplog.records
        assert warn_if_labels_leak(fine, "test", scores_detection=True)
    assert "made from its boxes while mAP is scored" in caplog.text
    for origin, leaks in (("template", True), ("brightness", False), ("caption", False), ("human", False)):
        path = _write_lines(tmp_path / "p.jsonl", {"dataset": "msrs", "name": "a", "prompt": "x", "source": origin})
        assert PromptedDataset(reader, PromptConfig("file", path)).leaks_labels is leaks


@pytest.mark.real
def test_released_text_folders(real_data: Path) -> None:
    text = real_data / "text"
    rain = PromptedDataset(PlainReader(["22", "49"]), PromptConfig("folder", text / "AWM-Fuse" / "Rain" / "Text_vi"))
    assert all(len(prompt) > 100 for prompt in _prompts(rain))
    samples = PromptedDataset(PlainReader(["1"]), PromptConfig("folder", text / "IVT_LLVIP_2000" / "text"))
    assert samples.prompt(0) == "There is a girl carrying a white bag walking on the road."
