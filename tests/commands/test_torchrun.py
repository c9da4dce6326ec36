"""`main.py fit` on two "nodes": two launchers on one machine, with one process each."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ivif.callbacks.run_log import read_rows
from tests.cluster.local_slurm import wait_until
from tests.commands.runs import tiny_run
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
STEPS = 4


def _launch(options: tuple[str, ...], line: list[str]) -> subprocess.Popen[str]:
    """torchrun with `main.py` and a session of its own, so that its processes can be ended with it."""
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, str(ROOT / "main.py"), *line],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _finish(launchers: list[subprocess.Popen[str]]) -> str:
    """What all of them printed; they end together, whatever happens."""
    try:
        printed = [launcher.communicate(timeout=400)[0] for launcher in launchers]
    finally:
        for launcher in launchers:
            if launcher.poll() is None:
                os.killpg(launcher.pid, signal.SIGKILL)
    assert [launcher.returncode for launcher in launchers] == [0] * len(launchers), "\n".join(printed)
    return "\n".join(printed)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_nodes_share_one_run_and_go_on_with_it(tmp_path: Path) -> None:
    line = [
        *tiny_run("fit", tmp_path, "--config=cluster/many_nodes.yaml"),
        "--data.init_args.train_length=8",
        "--trainer.devices=1",
        "--trainer.precision=32-true",
        "--trainer.sync_batchnorm=false",
        "--loading.num_workers=0",
        "--trainer.accelerator=cpu",
        f"--trainer.max_steps={STEPS}",
        "--trainer.max_epochs=-1",
        "--trainer.callbacks+=tests.cluster.pace.RankWeights",
    ]

    def run() -> str:
        place = ("--nnodes=2", "--nproc-per-node=1", "--rdzv-id=pair", "--master-addr=127.0.0.1")
        port = f"--master-port={free_port()}"
        return _finish([_launch((*place, port, f"--node-rank={rank}"), line) for rank in range(2)])

    run()
    (folder,) = [path for path in (tmp_path / "tiny").iterdir() if not path.is_symlink()]
    assert folder.name.startswith("pair-")
    assert [path.name for path in folder.rglob("metrics*.csv")] == ["metrics.csv"]
    steps = [int(row["step"]) for row in read_rows(folder / "metrics.csv") if row.get("train/loss")]
    assert steps == sorted(set(steps))
    assert len(steps) == STEPS
    first, second = (torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == STEPS
    trained = [name for name in saved["state_dict"] if "running_" not in name and "num_batches" not in name]
    assert len(trained) > 20
    for name in trained:  # each process has BatchNorm statistics of its own batches
        assert torch.allclose(first[name], second[name], atol=1e-6), name
        assert torch.equal(first[name], saved["state_dict"][name]), name
    assert "Restored all states from the checkpoint" in run()  # the same id and command: the same run
    assert [path for path in (tmp_path / "tiny").iterdir() if not path.is_symlink()] == [folder]


@pytest.mark.slow
def test_processes_without_an_id_say_what_to_add(tmp_path: Path) -> None:
    line = tiny_run("fit", tmp_path)
    launcher = _launch(("--nproc-per-node=2", f"--master-port={free_port()}"), line)
    printed, _ = launcher.communicate(timeout=300)
    assert launcher.returncode
    assert "On one machine add --standalone" in printed
    assert not (tmp_path / "tiny").exists()


ELASTIC = (
    "--config=cluster/many_nodes.yaml",
    "--data.init_args.train_length=8",
    "--trainer.devices=1",
    "--trainer.precision=32-true",
    "--trainer.sync_batchnorm=false",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=-1",
    "--trainer.check_val_every_n_epoch=100",
    "--checkpoint.every_n_train_steps=1",
    "--trainer.callbacks+=tests.cluster.pace.RankWeights",
)


def _wait_for_steps(base: Path, steps: int) -> None:
    wait_until(lambda: any(len(read_rows(log)) >= steps for log in base.glob("tiny/*/metrics.csv")), 300, "steps")


def _children(launcher: subprocess.Popen[str]) -> list[int]:
    """The processes that train; a launcher may have helpers beside them, and begin them from any of its threads."""
    found = [one for file in Path(f"/proc/{launcher.pid}/task").glob("*/children") for one in file.read_text().split()]
    return [int(one) for one in found if b"torch.distributed.run" not in Path(f"/proc/{one}/cmdline").read_bytes()]


def _assert_trained(base: Path, steps: int) -> None:
    """Every step of the only run was logged once, and its checkpoint has all."""
    (folder,) = [path for path in (base / "tiny").iterdir() if not path.is_symlink()]
    logged = [int(row["step"]) for row in read_rows(folder / "metrics.csv") if row.get("train/loss")]
    assert logged == list(range(steps))
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == steps


def _elastic_line(base: Path, steps: int, pace: float) -> list[str]:
    slow = f"--trainer.callbacks+={{class_path: tests.cluster.pace.Pace, init_args: {{seconds: {pace}}}}}"
    return [*tiny_run("fit", base, *ELASTIC), "--loading.share_batch=true", f"--trainer.max_steps={steps}", slow]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_goes_on_with_the_machine_that_is_left(tmp_path: Path) -> None:
    line = [*_elastic_line(tmp_path, 12, 0.5), "--trainer.num_nodes=2"]
    port = free_port()

    def place(host: bool) -> tuple[str, ...]:
        settings = f"is_host={int(host)},last_call_timeout=3,join_timeout=120"
        address = ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", f"--rdzv-conf={settings}")
        return ("--nnodes=1:2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-id=elastic", *address)

    launchers = [_launch(place(host), line) for host in (True, False)]
    try:
        _wait_for_steps(tmp_path, 3)
    finally:
        for process in (launchers[1].pid, *_children(launchers[1])):
            os.kill(process, signal.SIGKILL)
        launchers[1].communicate()
    printed = _finish(launchers[:1])
    assert "A step has 2 pairs: 1 of each process x 2 processes" in printed
    assert "Restored all states from the checkpoint" in printed
    _assert_trained(tmp_path, 12)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("killed", [0, 1])
def test_the_processes_of_one_machine_are_begun_anew_and_go_on(killed: int, tmp_path: Path) -> None:
    line = [*_elastic_line(tmp_path, 10, 0.5), "--trainer.devices=2", "--trainer.num_nodes=1"]
    launcher = _launch(("--standalone", "--nproc-per-node=2", "--max-restarts=3"), line)
    try:
        _wait_for_steps(tmp_path, 3)
    finally:
        os.kill(_children(launcher)[killed], signal.SIGKILL)
    printed = _finish([launcher])
    assert "TORCH_DISABLE_SHARE" not in printed
    assert "Restored all states from the checkpoint" in printed
    assert "A step has 2 pairs: 1 of each process x 2 processes" in printed
    _assert_trained(tmp_path, 10)
