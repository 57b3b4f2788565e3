"""Progress reports that never hold up training."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from .agent import RETRY_FOR_S, AgentLink
from .errors import NeapError

# At most a few reports a second however fast the steps are; `flush` goes at once.
MIN_INTERVAL_S = 0.25


class ProgressReporter:
    """Sends the newest progress from a thread of its own.

    1. `offer` never blocks: an older report that was not sent yet is dropped, the newest is kept.
    2. Reported steps never go backwards, because one thread sends and always takes the newest.
    3. After `flush` returned true the agent has the last offered report.
    """

    def __init__(self, link: AgentLink, *, steps_between_max: int = 0, min_interval_s: float = MIN_INTERVAL_S) -> None:
        self._link = link
        self._steps_between_max = steps_between_max
        self._min_interval_s = min_interval_s
        self._changed = threading.Condition()
        self._newest: dict[str, Any] | None = None
        self._offered = 0
        self._handled = 0
        self._flush_up_to = 0
        self._sent_step = 0
        self._next_at = 0.0
        self._failed = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="neap-progress", daemon=True)
        self._thread.start()

    def offer(self, progress: dict[str, Any]) -> None:
        """Replaces the pending report. Returns at once."""
        with self._changed:
            self._newest = progress
            self._offered += 1
            self._changed.notify_all()

    def flush(self, timeout_s: float = RETRY_FOR_S) -> bool:
        """Waits until the last offered report was delivered; false when the agent stayed away."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            target = self._offered
            self._flush_up_to = max(self._flush_up_to, target)
            self._changed.notify_all()
            while self._handled < target:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(left_s)
            return not self._failed

    def close(self, timeout_s: float = RETRY_FOR_S) -> bool:
        """Flushes and ends the thread. Later calls do nothing."""
        delivered = self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)
        return delivered

    def _due(self) -> bool:
        if self._newest is None:
            return False
        if self._flush_up_to > self._handled or time.monotonic() >= self._next_at:
            return True
        step: int = self._newest["step"]
        return 0 < self._steps_between_max <= step - self._sent_step

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due():
                    if self._closing:
                        return
                    pause_s = max(self._next_at - time.monotonic(), 0.001) if self._newest else None
                    self._changed.wait(pause_s)
                assert self._newest is not None
                progress, number = self._newest, self._offered
                self._newest = None
            failed = not self._send(progress)
            with self._changed:
                self._handled = number
                self._failed = failed
                self._sent_step = progress["step"]
                self._next_at = time.monotonic() + self._min_interval_s
                self._changed.notify_all()

    def _send(self, progress: dict[str, Any]) -> bool:
        try:
            self._link.post("/v1/progress", progress)
            return True
        except (NeapError, OSError) as error:
            # A lost report costs visibility, a failed training run costs money: say so and go on.
            print(f"neap: progress of step {progress['step']} was not reported: {error}", file=sys.stderr, flush=True)
            return False
