"""Pairs fused from TIFF to TIFF in tiles, against the same files fused in memory."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

import ivif
from ivif.contracts.batch import Batch
from ivif.files.errors import UserError
from ivif.inference import Fuser
from ivif.inference.large import fuse_large
from ivif.inference.large_pair import LargePair
from ivif.lightning_modules.mgfusion import MGFusionTask
from ivif.lightning_modules.tiles import TilesMixin
from ivif.models.layers import gathered_map
from ivif.models.mgfusion import MGFusionConfig
from tests.refusals import refusal

MIB: Final = 2**20
CPU: Final = torch.device("cpu")


def write_pair(folder: Path, height: int, width: int, kind: str = "uint8", colours: str = "uint8") -> tuple[Path, Path]:
    """A pair in which everything differs from place to place: infrared in strips, visible in tiles."""
    rng, (rows, columns) = np.random.default_rng(0), np.mgrid[:height, :width]
    infrared = 0.3 + 0.2 * np.sin(columns / 31) + 0.3 * rng.random((height, width))
    visible = 0.5 * np.cos(rows / 50)[..., None] ** 2 + 0.4 * rng.random((height, width, 3))
    paths = folder / "infrared.tif", folder / "visible.tif"
    for path, values, numbers in zip(paths, (infrared, visible), (kind, colours), strict=True):
        scale = 1 if numbers == "float32" else np.iinfo(numbers).max
        how: dict[str, Any] = {"rowsperstrip": 50} if path is paths[0] else {"tile": (64, 64), "photometric": "rgb"}
        tifffile.imwrite(path, (values * scale).astype(numbers), compression="zlib", metadata=None, **how)
    return paths


def small_task(**options: Any) -> MGFusionTask:
    torch.manual_seed(0)
    return MGFusionTask("compact", MGFusionConfig(channels=4, heads=1, expansion=1.0, **{"blocks": 1, **options}))


def vectors_of(task: MGFusionTask, batch: Batch) -> list[Tensor]:
    """What CLIP says of a pair."""
    return [vector for vector in task._clip_vectors(batch) if vector is not None]


def both_ways(fuser: Fuser, paths: tuple[Path, Path], side: int, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Fused in memory, and from file to file."""
    with LargePair(*paths, fuser.thermal_range) as pair:
        fuse_large(fuser, pair, out, side)
    return np.asarray(fuser(*paths)), tifffile.imread(out)


@pytest.mark.parametrize("kinds", [("uint8", "uint8"), ("uint16", "uint8"), ("uint16", "uint16"), ("float32", "uint8")])
def test_files_are_fused_as_in_memory_bit_for_bit(kinds: tuple[str, str], tmp_path: Path) -> None:
    paths = write_pair(tmp_path, 150, 210, *kinds)
    memory, files = both_ways(Fuser(small_task(), tile=48), paths, 48, tmp_path / "fused.tif")
    assert memory.std() > 10
    assert np.array_equal(files, memory)


def test_promptfusion_keeps_its_plane_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_pair(tmp_path, 60, 150)
    memory, _ = both_ways(ivif.load("promptfusion-light", "cpu", tile=48), paths, 48, tmp_path / "memory.tif")
    files, reserved = [], gathered_map._reserved

    def watched(size: int) -> Any:
        files.append(size)
        return reserved(size)

    monkeypatch.setattr(gathered_map, "IN_MEMORY", 0)
    monkeypatch.setattr(gathered_map, "_reserved", watched)
    _, fused = both_ways(ivif.load("promptfusion-light", "cpu", tile=48), paths, 48, tmp_path / "files.tif")
    assert files == 2 * [2 * 60 * 150 * 4]
    assert memory.std() > 10
    assert np.array_equal(fused, memory)


@pytest.mark.slow
def test_the_trained_network_gives_the_same_bytes_at_1024x768(tmp_path: Path) -> None:
    paths = write_pair(tmp_path, 768, 1024, "uint16")
    memory, files = both_ways(ivif.load("mgfusion-light", "cpu", tile=256), paths, 256, tmp_path / "fused.tif")
    assert np.array_equal(files, memory)
    whole = np.asarray(ivif.load("mgfusion-light", "cpu")(*paths))
    assert np.abs(files.astype(int) - whole).max() <= 1  # sums in another order


def test_clip_sees_the_same_small_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivif.inference import large_pair

    monkeypatch.setattr(large_pair, "_STRIP", 37 * 210)
    task = small_task()
    with LargePair(*write_pair(tmp_path, 150, 210, "uint16")) as pair:
        whole = pair.part((slice(0, 150), slice(0, 210)), CPU)
        shrunk = pair.shrunk(task.glance or 0, CPU)
    assert shrunk["infrared"].shape == (1, 1, 64, 64)
    seen, small = (torch.stack(vectors_of(task, batch)) for batch in (whole, shrunk))
    assert torch.equal(seen, small)
    assert (seen.std(dim=-1) > 0).all()


def test_temperatures_are_scaled_as_in_memory(tmp_path: Path) -> None:
    paths = write_pair(tmp_path, 100, 90, "uint16")
    (tmp_path / "thermal.json").write_text('{"unit": "centikelvin"}')
    memory, files = both_ways(Fuser(small_task(blocks=0), tile=48), paths, 48, tmp_path / "fused.tif")
    assert np.array_equal(files, memory)


def test_what_a_network_keeps_of_whole_pictures_is_said(tmp_path: Path) -> None:
    paths = write_pair(tmp_path, 100, 90)
    fuser = ivif.load("text-to-pixels-light", "cpu", tile=48)
    with LargePair(*paths) as pair:
        call = lambda: fuse_large(fuser, pair, tmp_path / "fused.tif", 48)  # noqa: E731 - called at once
        refusal(call, UserError, type(fuser.task).__name__, "all tokens", "mgfusion-light", "promptfusion-light")
    assert not (tmp_path / "fused.tif").exists()


def test_a_method_that_sees_whole_pictures_must_say_how(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task()
    assert not task.needs_whole
    monkeypatch.setattr(MGFusionTask, "glance", None)
    assert "sees once" in task.needs_whole
    monkeypatch.setattr(MGFusionTask, "fusion_of", TilesMixin.fusion_of)
    assert not task.needs_whole


def test_nothing_has_the_name_until_all_is_fused(tmp_path: Path) -> None:
    paths, out = write_pair(tmp_path, 100, 90), tmp_path / "fused.tif"
    calls = 0

    def stop() -> None:
        nonlocal calls
        calls += 1
        assert not out.exists()
        if calls == 6:
            raise KeyboardInterrupt

    with LargePair(*paths) as pair, pytest.raises(KeyboardInterrupt):
        fuse_large(Fuser(small_task(blocks=0)), pair, out, 32, look=stop)
    assert sorted(tmp_path.iterdir()) == sorted(paths)


MEASURED: Final = """
import sys
from pathlib import Path
from tests.inference.test_large import Fuser, LargePair, fuse_large, small_task
from ivif.machine.allocator import tune_malloc
from ivif.machine.peak_memory import peak_resident
tune_malloc()
folder = Path(sys.argv[1])
with LargePair(folder / "infrared.tif", folder / "visible.tif") as pair:
    fuse_large(Fuser(small_task(blocks=0, use_cff=False)), pair, folder / "fused.tif", 512)
print(peak_resident())
"""


def peak_of(side: int, folder: Path) -> int:
    folder.mkdir()
    block = np.random.default_rng(0).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    count = -(-side // 512)
    blocks = [block + np.uint8(number * 7 % 200) for number in range(count**2)]
    how: Any = {"tile": (512, 512), "compression": "zlib", "maxworkers": 1, "metadata": None}
    single = (part[..., 0].astype(np.uint16) * 256 for part in blocks)
    tifffile.imwrite(folder / "infrared.tif", single, shape=(side, side), dtype=np.uint16, **how)
    colours = iter(blocks)
    tifffile.imwrite(folder / "visible.tif", colours, shape=(side, side, 3), dtype=np.uint8, photometric="rgb", **how)
    command = [sys.executable, "-c", MEASURED, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    return int(done.stdout.split()[-1])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_area(tmp_path: Path) -> None:
    small, large = peak_of(3000, tmp_path / "small"), peak_of(6000, tmp_path / "large")
    assert large < 2048 * MIB
    assert large - small < 96 * MIB  # two rows of tiles are twice as wide; 27 million pixels more would take 800 MiB
