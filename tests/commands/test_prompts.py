import json
import time
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ivif.commands.cli import main
from ivif.commands.data.prompts import CaptionConfig, extend_prompts, join_captions, write_prompts
from ivif.commands.parsing.parser import SuiteParser
from ivif.contracts.batch import Sample, plane_to_float
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.datasets.msrs import MSRS
from ivif.datamodules.datasets.picture_words import describe_pair
from ivif.datamodules.datasets.prompt_files import PromptEntry, PromptError, read_prompts, save_prompts
from ivif.datamodules.datasets.prompts import SENTENCES, PromptConfig, PromptedDataset
from ivif.datamodules.datasets.synthetic import SyntheticDataset
from ivif.datamodules.datasets.tno import TNO
from ivif.models import clip_weights
from ivif.models.captioner import Captioner
from tests.fakes import Faults, write_msrs, write_tno
from tests.tiny_coca import ARCHITECTURE, HUB_FOLDER, TAG, register, tiny_coca, write_weights

SIZE = (64, 64)
TINY_COCA = f"{TAG}/{ARCHITECTURE}"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tiny captioner's weights belong; open_clip knows it, and no weights of this machine are seen."""
    register(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IVIF_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.delenv("IVIF_DOWNLOAD", raising=False)
    monkeypatch.setattr(clip_weights, "home", lambda: tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "weights" / HUB_FOLDER / "open_clip_model.safetensors"


def command(out: Path, root: Path, *options: str, by: str = "coca", data: str = "tno.yaml") -> list[str]:
    source = [f"--data={data}", f"--data.init_args.root={root}"]
    return ["data", "prompts", *source, f"--out={out}", f"--by={by}", f"--coca={TINY_COCA}", *options]


def write_tones(root: Path, count: int) -> Path:
    """TNO's layout with pairs of different sizes and tones, about which the tiny captioner says different things."""
    rng = np.random.default_rng(1)
    for folder in ("ir", "vi"):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            tones = rng.integers(0, 200, (1, 1, 3)) + rng.integers(0, 50, (24 + 8 * number, 40, 1))
            picture = Image.fromarray(tones.astype(np.uint8))
            (picture.convert("L") if folder == "ir" else picture).save(root / folder / f"{number:02d}.png")
    return root


def lines_of(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def test_writes_one_line_per_pair_and_says_how_it_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "prompts.jsonl"
    readers = [SyntheticDataset(3, SIZE), SyntheticDataset(2, SIZE, split="val")]
    assert write_prompts(readers, out) == 0
    lines = lines_of(out)
    assert [line["name"] for line in lines] == [*readers[0].names, *readers[1].names]
    assert {line["source"] for line in lines} == {"template"}
    assert lines[1]["prompt"] == readers[0][1]["prompt"]
    printed = capsys.readouterr().out
    assert "5 new prompts (5 template), 5 in all" in printed
    assert "do not use those of test pairs while scoring mAP" in printed


def test_prompts_without_boxes_are_not_called_templates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "prompts.jsonl"
    assert main(command(out, write_tno(tmp_path / "TNO"), by="template")) == 0
    assert {line["source"] for line in lines_of(out)} == {"brightness"}
    printed = capsys.readouterr().out
    assert "4 new prompts (4 brightness), 4 in all" in printed
    assert "mAP" not in printed
    msrs = write_msrs(tmp_path / "MSRS", faults=Faults(missing_label=True))
    assert main(command(out, msrs, "--stage=all", by="template", data="msrs.yaml")) == 0
    sources = [line["source"] for line in lines_of(out)[4:]]
    assert sorted(sources) == ["brightness"] + ["template"] * (len(sources) - 1)
    assert "made from boxes" in capsys.readouterr().out


def test_captions_of_unlabelled_pairs_end_to_end(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_weights(weights)
    root, out = write_tones(tmp_path / "TNO", 5), tmp_path / "deep" / "prompts.jsonl"
    assert main(command(out, root, "--batch_size=2", "--device=cpu")) == 0
    printed = capsys.readouterr().out
    assert "5 new prompts (5 caption), 5 in all" in printed
    assert "mAP" not in printed
    reader, captioner = TNO(root), Captioner(tiny_coca(), "tiny")
    expected = []
    for sample in (reader[index] for index in range(5)):
        infrared, visible = (captioner.caption([plane_to_float(sample[key])])[0] for key in ("infrared", "visible"))
        expected.append(f"Infrared: {infrared} Visible: {visible}")
    lines = lines_of(out)
    assert [line["prompt"] for line in lines] == expected
    assert [line["name"] for line in lines] == reader.names
    assert {(line["dataset"], line["source"]) for line in lines} == {("tno", "caption")}
    assert len(set(expected)) > 2
    assert any(line.partition("Visible: ")[2] not in line.partition("Visible: ")[0] for line in expected)
    # What was written serves as source, and is no leak of labels.
    prompted = PromptedDataset(reader, PromptConfig("file", out))
    assert prompted[3]["prompt"] == expected[3]
    assert not prompted.leaks_labels


def test_a_configuration_that_reads_the_file_can_write_it(weights: Path, tmp_path: Path) -> None:
    write_weights(weights)
    out = tmp_path / "prompts.jsonl"
    reads_it = f"--data.init_args.prompts={{source: file, path: {out}}}"
    assert main(command(out, write_tno(tmp_path / "TNO"), reads_it)) == 0
    assert len(lines_of(out)) == 4


def test_generated_scenes_are_captioned_from_a_bare_file(weights: Path, tmp_path: Path) -> None:
    file, out = write_weights(tmp_path / "mine.pt"), tmp_path / "prompts.jsonl"
    scenes = ["--data=synthetic.yaml", "--data.init_args.evaluation_length=2", "--data.init_args.size=[48,56]"]
    arguments = ["data", "prompts", *scenes, "--stage=test", f"--out={out}", "--by=coca", f"--coca={file}"]
    assert main(arguments) == 0
    lines = lines_of(out)
    assert [line["source"] for line in lines] == ["caption"] * 2
    assert all(line["prompt"].startswith("Infrared: ") and " Visible: " in line["prompt"] for line in lines)


def test_the_sentences_of_pictures_are_written_once_and_used_by_one_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    msrs, out = write_msrs(tmp_path / "MSRS"), tmp_path / "prompts.jsonl"
    assert main(command(out, msrs, "--stage=test", by="auto", data="msrs.yaml")) == 0
    first = lines_of(out)
    assert main(command(out, msrs, by="auto", data="msrs.yaml")) == 0  # goes on with the pairs that are left
    lines = lines_of(out)
    assert lines[: len(first)] == first
    printed = capsys.readouterr().out
    assert f"{len(lines) - len(first)} new prompts ({len(lines) - len(first)} pictures), {len(lines)} in all" in printed
    assert "mAP" not in printed
    reader = MSRS(msrs, "all")
    pictures = {name: reader[index] for index, name in enumerate(reader.names)}
    assert {line["name"]: line["prompt"] for line in lines} == {
        name: describe_pair(sample["infrared"], sample["visible"]) for name, sample in pictures.items()
    }
    assert {line["source"] for line in lines} == {"pictures"}
    out.write_text(out.read_text(encoding="utf-8").replace("A ", "The "), encoding="utf-8")
    parser, text = SuiteParser(), ["--data=configs/data/msrs_text.yaml", f"--data.root={msrs}"]
    parser.add_subclass_arguments(FusionDataModule, "data", fail_untyped=False)
    data = parser.instantiate(parser.parse_args([*text, f"--data.prompts.path={out}"])).data
    (test,) = data.stage_readers("test")
    assert test.known_prompts() == [test.prompt(index) for index in range(len(test))]
    assert all(prompt.startswith("The ") for prompt in test.known_prompts())
    assert "have no prompt" not in caplog.text


def test_a_stopped_captioning_goes_on_where_it_was(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_weights(weights)
    root, whole, out = write_tones(tmp_path / "TNO", 7), tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert main(command(whole, root, "--batch_size=2")) == 0
    caption, captioned = Captioner.caption, 0

    def stopped(self: Captioner, images: list[Tensor]) -> list[str]:
        nonlocal captioned
        if captioned == 2 * 4:
            raise KeyboardInterrupt
        captioned += len(images)
        return caption(self, images)

    monkeypatch.setattr(Captioner, "caption", stopped)
    assert main(command(out, root, "--batch_size=2")) == 130
    assert lines_of(out) == lines_of(whole)[:4]
    captioned = -100
    capsys.readouterr()
    assert main(command(out, root, "--batch_size=2")) == 0
    assert captioned == -100 + 2 * 3
    assert "3 new prompts (3 caption), 7 in all" in capsys.readouterr().out
    assert out.read_bytes() == whole.read_bytes()
    weights.unlink()  # nothing is left to do: no model is needed
    assert main(command(out, root)) == 0
    assert "0 new prompts, 7 in all" in capsys.readouterr().out


def test_a_killed_run_keeps_what_was_saved_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "prompts.jsonl"
    now, on_disk = 0.0, []

    def ticking(self: PromptedDataset, index: int) -> str:
        nonlocal now
        now += 4.0
        on_disk.append(len(read_prompts(out)) if out.exists() else 0)
        return "text"

    monkeypatch.setattr(PromptedDataset, "prompt", ticking)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    made = extend_prompts([SyntheticDataset(9, SIZE)], out, "dataset")
    # A save every third prompt of four seconds each: nobody ever sees less than what the last save had.
    assert on_disk == [0, 0, 0, 3, 3, 3, 6, 6, 6]
    assert len(made) == len(read_prompts(out)) == 9


def test_resumes_and_keeps_what_is_there(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"
    kept = PromptEntry("synthetic", "night_000001", "Written by hand.", "human")
    elsewhere = PromptEntry("tno", "01", "Another data set.", "caption")
    save_prompts(out, [kept, elsewhere])
    assert len(extend_prompts([SyntheticDataset(3, SIZE)], out, "dataset")) == 2
    entries = read_prompts(out)
    assert entries[:2] == [kept, elsewhere]
    assert [(entry.name, entry.prompt, entry.source) for entry in entries[2:]] == [
        (name, SENTENCES["synthetic"], "dataset") for name in ("day_000000", "dusk_000002")
    ]
    assert extend_prompts([SyntheticDataset(3, SIZE)], out, "template") == []
    assert read_prompts(out) == entries


def test_a_pair_of_two_readers_gets_one_prompt(tmp_path: Path) -> None:
    reader = SyntheticDataset(3, SIZE)
    made = extend_prompts([reader.select(reader.names[:2]), reader], tmp_path / "prompts.jsonl", "dataset")
    assert [entry.name for entry in made] == reader.names


def test_the_written_file_serves_as_source(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"
    reader = SyntheticDataset(2, SIZE)
    extend_prompts([reader], out, "template")
    dataset = PromptedDataset(reader, PromptConfig("file", out))
    assert dataset[1]["prompt"] == reader[1]["prompt"]
    assert dataset.leaks_labels


def test_prompts_that_a_reader_carries_are_not_used(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"
    wrapped = PromptedDataset(SyntheticDataset(1, SIZE), PromptConfig("coarse", sentence="Something else."))
    extend_prompts([wrapped], out, "dataset")
    assert read_prompts(out)[0].prompt == SENTENCES["synthetic"]


def test_joined_captions_leave_out_what_was_not_said() -> None:
    assert join_captions("Two men.", "A street.") == "Infrared: Two men. Visible: A street."
    assert join_captions("", "A street.") == "Visible: A street."
    assert join_captions("", "") == ""


def test_missing_weights_stop_at_once_and_say_what_to_fetch(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = write_tno(tmp_path / "TNO"), tmp_path / "prompts.jsonl"
    start = time.perf_counter()
    assert main([*command(out, root), "--coca=coca_ViT-B-32"]) == 1
    assert time.perf_counter() - start < 5
    message = capsys.readouterr().err
    assert "https://huggingface.co/laion/mscoco_finetuned_CoCa-ViT-B-32-laion2B-s13B-b90k/" in message
    assert str(tmp_path / "weights") in message
    assert "--coca FILE" in message
    assert "Traceback" not in message
    assert not out.exists()


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--coca=openai/ViT-B-32", "'openai/ViT-B-32' names no captioning model"),
        ("--coca=nowhere.pt", "'nowhere.pt' are no file"),
        ("--batch_size=0", "--batch_size is 0; it must be at least 1"),
        ("--device=abacus", "--device 'abacus' cannot be used here"),
        ("--by=magic", "magic"),
        ("--stage=dawn", "dawn"),
    ],
)
def test_wrong_options_are_named(
    option: str, complaint: str, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "prompts.jsonl"
    assert main([*command(out, write_tno(tmp_path / "TNO")), option]) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert complaint in message
    assert not out.exists()


def test_an_unreadable_image_keeps_the_prompts_before_it(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_weights(weights)
    root, out = write_tno(tmp_path / "TNO", count=4), tmp_path / "prompts.jsonl"
    broken = sorted((root / "vi").iterdir())[2]
    broken.write_bytes(b"no image")
    assert main(command(out, root, "--batch_size=1")) == 1
    assert broken.name in capsys.readouterr().err
    assert [line["source"] for line in lines_of(out)] == ["caption"] * 2


def test_too_little_memory_says_what_to_lower(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_weights(weights)

    def full(*arguments: Any) -> list[str]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Captioner, "caption", full)
    assert main(command(tmp_path / "prompts.jsonl", write_tno(tmp_path / "TNO"))) == 1
    assert "lower --batch_size" in capsys.readouterr().err


def test_refusals(tmp_path: Path) -> None:
    out = tmp_path / "prompts.jsonl"
    with pytest.raises(PromptError, match="There is no pair"):
        write_prompts([], out)
    with pytest.raises(PromptError, match="cannot be made by 'caption'; known: auto, template, dataset, coca"):
        extend_prompts([SyntheticDataset(1, SIZE)], out, "caption")  # type: ignore[arg-type]
    bare: Dataset[Sample] = Dataset()
    with pytest.raises(PromptError, match="is not a reader of pairs"):
        write_prompts([bare], out)
    assert not out.exists()
    out.write_text("{broken", encoding="utf-8")
    with pytest.raises(PromptError, match="line 1"):
        write_prompts([SyntheticDataset(1, SIZE)], out, "coca", CaptionConfig("nothing"))
    assert out.read_text(encoding="utf-8") == "{broken"
