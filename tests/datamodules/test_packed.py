"""Packed datasets: the same samples, stages, draws and runs as of the files, and no shard that is not whole."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ivif.callbacks.stop_requests import RunStoppedError
from ivif.datamodules.base import FusionDataModule
from ivif.datamodules.configuration import LoadingConfig, TransformConfig
from ivif.datamodules.datasets.base import PairedDataset, ReadingConfig
from ivif.datamodules.datasets.cache import CachedDataset
from ivif.datamodules.datasets.folder import FolderDataset, FolderLayout
from ivif.datamodules.datasets.io import content_id
from ivif.datamodules.datasets.packed.table import PackError
from ivif.datamodules.datasets.prompts import PromptConfig
from ivif.datamodules.datasets.roadscene import RoadScene
from ivif.datamodules.folder import FolderDataModule
from ivif.datamodules.llvip import LLVIPDataModule
from ivif.datamodules.m3fd import M3FDDataModule
from ivif.datamodules.msrs import MSRSDataModule
from ivif.datamodules.roadscene import RoadSceneDataModule
from ivif.datamodules.tno import TNODataModule
from ivif.datamodules.unified import UnifiedDataModule
from ivif.files.errors import DatasetNotFoundError, UnreadableFileError
from ivif.files.packed import PackedFile
from tests.fakes import Faults, write_folder, write_llvip, write_m3fd, write_msrs, write_roadscene, write_tno
from tests.inputs import brings
from tests.packs import packed, plain, same_stages, samples
from tests.refusals import refusal
from tests.resuming import AskToStop, differences, last, train

CASES: dict[str, tuple[Callable[[Path], Path], Callable[..., FusionDataModule]]] = {
    "m3fd": (lambda root: write_m3fd(root, 6), M3FDDataModule),
    "m3fd with YOLO": (lambda root: write_m3fd(root, 6, folders=("Ir", "Vis", "")), M3FDDataModule),
    "m3fd_fusion": (lambda root: write_m3fd(root, 3), lambda **given: M3FDDataModule(subset="fusion", **given)),
    "msrs": (lambda root: write_msrs(root, 8), MSRSDataModule),
    "llvip": (write_llvip, LLVIPDataModule),
    "roadscene": (lambda root: write_roadscene(root, faults=Faults(infrared_scale=0.5)), RoadSceneDataModule),
    "tno": (write_tno, TNODataModule),
    "folder": (lambda root: write_folder(root, 6, faults=Faults(exif_rotation=True)), FolderDataModule),
}


def lists(root: Path) -> FolderLayout:
    """Files under other names, paired by a list with labels, prompts, names and splits."""
    write_folder(root / "raw", 4)
    rows = [
        f'{{"infrared": "raw/ir/00{n}.png", "visible": "raw/vi/00{n}.png", "label": "raw/voc/00{n}.xml", '
        f'"prompt": "pair {n}", "name": "x{n}", "split": "{split}"}}'
        for n, split in enumerate(("train", "train", "val", "test"))
    ]

    (root / "list.jsonl").write_text("\n".join(rows))
    return FolderLayout(pairs="list.jsonl", name="mine", sequence=r"x(\d)")


@pytest.mark.parametrize("case", CASES)
def test_every_stage_has_the_samples_of_the_files(case: str, tmp_path: Path) -> None:
    write, module = CASES[case]
    root = write(tmp_path / "files")
    out = packed(module(root=root), tmp_path / "shards")
    shutil.move(root, tmp_path / "elsewhere")
    files, shards = module(root=tmp_path / "elsewhere"), module(root=out)
    assert same_stages(files, shards) >= 3
    assert shards.classes == files.classes
    assert len(list(out.glob("chunk-*.bin"))) > 1


@pytest.mark.parametrize("labels", ["voc", "yolo", "coco.json"])
def test_a_folder_with_boxes_is_read_by_its_root_alone(labels: str, tmp_path: Path) -> None:
    layout = FolderLayout(labels=labels, name="mine")
    given: dict[str, Any] = {"layout": layout, "classes": ["person", "car"]}
    root = write_folder(tmp_path / "files", 6)
    files = FolderDataModule(root=root, **given)
    out = packed(files, tmp_path / "shards")
    assert sum(len(sample[1]["targets"]["labels"]) for sample in samples(files.stage_readers("all"))) >= 6
    for shards in (FolderDataModule(root=out), FolderDataModule(root=out, **given)):
        same_stages(files, shards)
        assert shards.classes == ("person", "car")
    chosen = FolderDataModule(root=root, layout=layout, classes=["car"], label_classes=["person", "car"])
    same_stages(chosen, FolderDataModule(root=out, classes=["car"], label_classes=["person", "car"]))


def test_lists_names_sequences_and_prompts_come_along(tmp_path: Path) -> None:
    layout = lists(tmp_path / "files")
    files = FolderDataModule(root=tmp_path / "files", layout=layout, classes=["person", "car"])
    shards = FolderDataModule(root=packed(files, tmp_path / "shards"))
    assert same_stages(files, shards) == 8
    (reader,) = shards.stage_readers("all")
    assert [reader[index]["prompt"] for index in range(4)] == [f"pair {n}" for n in range(4)]
    assert FolderDataset(tmp_path / "shards").sequences() == {str(n): [f"x{n}"] for n in range(4)}
    assert FolderDataset(tmp_path / "shards", "val").names == ["x2"]


def test_prompts_of_a_file_are_packed_with_how_they_were_made(tmp_path: Path) -> None:
    root = write_m3fd(tmp_path / "files", 2)
    lines = [{"dataset": "m3fd", "name": "00000", "prompt": "a car", "source": "template"}]
    lines += [{"dataset": "m3fd", "name": "00001", "prompt": "a bus", "source": "human"}]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    files = M3FDDataModule(root=root, prompts=PromptConfig("file", tmp_path / "p.jsonl"))
    shards = M3FDDataModule(root=packed(files, tmp_path / "shards"))
    same_stages(files, shards)
    (reader,) = shards.stage_readers("all")
    assert [reader.origin(index) for index in range(2)] == ["template", "human"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("options", [ReadingConfig(), ReadingConfig(infrared_color="luma", labels=False)])
def test_temperatures_and_reading_options_work_as_with_files(options: ReadingConfig, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "files", 3, faults=Faults(thermal_16_bit=True))
    for number in range(3):
        values = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) + 29_000 + 100 * number
        Image.fromarray(values).save(root / "ir" / f"00{number}.png")
    (root / "ir" / "thermal.json").write_text('{"unit": "centikelvin"}')
    files = FolderDataModule(root=root, reading=options)
    out = packed(files, tmp_path / "shards")
    shards = FolderDataModule(root=out, reading=options)
    same_stages(files, shards)
    (reader,) = shards.stage_readers("all")
    assert reader[0]["infrared"].is_floating_point()


def test_several_packs_are_mixed_as_several_datasets_are(tmp_path: Path) -> None:
    roots = {"msrs": write_msrs(tmp_path / "files" / "MSRS", 6), "tno": write_tno(tmp_path / "files" / "TNO")}
    packed(MSRSDataModule(root=roots["msrs"]), tmp_path / "shards" / "msrs")
    packed(TNODataModule(root=roots["tno"]), tmp_path / "shards" / "tno")
    files, shards = (UnifiedDataModule(root=tmp_path / kind, datasets=list(roots)) for kind in ("files", "shards"))
    assert same_stages(files, shards) > 6


def test_draws_of_two_processes_are_those_of_files_and_disjoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path / "files", 10)
    out = packed(FolderDataModule(root=root), tmp_path / "shards")
    drawn: dict[Path, list[Any]] = {root: [], out: []}
    for place, batches in drawn.items():
        for rank in range(2):
            monkeypatch.setattr(FolderDataModule, "_place", lambda _, rank=rank: (rank, 2))
            loading = LoadingConfig(batch_size=2, num_workers=2 * rank, seed=3)
            module = FolderDataModule(root=place, loading=loading, transforms=TransformConfig(crop=16))
            batches.append([plain(batch) for batch in module.train_dataloader()])
    assert drawn[root] == drawn[out]
    first, second = ({name for batch in batches for name in batch["name"]} for batches in drawn[out])
    assert len(first) == len(second) == 4
    assert not first & second


def test_a_resumed_run_on_shards_ends_as_an_undisturbed_one_on_files(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "files", 10, size=(64, 64))
    out = packed(FolderDataModule(root=root), tmp_path / "shards")

    def data(place: Path) -> FolderDataModule:
        loading = LoadingConfig(batch_size=2, num_workers=0)
        return FolderDataModule(root=place, loading=loading, transforms=TransformConfig(crop=32))

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(whole, "mgfusion", data=data(root))
    with pytest.raises(RunStoppedError):
        train(stopped, "mgfusion", [AskToStop(6)], data=data(out))
    train(stopped, "mgfusion", resume=last(stopped), data=data(out))
    assert differences(whole, stopped) == []


def test_paths_of_a_pack_survive_copies_and_stay_in_it(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "files", 2)
    out = packed(FolderDataModule(root=root), tmp_path / "shards")
    (tmp_path / "classes.txt").write_text("outside")
    reader = FolderDataset(out)
    file = pickle.loads(pickle.dumps(reader)).records[0].visible
    assert file == reader.records[0].visible == out / "vi" / "000.png"
    assert file.read_bytes() == (root / "vi" / "000.png").read_bytes() == file.open("rb").read()
    assert file.stat().st_size == len(file.read_bytes())
    assert file.with_name("001.png").is_file()
    assert not (file.parent.parent.parent / "classes.txt").exists()
    assert not (file.parent / ".." / ".." / ".." / "classes.txt").exists()
    own, theirs = FolderDataset(root).records[0], reader.records[0]
    assert content_id(theirs.infrared, theirs.visible) == content_id(own.infrared, own.visible)
    with pytest.raises(FileNotFoundError):
        file.with_name("none.png").read_bytes()
    with pytest.raises(ValueError, match="rb"):
        file.open("w")


def test_a_cache_of_decoded_pairs_knows_another_pack_at_the_same_place(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "files", 2, suffix=".bmp")
    out = packed(FolderDataModule(root=root), tmp_path / "shards")
    first = CachedDataset(FolderDataset(out), "disk", tmp_path / "cache")[0]["visible"].clone()
    content = bytearray((root / "vi" / "000.bmp").read_bytes())
    content[-1] ^= 255  # as long as before
    (root / "vi" / "000.bmp").write_bytes(content)
    shutil.rmtree(out)
    packed(FolderDataModule(root=root), out)
    second = CachedDataset(FolderDataset(out), "disk", tmp_path / "cache")[0]["visible"]
    assert not torch.equal(first, second)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return packed(M3FDDataModule(root=write_m3fd(tmp_path / "files", 6)), tmp_path / "shards")


def opened(root: Path) -> PairedDataset:
    (reader,) = M3FDDataModule(root=root).stage_readers("all")
    assert isinstance(reader, PairedDataset)
    return reader


def test_litdata_reads_the_same_records(shards: Path) -> None:
    from litdata import StreamingDataset

    stream, reader = StreamingDataset(str(shards), shuffle=False), opened(shards)
    places = {(name, path): content for name, path, content in map(_first_picture, (bytes(each) for each in stream))}
    record = reader.records[4]
    assert isinstance(record.infrared, PackedFile)
    assert places[record.name, record.infrared.inner] == record.infrared.read_bytes()


def _first_picture(record: bytes) -> tuple[str, str, bytes]:
    end = 4 + int.from_bytes(record[:4], "little")
    about = json.loads(record[4:end])
    path, size, _ = about["files"][0]
    return about.get("name", ""), path, record[end : end + size]


@brings(
    "pairs", "shards of `data pack`, one of them missing", "refused", "the missing shard is named before the first step"
)
def test_a_missing_shard_is_named_at_once(shards: Path) -> None:
    (shards / "chunk-0-1.bin").unlink()
    refusal(lambda: opened(shards), UnreadableFileError, "chunk-0-1.bin", "it is missing, with", "ivif data pack")


@brings("pairs", "shards of `data pack`, one of them cut off", "refused", "before the first step, with both sizes")
def test_a_shard_that_is_cut_off_is_named_at_once(shards: Path) -> None:
    path = shards / "chunk-0-2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    size = path.stat().st_size
    refusal(lambda: opened(shards), UnreadableFileError, "chunk-0-2.bin", f"{size} bytes, not {size + 1}")


@brings(
    "pairs",
    "shards of `data pack` with a byte that changed",
    "refused",
    "the shard and the file are named when it is read",
)
def test_a_changed_byte_is_named_with_its_shard_and_file(shards: Path) -> None:
    record = opened(shards).records[3]
    assert isinstance(record.visible, PackedFile)
    place = record.visible.place
    path = Path(record.visible.pack.shards.name(place.shard))
    content = bytearray(path.read_bytes())
    content[place.offset + place.size - 20] ^= 1
    path.write_bytes(content)
    reader = opened(shards)
    refusal(lambda: reader[3], UnreadableFileError, path.name, "Vis/00003.png", "not what was packed")
    assert [reader[index]["name"] for index in (0, 1, 2, 4, 5)] == ["00000", "00001", "00002", "00004", "00005"]


@brings(
    "pairs",
    "shards of litdata whose records are pickled",
    "refused",
    "only plain bytes are read; nothing in them is run",
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_format": ["pickle"]}, 'declared as [["pickle"], null, null]'),
        ({"compression": "zstd"}, "neither compressed"),
        ({"encryption": {}}, "nor encrypted"),
    ],
)
def test_records_of_another_kind_are_refused(change: dict[str, Any], message: str, shards: Path) -> None:
    index = json.loads((shards / "index.json").read_text())
    index["config"] |= change
    (shards / "index.json").write_text(json.dumps(index))
    refusal(lambda: opened(shards), PackError, "index.json", message)


def test_an_index_of_other_shards_is_refused(shards: Path) -> None:
    index = json.loads((shards / "index.json").read_text())
    del index["chunks"][1]
    (shards / "index.json").write_text(json.dumps(index))
    refusal(lambda: opened(shards), PackError, "index.json", "other shards than 'packed.jsonl'")


@pytest.mark.parametrize("name", ["index.json", "packed.jsonl"])
def test_a_pack_without_its_index_is_not_finished(name: str, shards: Path) -> None:
    (shards / name).unlink()
    (shards / ".packing").mkdir()
    refusal(lambda: opened(shards), PackError, str(shards), "not finished", "Give the same `ivif data pack` once more")


def test_shards_of_somebody_else_are_named(shards: Path) -> None:
    (shards / "packed.jsonl").unlink()
    refusal(lambda: opened(shards), PackError, "shards of litdata without 'packed.jsonl'")


def test_a_shard_that_is_a_link_out_is_refused(shards: Path, tmp_path: Path) -> None:
    shutil.move(shards / "chunk-0-0.bin", tmp_path / "outside.bin")
    (shards / "chunk-0-0.bin").symlink_to(tmp_path / "outside.bin")
    refusal(lambda: opened(shards), UnreadableFileError, "chunk-0-0.bin", "a link out of its folder")


def test_a_pack_is_read_as_what_it_was_packed_of(tmp_path: Path, shards: Path) -> None:
    def read(module: Callable[..., FusionDataModule], root: Path, **options: Any) -> Callable[[], object]:
        return lambda: module(root=root, **options).stage_readers("all")

    refusal(read(MSRSDataModule, shards), PackError, "packed of m3fd (read by M3FD)", "read as msrs (MSRS)")
    refusal(read(FolderDataModule, shards), PackError, "read as folder (FolderDataset)")
    refusal(read(M3FDDataModule, shards, subset="fusion"), PackError, "read as m3fd_fusion")
    refusal(lambda: RoadScene(shards), PackError, "read as roadscene")
    msrs = packed(MSRSDataModule(root=write_msrs(tmp_path / "msrs")), tmp_path / "packed")
    refusal(
        read(MSRSDataModule, msrs, labels="visible"), PackError, "packed with labels 'fusion'", "`labels` is 'visible'"
    )
    folder = packed(FolderDataModule(root=write_folder(tmp_path / "own")), tmp_path / "mine")
    refusal(read(FolderDataModule, folder, layout=FolderLayout(labels="voc")), PackError, "Leave `layout` out")
    refusal(lambda: FolderDataset(folder, "val"), DatasetNotFoundError, "pairs of 'val'")


def test_a_split_that_was_not_there_is_not_there(tmp_path: Path) -> None:
    root = write_msrs(tmp_path / "files", 4)
    shutil.rmtree(root / "test")
    out = packed(MSRSDataModule(root=root), tmp_path / "shards")
    module = MSRSDataModule(root=out)
    assert len(module.stage_readers("train")) == 1
    refusal(lambda: module.stage_readers("test"), DatasetNotFoundError, "pairs of 'test'", "Pack the dataset again")
