"""W&B runs: opened without an account or a network, one per run folder."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from ivif.callbacks.server_check import unreachable
from ivif.callbacks.wandb_run import RUN_ID, WandbRun, _has_key, _obstacle
from ivif.testing.processes import run_python
from tests.disks import full_disk
from tests.loopback import LoopbackServer
from tests.wandb_records import config, history, kind, records, run


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def _answering(looked_at: int, asked: int | None = None) -> Iterator[str]:
    """A server that answers everyone who looks at it, and whoever wants more of it, with one status each."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(looked_at)
            self.end_headers()

        def do_POST(self) -> None:
            self.send_response(looked_at if asked is None else asked)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with LoopbackServer(Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.address
        server.shutdown()


def _closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_is_asked_with_a_time_limit(silent_server: str) -> None:
    assert unreachable(silent_server, 0.2) in ("no answer within 0.2 s", "timed out")
    assert "refused" in str(unreachable(_closed(), 5))
    assert "unknown url type" in str(unreachable("nonsense", 5))
    assert "unknown url type" in str(unreachable(Path(__file__).as_uri(), 5))  # can be opened, and is no server


@pytest.mark.parametrize(("status", "works"), [(200, True), (401, True), (404, True), (403, True), (407, False)])
def test_an_http_error_is_an_answer_unless_nobody_gets_through(status: int, works: bool) -> None:
    with _answering(status) as address:
        found = unreachable(address, 5)
    assert found is None if works else str(found).startswith(f"HTTP {status} ")


@pytest.mark.parametrize(("looked_at", "asked"), [(500, 500), (502, 502), (200, 503)])
def test_a_server_that_does_not_work_is_an_obstacle(
    monkeypatch: pytest.MonkeyPatch, looked_at: int, asked: int
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with _answering(looked_at, asked) as address:
        assert f"{address} cannot be used (HTTP {asked} " in str(_obstacle(address))


@pytest.mark.parametrize("asked", [200, 400, 401, 403])
def test_a_query_without_a_key_may_be_refused(monkeypatch: pytest.MonkeyPatch, asked: int) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with _answering(200, asked) as address:
        assert _obstacle(address) is None


def test_a_key_is_looked_for_but_never_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not _has_key("https://wandb.example")
    (tmp_path / "netrc").write_text("machine wandb.example login user password 0123\n", encoding="utf-8")
    assert _has_key("https://wandb.example")
    assert not _has_key("https://other.example")
    (tmp_path / "netrc").write_text("nonsense", encoding="utf-8")
    assert not _has_key("https://wandb.example")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert _has_key("https://wandb.example")


@pytest.mark.slow
@pytest.mark.parametrize("server", ["none", "silent", "refusing", "broken", "failing"])
def test_online_without_a_usable_server_goes_on_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_server: str, server: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    answers = {"refusing": (401, 401), "broken": (503, 503), "failing": (200, 503)}.get(server, (200, 200))
    with _answering(*answers) as answering:
        monkeypatch.setenv("WANDB_BASE_URL", {"none": _closed(), "silent": silent_server}.get(server, answering))
        output = run_python(Path(__file__).with_name("wandb_without_network.py"), tmp_path)
    (found,) = re.findall(r"RESULT (\w+) ([\d.]+) (.*)", output)
    assert (found[0], found[2]) == ("True", "[0.5]"), output
    assert float(found[1]) < 10, output
    assert "W&B: the run goes on offline, because" in output
    assert ("cannot be used" in output) == (server != "refusing"), output


def test_without_a_key_nobody_is_asked_to_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    logger = WandbRun("online", checkpoint="best")
    logger.place(tmp_path / "method" / "run", "fit")
    with caplog.at_level("INFO"):
        assert logger.experiment.offline
    assert "the run goes on offline, because there is no key for" in caplog.text
    best = tmp_path / "best.ckpt"
    best.write_bytes(b"weights")
    callback = ModelCheckpoint(monitor="val/Qabf")
    callback.best_model_path = str(best)
    logger.after_save_checkpoint(callback)
    logger.log_metrics({"train/loss": 0.25}, step=3)
    identity = str(logger.version)
    logger.finalize("success")

    (written,) = (tmp_path / "method" / "run" / "wandb").glob("offline-run-*")
    assert history(written)[0]["train/loss"] == 0.25
    assert (run(written).run_id, run(written).run_group, run(written).job_type) == (identity, "method", "fit")
    (artifact,) = [r.artifact for r in records(written) if kind(r) == "artifact"]
    assert (artifact.type, sorted(artifact.aliases)) == ("model", ["best", "latest"])
    assert "model.ckpt" in artifact.manifest.contents[0].path

    assert (tmp_path / "method" / "run" / RUN_ID).read_text(encoding="utf-8").strip() == identity
    again = WandbRun()
    again.place(tmp_path / "method" / "run", "fit")
    assert again.version == identity
    elsewhere = WandbRun()
    elsewhere.place(tmp_path / "method" / "another", "fit")
    assert elsewhere.version is None


def test_the_id_of_a_run_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = WandbRun("offline")
    logger.place(tmp_path, "fit")
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        logger.log_metrics({"train/loss": 0.5}, step=1)
    logger.finalize("failed")
    assert not (tmp_path / RUN_ID).exists()


def test_the_files_of_a_record_are_kept_by_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "splits").mkdir(parents=True)
    (folder / "splits" / "used.yaml").write_text("seed: 3\n", encoding="utf-8")
    (folder / "config.yaml").write_text("trainer: {max_epochs: 7}\n", encoding="utf-8")
    logger = WandbRun("offline")
    logger.place(folder, "fit")
    logger.show_record(folder)
    logger.finalize("success")
    (written,) = (folder / "wandb").glob("offline-run-*")
    assert (written / "files" / "record" / "splits" / "used.yaml").read_text(encoding="utf-8") == "seed: 3\n"
    saved = {file.path for r in records(written) if kind(r) == "files" for file in r.files.files}
    assert {"record/splits/used.yaml", "record/config.yaml"} <= saved
    assert config(written)["trainer"] == {"max_epochs": 7}


def test_a_table_shows_the_names_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "test_per_image.csv"
    path.write_text("method,dataset,name,EN\n007,made,00000,6.5\n007,made,NA,\n", encoding="utf-8")
    logger = WandbRun("offline")
    logger.place(tmp_path / "run", "test")
    logger.show_table(path)
    logger.finalize("success")
    (table,) = (tmp_path / "run" / "wandb").rglob("files/media/table/tables/test_per_image*.json")
    held = json.loads(table.read_text(encoding="utf-8"))
    assert held["data"][0] == ["007", "made", "00000", 6.5]
    assert held["data"][1][:3] == ["007", "made", "NA"]


def test_what_a_failed_run_leaves_is_no_best_checkpoint(tmp_path: Path) -> None:
    logger = WandbRun("offline", checkpoint="best")
    logger.place(tmp_path / "run", "fit")
    logger.after_save_checkpoint(ModelCheckpoint())
    logger.log_metrics({"train/loss": 1.0}, step=0)
    logger.finalize("failed")
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    kinds = [kind(r) for r in records(written)]
    assert "artifact" not in kinds
    assert [r.exit.exit_code for r in records(written) if kind(r) == "exit"] == [1]


def test_a_disabled_run_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("made: true\n", encoding="utf-8")
    logger = WandbRun("disabled")
    logger.place(tmp_path / "run", "fit")
    logger.show_record(tmp_path / "run")
    logger.log_metrics({"train/loss": 1.0}, step=0)
    logger.finalize("success")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]
