"""What the command line adds to Lightning's own, apart from whole runs."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from commands.lightning_cli import SaveRunConfig
from commands.parser import SuiteParser
from tests.disks import full_disk


def test_the_saved_configuration_is_whole_or_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = SuiteParser()
    parser.add_argument("--crop", type=int | None, default=None)
    trainer = SimpleNamespace(default_root_dir=str(tmp_path / "run"))
    config = tmp_path / "run" / "config.yaml"

    def save(*arguments: str) -> None:
        callback = SaveRunConfig(parser, parser.parse_args(arguments), overwrite=True, save_to_log_dir=False)
        callback.save_config(trainer, None, "fit")  # type: ignore[arg-type]

    save()
    assert yaml.safe_load(config.read_text(encoding="utf-8")) == {"crop": None}
    save("--crop=64")
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save("--crop=128")
    assert yaml.safe_load(config.read_text(encoding="utf-8")) == {"crop": 64}
