from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest

from ivif.models.mgfusion import MGFusionConfig
from ivif.models.network_config import NetworkConfig
from ivif.models.promptfusion import PromptFusionConfig
from ivif.models.text_to_pixels import TextToPixelsConfig


@dataclass(frozen=True)
class _Config(NetworkConfig):
    channels: int = 8
    widths: tuple[int, ...] = (1, 2)
    gate: Literal["linear", "sigmoid"] | bool | None = "linear"
    residual: bool = True
    presets: ClassVar = {"light": Path("light.yaml")}


def test_a_preset_is_what_its_file_says() -> None:
    light = MGFusionConfig.preset("light"), PromptFusionConfig.preset("light"), TextToPixelsConfig.preset("light")
    assert light == (
        MGFusionConfig(channels=16, blocks=1),
        PromptFusionConfig(channels=8, blocks=1, heads=2, detail_channels=(16, 24, 32, 48)),
        TextToPixelsConfig(8, (1, 1, 1), 16, 64, 2, 1, codebook_entries=256, decoder_channels=(8, 8)),
    )
    assert MGFusionConfig.preset("large") == MGFusionConfig(64, 4, 8, checkpoint_blocks=True)
    assert MGFusionConfig.preset("base") == MGFusionConfig()


def test_presets_can_be_changed() -> None:
    config = MGFusionConfig.preset("light", use_cii=False, blocks=3)
    assert (config.channels, config.blocks, config.use_cii) == (16, 3, False)
    with pytest.raises(ValueError, match="MGFusionConfig has no preset 'huge'; there are base, light, large"):
        MGFusionConfig.preset("huge")


def test_files_give_tuples_and_say_what_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "foo.yaml"
    file.write_text("model: {init_args: {network: {widths: [3, 4], gate: false}}}", encoding="utf-8")
    assert _Config.from_file(file) == _Config(widths=(3, 4), gate=False)
    file.write_text("model: {init_args: {network: {colour: 3}}}", encoding="utf-8")
    with pytest.raises(ValueError, match="colour"):
        _Config.from_file(file)
    file.write_text("model: MGFusionTask", encoding="utf-8")
    with pytest.raises(ValueError, match=r"foo\.yaml says nothing of model\.init_args\.network"):
        _Config.from_file(file)


def test_choices_are_those_of_the_declared_type() -> None:
    for gate in ("sigmoid", True, None):
        assert _Config(gate=gate).gate is gate
    with pytest.raises(ValueError, match="gate='softmax' is none of 'linear', 'sigmoid', True, False, None"):
        _Config(gate="softmax")  # type: ignore[arg-type]
