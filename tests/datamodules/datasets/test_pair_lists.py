"""Lists of pairs, lists of splits, splits by folders and sequences."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.prompts import PromptConfig
from ivif.datamodules.folder import FolderDataModule
from ivif.files.errors import LabelError, PairingError, SplitError
from tests.datamodules.datasets.test_pair_names import touch
from tests.inputs import brings


def listed(root: Path, text: str, name: str = "pairs.csv") -> FolderDataset:
    """The pairs of a list; `a` and `b` lie in `hot` and `seen`, a label beside."""
    touch(root, "hot/a.png", "hot/b.png", "seen/x.jpg", "seen/y.jpg", "boxes/x.txt", "words.txt")
    (root / name).write_text(text, encoding="utf-8")
    return FolderDataset(root, layout=FolderLayout(pairs=name), classes=["person"])


def names(data: FolderDataModule, stage: str) -> list[str]:
    return [name for reader in data.stage_readers(stage) for name in reader.names]  # type: ignore[attr-defined]


CSV = """infrared,visible,label,prompt,split
hot/a.png,seen/x.jpg,boxes/x.txt,"one, two",train
hot/b.png,seen/y.jpg,,,test
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(
            "pairs.csv",
            CSV,
            marks=brings(
                "pairs",
                "a list of pairs: CSV of infrared, visible, label, prompt, split",
                "works",
                "each of them counts",
            ),
        ),
        ("semicolons.csv", CSV.replace('"one, two"', "one% two").replace(",", ";").replace("%", ",")),
        pytest.param(
            "pairs.jsonl",
            '{"infrared": "hot/a.png", "visible": "seen/x.jpg", "label": "boxes/x.txt", "prompt": "one, two", '
            '"split": "train"}\n\n{"infrared": "hot/b.png", "visible": "seen/y.jpg", "split": "testing"}\n',
            marks=brings("pairs", "a list of pairs as JSON lines", "works", "as CSV"),
        ),
    ],
)
def test_a_list_says_all_of_a_pair(tmp_path: Path, name: str, text: str) -> None:
    dataset = listed(tmp_path, text, name)
    assert dataset.names == ["x", "y"]
    first, second = dataset.records
    assert (first.infrared, first.visible) == (tmp_path / "hot" / "a.png", tmp_path / "seen" / "x.jpg")
    assert (first.label, second.label) == (tmp_path / "boxes" / "x.txt", None)
    assert (first.split, second.split) == ("train", "test")
    assert {name: entry.prompt for name, entry in dataset.listed_prompts.items()} == {"x": "one, two", "y": ""}


def test_names_of_a_list_take_folders_where_stems_repeat(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"all/{part}/{kind}/1.png" for part in ("a", "b") for kind in ("ir", "vi")))
    rows = "".join(f"all/{part}/ir/1.png,all/{part}/vi/1.png\n" for part in ("a", "b"))
    (root / "pairs.csv").write_text(f"infrared,visible\n{rows}")
    dataset = FolderDataset(root, layout=FolderLayout(pairs="pairs.csv"))
    assert dataset.names == ["a_1", "b_1"]
    assert dataset.sequences() == {"a": ["a_1"], "b": ["b_1"]}


HEAD = "infrared,visible,label,split,name\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no pair"),
        ("visible\nseen/x.jpg\n", "the first line names no column 'infrared'"),
        (f"{HEAD}hot/a.png,seen/z.jpg,,,\n", "line 2: the visible picture 'seen/z.jpg' is not under"),
        (f"{HEAD}hot/a.png,words.txt,,,\n", "line 2: 'words.txt' is no picture"),
        (f"{HEAD}hot/a.png,seen/x.jpg,boxes/z.txt,,\n", "line 2: the label 'boxes/z.txt' is not under"),
        (f"{HEAD}hot/a.png,seen/x.jpg,,holdout,\n", "line 2: the split is 'holdout'; known: train, val, test"),
        (f"{HEAD}hot/a.png,seen/x.jpg,,,../x\n", "line 2: name is '../x'; it must be a plain name"),
        (f"{HEAD}hot/a.png,hot/a.png,,,\n", "line 2: infrared and visible name different pictures"),
        (f"{HEAD}hot/a.png,seen/x.jpg,,,,,,,\n", "line 2: more values than the first line has columns"),
        (f"{HEAD}hot/a.png,seen/x.jpg,,,\nhot/b.png,seen/x.jpg,,,\n", "Two pairs are called 'x'"),
        (f"{HEAD}hot/a.png,seen/x.jpg,,,\nhot/a.png,seen/x.jpg,,,\n", "line 3: the pair stands in line 2 too. Remove"),
        ("hot/a.png,seen/x.jpg\nhot/b.png,seen/y.jpg\n", "the first line names no column 'infrared'. Its first line"),
        (f"{HEAD}h\0t/a.png,seen/x.jpg,,,\n", "line 2: the infrared picture 'h\\x00t/a.png' is not under"),
    ],
)
@brings(
    "pairs", "a list with a wrong path, split, name or a picture paired with itself", "refused", "names file and line"
)
def test_mistakes_of_a_list_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PairingError) as error:
        listed(tmp_path, text)
    assert words in str(error.value)


def test_a_path_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PairingError, match="is not under"):
        listed(tmp_path, '{"infrared": "\\ud800/a.png", "visible": "seen/x.jpg"}', "pairs.jsonl")


def test_the_first_line_of_a_list_is_read_in_any_case(tmp_path: Path) -> None:
    assert listed(tmp_path, "Infrared,Visible,Split\nhot/a.png,seen/x.jpg,test\n").names_of("test") == ["x"]


@pytest.mark.parametrize(("split", "told"), [("", True), ("val", False)])
def test_pairs_of_no_stage_are_told(tmp_path: Path, split: str, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *(f"{kind}/{stem}.png" for kind in ("ir", "vi") for stem in "abc"))
    rows = "".join(
        f"ir/{stem}.png,vi/{stem}.png,{part}\n" for stem, part in zip("abc", ("train", "test", split), strict=True)
    )
    (tmp_path / "pairs.csv").write_text(f"infrared,visible,split\n{rows}")
    FolderDataset(tmp_path, layout=FolderLayout(pairs="pairs.csv"))
    assert ("1 of 3 pairs are of no split" in caplog.text) == told


def test_columns_that_are_not_read_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed(tmp_path, "infrared,visible,lable\nhot/a.png,seen/x.jpg,boxes/x.txt\n")
    assert "the column(s) lable are not read" in caplog.text


def test_labels_of_a_list_need_classes(tmp_path: Path) -> None:
    listed(tmp_path, CSV)
    with pytest.raises(LabelError, match="set `classes`"):
        FolderDataset(tmp_path, layout=FolderLayout(pairs="pairs.csv"))


@brings("pairs", "prompts in a list of pairs", "works", "each pair has its own, unless `prompts.source` says otherwise")
def test_prompts_of_a_list_reach_the_samples(tmp_path: Path) -> None:
    listed(tmp_path, CSV)
    for file in ("hot/a.png", "hot/b.png", "seen/x.jpg", "seen/y.jpg"):
        Image.fromarray(np.full((8, 9), 7, dtype=np.uint8)).save(tmp_path / file)
    layout = FolderLayout(pairs="pairs.csv")
    for source, prompts in ((None, ["one, two", ""]), ("pairs", ["one, two", ""]), ("none", ["", ""])):
        config = PromptConfig(source) if source else None  # type: ignore[arg-type]
        data = FolderDataModule(root=tmp_path, layout=layout, prompts=config, classes=["person"])
        (reader,) = data.stage_readers("all")
        assert [reader[index]["prompt"] for index in range(2)] == prompts


@brings(
    "pairs", "folders `train`, `val`, `test` of one's own", "works", "they are the stages, and `data check` has them"
)
@pytest.mark.parametrize("order", ["stage first", "modality first"])
def test_folders_are_stages(tmp_path: Path, order: str) -> None:
    parts = {"train": ("1", "2", "3"), "val": ("4",), "test": ("5",)}
    for stage, stems in parts.items():
        for kind in ("ir", "vi"):
            folder = f"{stage}/{kind}" if order == "stage first" else f"{kind}/{stage}"
            touch(tmp_path, *(f"{folder}/{stem}.png" for stem in stems))
    data = FolderDataModule(root=tmp_path)
    assert {stage: tuple(sorted(names(data, stage))) for stage in parts} == parts
    assert FolderDataset(tmp_path, "val").names == ["4"]
    assert sorted(names(data, "all")) == ["1", "2", "3", "4", "5"]


@brings("pairs", "the same names in `train` and `test`", "works", "pairs are called `train_1` and `test_1`")
def test_stages_may_repeat_names(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"{stage}/{kind}/{stem}.png" for stage in ("train", "test") for kind in ("ir", "vi") for stem in "12"),
    )
    data = FolderDataModule(root=tmp_path)
    assert names(data, "train") == ["train_1", "train_2"]
    assert names(data, "val") == names(data, "test") == ["test_1", "test_2"]


def test_a_split_that_no_pair_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"is of 'val'.*layout\.val_list"):
        FolderDataset(touch(tmp_path, "ir/1.png", "vi/1.png"), "val")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        pytest.param(
            "some.txt",
            "00002\n00003\n",
            marks=brings("pairs", "names of a stage, one a line", "works", "`layout.train_list`"),
        ),
        ("some.txt", "vi/00002.png\r\nir/00003.png\r\n"),
        ("some.txt", "/far/away/mine/vi/00002.jpg\n00003\n"),
        pytest.param(
            "some.csv",
            "scene,name\nyard,00002\nhall,00003\n",
            marks=brings(
                "pairs", "names of a stage in a column of a CSV file", "works", "column name, image or file_name"
            ),
        ),
        ("some.csv", "00002\n00003\n"),
    ],
)
def test_lists_of_names_are_stages(tmp_path: Path, file: str, text: str) -> None:
    root = touch(tmp_path, *(f"{kind}/{number:05}.png" for kind in ("ir", "vi") for number in range(1, 6)))
    (root / file).write_text(text, newline="")
    train = FolderDataModule(root=root, layout=FolderLayout(train_list=file))
    assert (names(train, "train"), names(train, "test")) == (["00002", "00003"], ["00001", "00004", "00005"])
    test = FolderDataModule(root=root, layout=FolderLayout(test_list=file))
    assert (names(test, "train"), names(test, "val")) == (["00001", "00004", "00005"], ["00002", "00003"])


def test_lists_of_sequences_are_stages(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"set00/V00{v}/{kind}/I1.jpg" for v in "01" for kind in ("lwir", "visible")))
    (root / "train.txt").write_text("set00/V000/I1\n")
    (root / "test.txt").write_text("set00/V001/visible/I1.jpg\n")
    data = FolderDataModule(root=root, layout=FolderLayout(train_list="train.txt", test_list="test.txt"))
    assert (names(data, "train"), names(data, "test")) == (["set00_V000_I1"], ["set00_V001_I1"])
    (root / "test.txt").write_text("I1\n")
    with pytest.raises(SplitError, match=r"1 of 1 lines of .*test\.txt' name none of the 2 pairs, or several"):
        names(FolderDataModule(root=root, layout=FolderLayout(test_list="test.txt")), "test")


@brings("pairs", "a list with a name that is no pair's, or that another list has", "refused", "names the line")
def test_lists_that_cannot_be_are_refused(tmp_path: Path) -> None:
    root = touch(tmp_path, "ir/1.png", "vi/1.png", "ir/2.png", "vi/2.png")
    (root / "one.txt").write_text("1\n2\n")
    (root / "two.txt").write_text("2\n")
    (root / "bad.txt").write_text("1\n7\n")
    for layout, words in (
        (FolderLayout(train_list="one.txt", test_list="two.txt"), r"'2' stands in the lists of 'train' and of 'test'"),
        (FolderLayout(train_list="bad.txt"), r"1 of 2 lines of .*bad\.txt' .*\(7\)"),
    ):
        with pytest.raises(SplitError, match=words):
            FolderDataset(root, layout=layout)
    with pytest.raises(PairingError, match=r"no file .*nowhere\.txt'. Correct `layout\.val_list`"):
        FolderDataset(root, layout=FolderLayout(val_list="nowhere.txt"))


@brings("pairs", "sequences in folders, without a split", "works", "no sequence is in two stages")
def test_sequences_are_not_divided(tmp_path: Path) -> None:
    for number, count in enumerate((7, 1, 4, 3, 5)):
        touch(tmp_path, *(f"s{number}/{kind}/{stem}.png" for kind in ("ir", "vi") for stem in range(count)))
    for fraction in (0.1, 0.5, 0.8, 0.95):
        data = FolderDataModule(root=tmp_path, train_fraction=fraction)
        train, test = names(data, "train"), names(data, "test")
        assert len(train) + len(test) == 20
        assert not {name[:2] for name in train} & {name[:2] for name in test}
        assert train
        assert test
        assert abs(len(train) - 20 * fraction) <= 4
    with_all = FolderDataModule(root=tmp_path, train_fraction=1.0)
    assert (len(names(with_all, "train")), len(names(with_all, "test"))) == (20, 0)


@brings("pairs", "sequences in names: `layout.sequence '^([a-z]+)'`", "works", "no sequence is in two stages")
def test_sequences_may_stand_in_names(tmp_path: Path) -> None:
    root = touch(
        tmp_path, *(f"{kind}/{scene}_{stem}.png" for kind in ("ir", "vi") for scene in "abcd" for stem in range(3))
    )
    layout = FolderLayout(sequence="^([a-z])_")
    data = FolderDataModule(root=root, layout=layout, train_fraction=0.75)
    train, test = names(data, "train"), names(data, "test")
    assert (len(train), len(test)) == (9, 3)
    assert not {name[0] for name in train} & {name[0] for name in test}
    with pytest.raises(PairingError, match=r"`layout\.sequence`: 'q' finds no sequence in the name 'a_0'"):
        names(FolderDataModule(root=root, layout=FolderLayout(sequence="q")), "train")


def test_a_split_by_a_pattern_is_that_of_before_names_kept_their_case(tmp_path: Path) -> None:
    root = touch(tmp_path, *(f"{kind}/Scene{number}.png" for kind in ("ir", "vi") for number in range(9)))
    layout = FolderLayout(pattern=r"(Scene\d)")
    kept = names(FolderDataModule(root=root, layout=layout, train_fraction=0.5), "train")
    order = FolderDataModule(root=root).manifest.order("folder", [f"scene{number}" for number in range(9)])
    assert [name.casefold() for name in kept] == order[:4]


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(
            "labels/0001.txt", marks=brings("labels", "`0001.txt` of `0001_ir`, `0001_vis`", "works", "by the pair")
        ),
        "labels/0001_vis.txt",
        "labels/0001_ir.txt",
    ],
)
def test_labels_are_called_after_the_pair_or_a_picture(tmp_path: Path, label: str) -> None:
    root = touch(tmp_path, "0001_ir.png", "0001_vis.png", label)
    (record,) = FolderDataset(root, layout=FolderLayout(labels="labels"), classes=["person"]).records
    assert record.label == root / label


@pytest.mark.parametrize("template", ["labels/{}/1.txt", "labels/{}_1.txt"])
@brings(
    "labels", "labels in the folders of their pictures, `labels/train/1.txt`, or by pairs' names", "works", "by the key"
)
def test_labels_of_a_tree_go_by_key_or_name(tmp_path: Path, template: str) -> None:
    pictures = [f"{part}/{kind}/1.png" for part in ("train", "test") for kind in ("ir", "vi")]
    root = touch(tmp_path, *pictures, *(template.format(part) for part in ("train", "test")))
    dataset = FolderDataset(root, layout=FolderLayout(labels="labels"), classes=["person"])
    assert {record.name: record.label for record in dataset.records} == {
        f"{part}_1": root / template.format(part) for part in ("train", "test")
    }
    assert not dataset.pairing.stray_labels


@brings("labels", "one `labels/1.txt` for two pairs of different folders", "refused", "says where labels must lie")
def test_one_label_is_not_of_two_pairs(tmp_path: Path) -> None:
    pictures = [f"{part}/{kind}/1.png" for part in ("train", "test") for kind in ("ir", "vi")]
    root = touch(tmp_path, *pictures, "labels/1.txt")
    with pytest.raises(LabelError, match="which several pairs are called"):
        FolderDataset(root, layout=FolderLayout(labels="labels"), classes=["person"])
