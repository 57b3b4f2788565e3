"""Stops a job whose agent is gone: nobody else on this machine would, and a successor may start elsewhere.

The node's lease with the server is kept by its agent. While the agent runs it stops the job itself when the lease
ends; when the agent's program is down, the lease ends as well, and this watch takes its place.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable

from .facts import Lease

# Looked at this often, and at least ten times a lease.
_POLL_S_MAX = 1.0
_CONNECT_TIMEOUT_S = 5.0
_LEASE_FILE_BYTES_MAX = 64


def agent_answers(socket_path: str) -> bool:
    """True when something accepts on the socket. An agent that is busy still accepts."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_TIMEOUT_S)
        try:
            connection.connect(socket_path)
        except OSError:
            return False
        return True


def renewed_at(path: Path) -> float | None:
    """When the lease was last renewed, in seconds since 1970; None when the agent left no readable time."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LEASE_FILE_BYTES_MAX).decode().strip()
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (OSError, ValueError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc).timestamp()


class LeaseWatch:
    """1. Says nothing while the agent answers, whatever the lease: stopping is the agent's business then.
    2. `on_lost` is called once, when the agent has been away and the lease has run out since its last renewal, or,
       where that is not known, since the agent was last seen.
    3. If the process still runs `grace_seconds` later, it is ended with `exit_status`: a checkpoint is worth less than
       the promise that nothing runs twice.
    """

    def __init__(
        self,
        socket_path: str,
        lease: Lease,
        on_lost: Callable[[], None],
        exit_status: int,
        *,
        answers: Callable[[str], bool] = agent_answers,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._socket_path = socket_path
        self._lease = lease
        self._on_lost = on_lost
        self._exit_status = exit_status
        self._answers = answers
        self._monotonic = monotonic
        self._wall = wall
        self._seen = monotonic()
        self._over = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="neap-lease", daemon=True).start()

    def close(self) -> None:
        """The job ends in an orderly way: nothing is left to stop."""
        self._over.set()

    def is_lost(self) -> bool:
        """Looks once."""
        now = self._monotonic()
        if self._answers(self._socket_path):
            self._seen = now
            return False
        if now - self._seen >= self._lease.seconds:
            return True
        renewed = renewed_at(self._lease.file) if self._lease.file else None
        # The agent alone writes that file, and it is away: what stands there cannot grow younger.
        return renewed is not None and self._wall() - renewed >= self._lease.seconds

    def _run(self) -> None:
        poll_s = min(_POLL_S_MAX, self._lease.seconds / 10)
        while not self.is_lost():
            if self._over.wait(poll_s):
                return
        print(
            f"neap: the agent at {self._socket_path} has been away longer than its lease of {self._lease.seconds:g} s; "
            "another member may have this one's place: saving and stopping",
            file=sys.stderr,
            flush=True,
        )
        self._on_lost()
        # Not cut short by `close`: a program may hang in its last line, waiting for peers that are gone.
        time.sleep(self._lease.grace_seconds)
        print(f"neap: still running {self._lease.grace_seconds:g} s after the lease ended; ending now", file=sys.stderr, flush=True)
        os._exit(self._exit_status)
