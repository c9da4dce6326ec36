"""`ivif models`: a checkpoint becomes a released file with a true card, and goes to the hub and comes back."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from ivif.commands.cli import main
from ivif.commands.models.card import model_card
from ivif.commands.models.scores import measure
from ivif.contracts.run_files import LAST
from ivif.contracts.trained_pictures import TrainedPictures
from ivif.files.archives import load_plain
from ivif.files.released import read_released
from ivif.lightning_modules.detection_sources import load_fusion
from ivif.weights import find_weights, released_names
from ivif.weights.hub import HubError
from tests.commands.runs import newest_run, tiny_run
from tests.web import serving

PACK = ("--licence=None.", "--limits=Everywhere.")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("IVIF_RUN_FOLDER", raising=False)
        assert main(tiny_run("fit", folder)) == 0
    return newest_run(folder)


@pytest.fixture(scope="module")
def packed(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed")
    assert main(["models", "pack", f"--ckpt_path={run}", "--name=tiny", f"--out={out}", *PACK]) == 0
    return out / "tiny.safetensors"


def test_a_released_network_fuses_like_its_checkpoint(run: Path, packed: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    pair: Any = {
        "infrared": torch.rand(1, 1, 40, 48, generator=generator),
        "visible": torch.rand(1, 3, 40, 48, generator=generator),
    }
    with torch.no_grad():
        first, second = (load_fusion(path)[0].picture(pair)["fused"] for path in (run, packed))
    assert torch.equal(first, second)


def test_it_keeps_what_it_learnt_from_and_no_optimiser(run: Path, packed: Path) -> None:
    checkpoint, released = load_plain(run / LAST), read_released(packed)
    assert TrainedPictures.read(released).ids == TrainedPictures.read(checkpoint).ids != set()
    assert released["release"]["pictures"] == 8
    assert "optimizer_states" in checkpoint
    assert "optimizer_states" not in released
    assert str(run.parent) not in packed.with_suffix(".md").read_text()


def test_an_average_is_released_in_place_of_what_it_averages(tmp_path: Path) -> None:
    options = ["--model.average.decay=0.9", "--model.average.ramp=1", f"--runs_dir={tmp_path / 'runs'}"]
    assert main(tiny_run("fit", tmp_path / "runs", *options)) == 0
    run = newest_run(tmp_path / "runs")
    assert main(["models", "pack", f"--ckpt_path={run}", "--name=averaged", f"--out={tmp_path}", *PACK]) == 0
    checkpoint, released = load_plain(run / LAST), read_released(tmp_path / "averaged.safetensors")
    averaged = {name: value for name, value in checkpoint["state_dict"].items() if name.startswith("average.module.")}
    assert set(released["state_dict"]) == {name.replace("average.module.", "network.") for name in averaged}
    assert released["release"]["parameters"] == sum(value.numel() for value in averaged.values())
    assert any(
        not torch.equal(averaged[name], checkpoint["state_dict"][name[8:].replace("module", "network")])
        for name in averaged
    )
    pair: Any = {"infrared": torch.rand(1, 1, 40, 48), "visible": torch.rand(1, 3, 40, 48)}
    with torch.no_grad():
        tasks = [load_fusion(path)[0] for path in (run, tmp_path / "averaged.safetensors")]
        first, second = (task.picture(pair)["fused"] for task in tasks)
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", released_names())
def test_the_scores_of_a_card_are_those_of_its_network(name: str) -> None:
    weights = find_weights(name)
    release = read_released(weights)["release"]
    assert weights.with_suffix(".md").read_text() == model_card(release)
    for row, values in measure(load_fusion(weights)[0]).items():
        # On one machine to 1e-6; another processor rounds a few pixels to the next of 256 levels.
        assert values == pytest.approx(release["scores"][row], abs=2e-3), row


def test_commands_take_a_released_file_and_a_run_folder(
    run: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = []
    for index, weights in enumerate((run, packed)):
        options = [f"--ckpt_path={weights}", f"--output_dir={tmp_path / str(index)}"]
        assert main(tiny_run("predict", tmp_path, *options)) == 0, capsys.readouterr().err
        pictures.append([path.read_bytes() for path in sorted((tmp_path / str(index)).rglob("*.png"))])
    assert len(pictures[0]) == 2
    assert pictures[0] == pictures[1]
    assert main(tiny_run("fit", tmp_path, f"--ckpt_path={packed}")) != 0
    assert f"--init_from {shlex.quote(str(packed))}" in capsys.readouterr().err
    assert main(tiny_run("fit", tmp_path, f"--init_from={packed}")) == 0


def test_a_folder_in_the_layout_of_the_hub(packed: Path, tmp_path: Path) -> None:
    assert main(["models", "push", str(packed), f"--to={tmp_path / 'repo'}"]) == 0
    assert {path.name for path in (tmp_path / "repo").iterdir()} == {"model.safetensors", "README.md", "config.json"}
    assert (tmp_path / "repo" / "README.md").read_text().startswith("---\nlibrary_name: ivif-lightning\n")
    assert (tmp_path / "repo" / "model.safetensors").read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("model", ["{packed}", "{run}"])
def test_what_is_damaged_or_no_release_is_refused(
    model: str, run: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray(packed.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    path = model.format(packed=damaged, run=run)
    assert main(["models", "push", path, f"--to={tmp_path / 'repo'}"]) == 1
    error = capsys.readouterr().err
    assert ("checksum" if path == str(damaged) else "models pack") in error
    assert "Traceback" not in error
    assert not (tmp_path / "repo").exists()


def _hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


def test_a_repository_of_the_hub(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"/owner/net/model.safetensors": packed.read_bytes()}) as web:
        _hub(monkeypatch, tmp_path, f"{web.address}/hub")
        assert find_weights("hf://owner/net", fetch=True).read_bytes() == packed.read_bytes()
        assert {key for *_, key in web.asked} == {""}
        with pytest.raises(HubError, match=r"holds no model\.safetensors"):
            find_weights("hf://owner/other", fetch=True)
    assert find_weights("hf://owner/net", fetch=True).read_bytes() == packed.read_bytes()  # kept: nobody answers now


@pytest.mark.parametrize("command", ["show", "push"])
def test_no_network_is_one_line(
    command: str, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _hub(monkeypatch, tmp_path, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    line = ["show", "hf://owner/net"] if command == "show" else ["push", str(packed), "--to=hf://owner/net"]
    assert main(["models", *line]) == 1
    assert "hf://owner/net: the hub cannot be reached" in capsys.readouterr().err


def test_a_name_of_no_repository(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", "hf://../x"]) == 1
    assert "a repository is named hf://owner/name" in capsys.readouterr().err
