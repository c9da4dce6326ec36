"""What users get wrong: one message that names it, exit code 1, no traceback."""

import time
from pathlib import Path

import pytest
import torch

from ivif.commands.cli import main
from ivif.commands.errors import report_error
from ivif.files.errors import LabelError
from tests.commands.runs import tiny_run
from tests.fakes import Faults, write_folder, write_msrs, write_tno
from tests.refusals import refused


def _folder(root: Path) -> tuple[str, ...]:
    return ("--data=folder.yaml", f"--data.root={root}")


def _msrs(root: Path) -> tuple[str, ...]:
    return ("--data=msrs.yaml", f"--data.root={root}")


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--model.init_args.dimm=3", "dimm"),
        ("--trainer.max_epoch=3", "trainer.max_epoch"),
        ("--modle.class_path=x", "modle"),
        ("--model.init_args.network.channels=big", "big"),
        ("--model=ivif.lightning_modules.mgfusion.Nothing", "Nothing"),
        ("--loading.batch_size=0", "batch_size"),
        ("--transforms.crop=2", "crop"),
        ("--data.loading.batch_size=2", "--loading"),
        ("--data.manifest=nothing", "roadscene_msrs"),
        ("--model.init_args.network.heads=3", "heads=3"),
        ("--model.init_args.clip=nothing", "random-tiny"),
        ("--evaluator.metrics=[nothing]", "Qabf"),
        ("--convention=nothing", "cddfuse"),
        ("--ckpt_path=nothing.ckpt", "nothing.ckpt"),
        ("--config=nothing.yaml", "configs/"),
    ],
)
def test_wrong_settings_are_named(option: str, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(tiny_run("fit", tmp_path, option), capsys)
    assert named in message
    assert len(message.splitlines()) < 5 or "clip" in option
    assert not any(noise in message for noise in ("Union", "NoneType", "Namespace"))


def test_fields_of_the_data_are_told_as_options(capsys: pytest.CaptureFixture[str]) -> None:
    fields = "Set `reading.labels`, `root`, `loading.cache` or `transforms.resize`."
    assert report_error(LabelError(fields)) == report_error(ValueError(fields)) == 1
    named = "Set --data.reading.labels, --data.root, --loading.cache or --transforms.resize."
    assert capsys.readouterr().err == f"error: {named}\nerror: {fields}\n"


def test_a_missing_root_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(tiny_run("fit", tmp_path, data=_msrs(tmp_path / "nowhere")), capsys)
    assert "nowhere" in message
    assert "Download" in message


def test_a_missing_folder_of_ones_own_is_not_to_be_downloaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(tiny_run("fit", tmp_path, data=_folder(tmp_path / "nowhere")), capsys)
    assert f"'{tmp_path / 'nowhere'}', which does not exist" in message
    assert "Download" not in message
    (tmp_path / "there").mkdir()
    message = refused(tiny_run("fit", tmp_path, data=_folder(tmp_path / "there")), capsys)
    assert "does not exist" not in message
    assert "layout.infrared" in message
    (tmp_path / "file").touch()
    assert "is no folder" in refused(tiny_run("fit", tmp_path, data=_folder(tmp_path / "file")), capsys)


def test_without_any_of_several_datasets_each_is_named_with_its_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = ("--data.roots={tno: " + str(tmp_path / "own") + "}",)
    data = ("--data=unified.yaml", f"--data.root={tmp_path}", *elsewhere)
    message = refused(tiny_run("fit", tmp_path, data=data), capsys)
    links = ("RoadScene", "LLVIP", "MSRS", "TarDAL", "TNO_Image_Fusion_Dataset")
    assert all(f"/{link}" in message for link in links)
    assert f"{tmp_path / 'own'}: https" in message


def test_an_empty_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ir", "vi"):
        (tmp_path / "data" / name).mkdir(parents=True)
    assert str(tmp_path / "data") in refused(tiny_run("fit", tmp_path, data=_folder(tmp_path / "data")), capsys)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_picture_is_named_even_from_a_worker(
    workers: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "data", count=4, size=(48, 56), faults=Faults(truncated=True))
    data = (*_folder(root), "--data.train_fraction=1.0")
    message = refused(tiny_run("fit", tmp_path, f"--loading.num_workers={workers}", data=data), capsys)
    assert ".png" in message
    assert "Cannot read" in message
    assert len(message.splitlines()) < 6


def test_a_missing_partner_warns_or_with_strict_stops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = write_folder(tmp_path / "data", count=5, size=(48, 56), faults=Faults(missing_infrared=True))
    assert main(tiny_run("fit", tmp_path, data=_folder(root))) == 0
    assert any("004" in record.getMessage() for record in caplog.records)
    message = refused(tiny_run("fit", tmp_path, "--data.reading.strict=true", data=_folder(root)), capsys)
    assert "004" in message


def test_an_unknown_class_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_msrs(tmp_path / "data", count=6, size=(48, 56), faults=Faults(unknown_class=True))
    message = refused(tiny_run("fit", tmp_path, "--data.manifest=default", data=_msrs(root)), capsys)
    assert ".txt" in message
    assert "person" in message


@pytest.mark.parametrize(
    "faults",
    [Faults(thermal_16_bit=True), Faults(grey_visible=True), Faults(infrared_scale=0.5), Faults(exif_rotation=True)],
    ids=["16-bit thermal", "grey visible", "other infrared size", "rotated"],
)
def test_unusual_pictures_train_test_and_predict(faults: Faults, tmp_path: Path) -> None:
    suffix = ".jpg" if faults.exif_rotation else ".png"
    data = _folder(write_folder(tmp_path / "data", count=4, size=(48, 56), faults=faults, suffix=suffix))
    assert main(tiny_run("fit", tmp_path, data=data)) == 0
    assert (
        main(tiny_run("predict", tmp_path, "--allow_random_weights", f"--output_dir={tmp_path / 'out'}", data=data))
        == 0
    )
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


def test_odd_sizes_are_fused_at_their_own_size(tmp_path: Path) -> None:
    from PIL import Image

    data = _folder(write_folder(tmp_path / "data", count=1, size=(333, 517)))
    assert (
        main(tiny_run("predict", tmp_path, "--allow_random_weights", f"--output_dir={tmp_path / 'out'}", data=data))
        == 0
    )
    (picture,) = (tmp_path / "out").glob("*.png")
    assert Image.open(picture).size == (517, 333)


def test_tno_is_not_trained_on_by_the_papers_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = (
        "--data=tno.yaml",
        f"--data.root={write_tno(tmp_path / 'data')}",
        "--data.manifest=mgfusion",
    )
    assert "gives no 'train' pairs for tno" in refused(tiny_run("fit", tmp_path, data=data), capsys)


def test_unreachable_clip_weights_say_what_to_do_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    message = refused(tiny_run("fit", tmp_path, "--model.init_args.clip=openai/ViT-B-32"), capsys)
    assert time.monotonic() - started < 30
    assert "ViT-B-32" in message
    assert 0 < message.index("clip compact") < message.index("random-tiny")


def test_a_damaged_checkpoint_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(b"not a checkpoint")
    assert "damaged.ckpt" in refused(tiny_run("test", tmp_path, f"--ckpt_path={damaged}"), capsys)


def test_a_checkpoint_that_lost_weights_names_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tiny_run("fit", tmp_path)) == 0
    path = tmp_path / "tiny" / "latest" / "checkpoints" / "last.ckpt"
    stored = torch.load(path, weights_only=True)
    lost = next(iter(stored["state_dict"]))
    del stored["state_dict"][lost]
    torch.save(stored, tmp_path / "lost.ckpt")
    assert lost in refused(tiny_run("test", tmp_path, f"--ckpt_path={tmp_path / 'lost.ckpt'}"), capsys)


def test_a_loss_that_explodes_names_the_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(tiny_run("fit", tmp_path, "--model.init_args.loss.gradient=.inf"), capsys)
    assert "not finite" in message
    assert "synthetic/" in message
