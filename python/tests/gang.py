"""Runs the example's scripts as an agent would: one process per rank, torchrun's environment, one agent per rank."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_agent import FakeAgent

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "surface-inspection"
SOURCE = Path("/usr/share/datasets/fashion-mnist")
TIMEOUT_S = 300


def torch_is_installed() -> bool:
    return importlib.util.find_spec("torch") is not None


def make_dataset(directory: Path, records_per_factory: int) -> Path:
    """A dataset version of two parts, one per factory."""
    for part in (0, 1):
        subprocess.run(
            [
                sys.executable,
                str(EXAMPLE / "make_data.py"),
                "--out",
                str(directory / f"factory-0{part + 1}"),
                "--site",
                f"factory-0{part + 1}",
                "--part",
                f"{part}/2",
                "--limit",
                str(records_per_factory),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return directory


@dataclass
class GangRun:
    """What one run of all ranks left behind."""

    exit_codes: list[int]
    logs: list[str]
    agents: list[FakeAgent] = field(default_factory=list)

    def executed_steps(self) -> list[int]:
        return [int(step) for step in re.findall(r"^step (\d+) ", self.logs[0], re.MULTILINE)]

    def losses(self) -> dict[int, str]:
        return dict(
            (int(step), loss)
            for step, loss in re.findall(r"^step (\d+) pass \d+ loss (\S+)", self.logs[0], re.MULTILINE)
        )

    def checkpoints(self) -> list[dict[str, Any]]:
        return self.agents[0].bodies("/v1/checkpoint")

    def last_reported_step(self) -> int:
        return int(self.agents[0].bodies("/v1/progress")[-1]["step"])

    def violations(self) -> list[str]:
        return [violation for agent in self.agents for violation in agent.violations]


def run_gang(
    script: str,
    directory: Path,
    *,
    ranks: int,
    inputs: dict[str, Path],
    parameters: dict[str, Any],
    interval: int,
    resume: dict[str, Any] | None = None,
    act_at_step: int = 0,
    send: signal.Signals = signal.SIGTERM,
    to_ranks: tuple[int, ...] = (),
) -> GangRun:
    """Runs to the end. When rank 0 reports `act_at_step` or more, sends one signal to each of `to_ranks`."""
    directory.mkdir(parents=True)
    processes: list[subprocess.Popen[bytes]] = []
    acted: list[int] = []

    def observe(path: str, body: dict[str, Any]) -> None:
        if act_at_step and not acted and path == "/v1/progress" and body["step"] >= act_at_step:
            acted.append(body["step"])
            for rank in to_ranks:
                processes[rank].send_signal(send)

    port = _free_port()
    agents, log_files = [], []
    try:
        for rank in range(ranks):
            job = {
                "name": "surface-inspection",
                "epoch": 1,
                "rank": rank,
                "world_size": ranks,
                "inputs": {name: str(path) for name, path in inputs.items()},
                "outputs_dir": str(directory / f"outputs-{rank}"),
                "checkpoint_dir": str(directory / f"checkpoints-{rank}"),
                "resume": resume,
                "checkpoint_interval_steps": interval,
                "parameters": parameters,
            }
            agent = FakeAgent(directory / f"agent-{rank}.sock", job, observe)
            agent.start()
            agents.append(agent)
        for rank in range(ranks):
            log_files.append(open(directory / f"log-{rank}.txt", "wb"))
            environment = {
                **os.environ,
                "NEAP_SOCKET": str(agents[rank].socket_path),
                "PYTHONPATH": str(REPOSITORY / "python"),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(ranks),
                "OMP_NUM_THREADS": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            command = [sys.executable, str(EXAMPLE / script)]
            processes.append(subprocess.Popen(command, env=environment, stdout=log_files[-1], stderr=subprocess.STDOUT))
        exit_codes = [process.wait(TIMEOUT_S) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for log_file in log_files:
            log_file.close()
        for agent in agents:
            agent.stop()
    logs = [(directory / f"log-{rank}.txt").read_text(errors="replace") for rank in range(ranks)]
    return GangRun(exit_codes, logs, agents)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
