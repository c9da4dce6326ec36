"""Pairs of a Ray dataset: what a worker does with a few, what is refused, and a run on a cluster of one machine."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ivif
from ivif.files.errors import UserError
from ivif.files.libraries import MissingLibraryError
from ivif.inference import ray_data
from ivif.inference.ray_data import RECORD, folder_pairs, fuse_dataset
from tests.fakes import write_folder
from tests.refusals import refusal

MODEL = "mgfusion-light"


def columns(pairs: list[dict[str, str]]) -> dict[str, Any]:
    """Rows as a worker gets them."""
    return {name: np.array([row[name] for row in pairs]) for name in pairs[0]}


def test_a_worker_writes_what_the_fuser_gives_once(tmp_path: Path) -> None:
    write_folder(tmp_path, count=3)
    pairs, out = folder_pairs(tmp_path / "ir", tmp_path / "vi"), tmp_path / "out"
    Path(pairs[1]["visible"]).write_bytes(b"no picture")
    worker = ray_data._Worker(MODEL, str(out), "cpu")
    ends = worker(columns(pairs))
    assert ends["state"] == ["written", "failed", "written"]
    assert pairs[1]["visible"] in ends["reason"][1]
    fuser = ivif.load(MODEL, "cpu")
    for row in (pairs[0], pairs[2]):
        expected = np.asarray(fuser(row["infrared"], row["visible"]))
        assert np.array_equal(np.asarray(Image.open(out / f"{row['name']}.png")), expected)
        assert expected.std() > 10
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    shutil.copy(pairs[0]["visible"], pairs[1]["visible"])
    assert worker(columns(pairs))["state"] == ["there", "written", "there"]
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before


def test_a_prompt_for_a_network_without_text_fails_the_pair(tmp_path: Path) -> None:
    write_folder(tmp_path, count=1)
    (row,) = folder_pairs(tmp_path / "ir", tmp_path / "vi")
    ends = ray_data._Worker(MODEL, str(tmp_path / "out"), "cpu")(columns([row | {"prompt": "a car"}]))
    assert ends["state"] == ["failed"]
    assert "takes no text" in ends["reason"][0]


def test_rows_without_names_get_the_visible_file_s(tmp_path: Path) -> None:
    write_folder(tmp_path, count=1)
    (row,) = folder_pairs(tmp_path / "ir", tmp_path / "vi")
    given = {"infrared": row["infrared"], "visible": row["visible"]}
    worker = ray_data._Worker(MODEL, str(tmp_path / "out"), "cpu")
    assert worker(columns([given]))["name"] == [Path(row["visible"]).stem]
    assert worker(columns([given | {"name": "own"}]))["name"] == ["own"]
    assert {path.stem for path in (tmp_path / "out").iterdir()} == {Path(row["visible"]).stem, "own"}


def test_names_are_unique_and_no_paths() -> None:
    ray_data._refuse_doubles(iter(["a", "b"]))
    refusal(lambda: ray_data._refuse_doubles(iter(["a", "b", "a"])), UserError, "'a'", "Name them apart")
    for name in ("../a", "", "..", "b\\c"):
        refusal(lambda: ray_data._refuse_doubles(iter([name])), UserError, f"'{name}'", "no path")  # noqa: B023


def test_a_folder_belongs_to_one_network(tmp_path: Path) -> None:
    one, other, out = tmp_path / "one.ckpt", tmp_path / "other.ckpt", tmp_path / "out"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    ray_data._claim(out, one)
    (out / "a.png").write_bytes(b"")
    ray_data._claim(out, one)
    refusal(lambda: ray_data._claim(out, other), UserError, str(out), "another folder")
    (out / RECORD).write_text("{")
    refusal(lambda: ray_data._claim(out, one), UserError, RECORD, "damaged")
    (out / RECORD).unlink()
    refusal(lambda: ray_data._claim(out, one), UserError, str(out), "other files")


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ivif.files import libraries

    monkeypatch.setattr(libraries, "find_spec", lambda _: None)
    refusal(lambda: fuse_dataset(None, tmp_path, MODEL), MissingLibraryError, "ray", "ivif-lightning[ray]")


@pytest.mark.slow  # begins a cluster
def test_a_dataset_is_fused_by_two_workers_and_goes_on_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # its workers would wait for all else that runs here
    write_folder(tmp_path, count=40)
    pairs, out = folder_pairs(tmp_path / "ir", tmp_path / "vi"), tmp_path / "out"
    Path(pairs[7]["infrared"]).write_bytes(b"no picture")
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    try:
        dataset = ray.data.from_items(pairs)
        refusal(lambda: fuse_dataset(dataset.drop_columns(["infrared"]), out, MODEL), UserError, "no column infrared")
        killed: list[int] = []

        def kill() -> None:
            while not list(out.glob("*.png")):
                time.sleep(0.05)
            commands = ((int(path.parent.name), path.read_bytes()) for path in Path("/proc").glob("[0-9]*/cmdline"))
            killed.append(next(number for number, command in commands if b"MapWorker" in command))
            os.kill(killed[0], signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        first = fuse_dataset(dataset, out, MODEL, workers=2, batch=4)
        assert killed
        assert list(first.failed) == [pairs[7]["name"]]
        assert pairs[7]["infrared"] in first.failed[pairs[7]["name"]]
        assert len(list(out.glob("*.png"))) == 39
        shutil.copy(pairs[6]["infrared"], pairs[7]["infrared"])
        second = fuse_dataset(dataset, out, MODEL)
        assert second == (1, 39, {})
    finally:
        ray.shutdown()
