"""The public function of two pictures, against what `predict` writes of the same files."""

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import ivif
from ivif.commands.cli import main
from ivif.datamodules.datasets.palettes import palette_colours
from ivif.datamodules.datasets.thermal import ThermalRange
from ivif.datamodules.loaders import SameSizeGroups
from ivif.files.errors import UnreadableFileError
from ivif.inference import Fuser
from tests.commands.runs import newest_run, tiny_run
from tests.fakes import write_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert main(tiny_run("fit", runs, "--trainer.limit_val_batches=0")) == 0
    return newest_run(runs)


@pytest.fixture(scope="module")
def fuser(run: Path) -> Fuser:
    return ivif.load(run, "cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture
def pair(root: Path) -> tuple[Path, Path]:
    infrared = min((root / "ir").iterdir())
    return infrared, next((root / "vi").glob(f"{infrared.stem}.*"))


def opened(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def test_two_files_two_folders_and_predict_give_the_same_bytes(
    run: Path, fuser: Fuser, root: Path, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infrared, visible = pair
    predicted, folders, one = tmp_path / "predicted", tmp_path / "folders", tmp_path / "one.png"
    quiet = ["--trainer.accelerator=cpu", f"--runs_dir={tmp_path / 'runs'}"]
    line = ["predict", f"--run={run}", "--data=folder.yaml", f"--data.root={root}", f"--output_dir={predicted}"]
    assert main([*line, *quiet]) == 0
    model = [f"--model={run}", "--device=cpu"]
    assert main(["fuse", str(infrared), str(visible), f"--out={one}", *model]) == 0
    assert main(["fuse", str(root / "ir"), str(root / "vi"), f"--out={folders}", *model]) == 0
    expected = (predicted / f"{infrared.stem}.png").read_bytes()
    assert (folders / f"{infrared.stem}.png").read_bytes() == expected
    assert one.read_bytes() == expected
    assert {path.name for path in folders.glob("*.png")} == {path.name for path in predicted.glob("*.png")}
    begun = SameSizeGroups.__init__
    together: list[int] = []

    def watched(groups: SameSizeGroups, *rest: Any) -> None:
        begun(groups, *rest)
        together.extend(map(len, groups.groups))

    monkeypatch.setattr(SameSizeGroups, "__init__", watched)
    batched = tmp_path / "batched"
    assert main(["fuse", str(root / "ir"), str(root / "vi"), f"--out={batched}", *model, "--batch_size=2"]) == 0
    assert max(together) == 2
    assert np.abs(opened(batched / f"{infrared.stem}.png").astype(int) - opened(one)).max() <= 1
    fused = fuser(infrared, visible)
    assert isinstance(fused, Image.Image)
    assert np.array_equal(np.asarray(fused), opened(one))


def test_a_picture_comes_back_as_it_was_given(fuser: Fuser, pair: tuple[Path, Path]) -> None:
    infrared, visible = opened(pair[0]), opened(pair[1])
    infrared = infrared if infrared.ndim == 2 else infrared[..., 0]
    expected = np.asarray(fuser(*pair))
    of_array = fuser(infrared, visible)
    assert isinstance(of_array, np.ndarray)
    assert of_array.dtype == np.uint8
    assert np.array_equal(of_array, expected)
    assert np.array_equal(np.asarray(fuser(Image.fromarray(infrared), Image.fromarray(visible))), expected)
    assert np.array_equal(np.asarray(fuser(infrared[..., None], visible)), expected)
    tensor = fuser(torch.from_numpy(infrared.copy()), torch.from_numpy(visible.copy()).permute(2, 0, 1))
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.uint8
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), expected)
    floats = fuser(infrared / np.float32(255), visible.astype(np.float64) / 255)
    assert isinstance(floats, np.ndarray)
    assert floats.dtype == np.float64
    assert np.abs(floats * 255 - expected).max() <= 0.51
    whole = Fuser(fuser.task, ThermalRange("type"))
    deep = whole(infrared.astype(np.uint16) * 257, visible.astype(np.uint16) * 257)
    assert isinstance(deep, np.ndarray)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - expected).max() <= 0.51


def test_grey_visible_and_another_size(fuser: Fuser, pair: tuple[Path, Path]) -> None:
    infrared, visible = opened(pair[0]), opened(pair[1])
    fused = fuser(np.ascontiguousarray(infrared[::2, ::2]), visible[..., 1])
    assert isinstance(fused, np.ndarray)
    assert fused.shape == visible.shape


def test_false_colours_are_intensities_here_too(fuser: Fuser, pair: tuple[Path, Path]) -> None:
    levels = np.tile(np.arange(96, 192, 2, dtype=np.uint8), (48, 1))
    visible = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    assert np.array_equal(fuser(palette_colours("iron")[levels], visible), fuser(levels, visible))
    with pytest.raises(ValueError, match="no known palette: give one channel"):
        fuser(visible, visible)


def test_lists_threads_and_copies_give_the_same(fuser: Fuser, pair: tuple[Path, Path]) -> None:
    expected = np.asarray(fuser(*pair))
    together = fuser([pair[0]] * 2, [pair[1]] * 2)
    assert isinstance(together, list)
    assert [np.array_equal(np.asarray(each), expected) for each in together] == [True, True]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: np.asarray(fuser(*pair)), range(8)))
    assert all(np.array_equal(each, expected) for each in found)
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(fuser))(*pair)), expected)  # as spawned workers do


def test_a_fuser_that_chooses_tiles_can_be_sent_to_workers(run: Path, fuser: Fuser, pair: tuple[Path, Path]) -> None:
    automatic = ivif.load(run, "cpu", tile="auto")
    sent: Fuser = pickle.loads(pickle.dumps(automatic))
    assert np.array_equal(np.asarray(sent(*pair)), np.asarray(fuser(*pair)))
    assert sent.task.tile == "auto"
    with automatic._turn, ThreadPoolExecutor(1) as pool:  # each has a lock, and one of its own
        assert pool.submit(sent._turn.__enter__).result(timeout=60)
        assert not pool.submit(automatic._turn.acquire, blocking=False).result(timeout=60)  # type: ignore[attr-defined]


@pytest.mark.slow  # a new process imports PyTorch
def test_spawned_workers_fuse_alike(run: Path, fuser: Fuser, pair: tuple[Path, Path]) -> None:
    automatic: Any = ivif.load(run, "cpu", tile="auto")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(automatic, *map(str, pair)).result(timeout=300)
    assert np.array_equal(np.asarray(found), np.asarray(fuser(*pair)))


def test_tensors_are_fused_as_a_batch(fuser: Fuser) -> None:
    infrared, visible = torch.rand(2, 1, 40, 52), torch.rand(2, 3, 40, 52)
    fused = fuser.fuse_tensors(infrared, visible)
    assert fused.shape == visible.shape
    single = fuser(infrared[1], visible[1])
    assert isinstance(single, torch.Tensor)
    assert torch.allclose(single, fused[1], atol=1e-5)
    assert not fused.requires_grad


@pytest.mark.parametrize(
    ("infrared", "visible", "message"),
    [
        (np.zeros((8, 8, 2), np.uint8), np.zeros((8, 8), np.uint8), r"infrared has the shape \(8, 8, 2\)"),
        (np.zeros((8, 8), np.int64), np.zeros((8, 8), np.uint8), "is of int64: give uint8, uint16, or floats"),
        (np.full((8, 8), np.nan), np.zeros((8, 8), np.uint8), "not finite"),
        (np.zeros((8, 8), np.float32), np.full((8, 8), 7.0), "from 7 to 7"),
        (np.zeros((8, 8), np.uint8), 3, "visible is a int"),
        ([np.zeros((8, 8), np.uint8)], [], "1 infrared pictures, 0 visible ones"),
        ([np.zeros((8, 8), np.uint8)], np.zeros((8, 8), np.uint8), "is a list, the other is none"),
    ],
)
def test_what_is_no_picture_is_named(fuser: Fuser, infrared: Any, visible: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuser(infrared, visible)


def test_what_the_network_lacks_is_named(fuser: Fuser, pair: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="MGFusionTask takes no text"):
        fuser(*pair, prompt="a street at night")
    with pytest.raises(ValueError, match="MGFusionTask has no detector"):
        fuser.detect(*pair)
    with pytest.raises(UnreadableFileError, match=r"missing\.png"):
        fuser(pair[0], pair[1].with_name("missing.png"))


def test_refused_lines_say_what_helps(
    run: Path, root: Path, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared, visible = map(str, pair)
    there = tmp_path / "there.png"
    there.write_bytes(b"mine")
    for line, message in (
        ([infrared, str(tmp_path / "no.png"), "--out=f.png"], "There is no file or folder"),
        ([infrared, str(root / "vi"), "--out=f.png"], "give two pictures, or two folders of pictures"),
        ([infrared, visible, f"--out={tmp_path}"], "is a folder: name the picture to write"),
        ([infrared, visible, "--out=f.gif"], "a picture ends in"),
        ([infrared, visible, f"--out={visible}"], "is one of the two pictures"),
        ([infrared, visible, f"--out={there}"], "--overwrite true"),
        ([infrared, visible, f"--out={tmp_path / 'f.png'}", "--prompt=fog"], "takes no text"),
        ([infrared, visible, f"--out={tmp_path / 'f.png'}", "--thermal_range=fixed"], "needs `high`"),
        ([infrared, visible, f"--out={tmp_path / 'f.png'}", "--model=mgfusion-lihgt"], "no file, run folder or model"),
        ([str(root / "ir"), str(root / "vi"), "--out=f.png"], "of two folders a folder is made"),
        ([str(root / "ir"), str(root / "vi"), "--out=f", "--side_by_side=true"], "--side_by_side is of two pictures"),
        ([str(root / "ir"), str(root / "vi"), "--out=f", "--prompt=fog"], "--prompt is of two pictures"),
    ):
        model = [] if any(option.startswith("--model") for option in line) else [f"--model={run}"]
        assert main(["fuse", *line, *model, "--device=cpu"]) != 0
        printed = capsys.readouterr().err
        assert message in printed
        assert "Traceback" not in printed
    assert there.read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.png"]


def test_formats_and_the_panel(
    run: Path, pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    infrared, visible = pair
    line = ["fuse", str(infrared), str(visible), f"--model={run}", "--device=cpu"]
    assert main([*line, f"--out={tmp_path / 'a.png'}", "--side_by_side=true", "--colormap=inferno"]) == 0
    turned = ["--device", "cpu", "--model", str(run), "--out", str(tmp_path / "a.tif"), str(infrared), str(visible)]
    assert main(["fuse", *turned]) == 0
    assert np.array_equal(opened(tmp_path / "a.png"), opened(tmp_path / "a.tif"))
    height, width = opened(visible).shape[:2]
    panel = opened(tmp_path / "a_panel.png")
    assert panel.shape[1] >= 3 * width
    assert panel.shape[0] >= height
    assert f"Side by side: {tmp_path / 'a_panel.png'}" in capsys.readouterr().out
    narrow = tmp_path / "narrow.png"
    Image.open(infrared).resize((width // 2, height)).save(narrow)
    assert main(["fuse", str(narrow), str(visible), f"--model={run}", f"--out={tmp_path / 'b.png'}"]) == 0
    assert "has other proportions than" in capsys.readouterr().err
