"""The link to the node's agent: HTTP/1.1 on a Unix socket, or a journal file where there is no agent.

Both ends of the contract are idempotent per (path, step, name): a request may be repeated after its answer was
lost, so every failure that a restart of the agent can cause is retried.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any, Callable, Mapping, Protocol

from .errors import AgentRefused, AgentUnavailable, NeapError

# An agent that is upgraded in place is back well within this time; training must not notice.
RETRY_FOR_S = 60.0
REQUEST_TIMEOUT_S = 30.0
# Sealing reads the whole checkpoint to compute its digest before the agent answers.
CHECKPOINT_TIMEOUT_S = 600.0
REPLY_BYTES_MAX = 1 << 20

_BACKOFF_FIRST_S = 0.05
_BACKOFF_MAX_S = 2.0
_RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class AgentLink(Protocol):
    """Where reports go. Safe to call from several threads."""

    def post(
        self, path: str, body: Mapping[str, Any], *, timeout_s: float = ..., retry_for_s: float = ...
    ) -> dict[str, Any]:
        """Delivers one report and returns the answer. Raises AgentUnavailable or AgentRefused."""
        ...


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, socket_path: str, timeout_s: float) -> None:
        super().__init__("agent", timeout=timeout_s)
        self._socket_path = socket_path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._socket_path)
        except BaseException:
            self.sock.close()
            raise


class UnixAgent:
    """Talks to a real agent. One connection per request, so that an agent's restart needs no special case."""

    def __init__(
        self,
        socket_path: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._socket_path = socket_path
        self._monotonic = monotonic
        self._sleep = sleep
        self._given_up = False

    def give_up(self) -> None:
        """The agent will not come back in time: from now on nothing is retried."""
        self._given_up = True

    def get(self, path: str, *, retry_for_s: float = RETRY_FOR_S) -> dict[str, Any]:
        """Fetches one document. Raises AgentUnavailable after `retry_for_s`, AgentRefused at once."""
        return self._request("GET", path, None, REQUEST_TIMEOUT_S, retry_for_s)

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> dict[str, Any]:
        """Sends one report; see AgentLink."""
        return self._request("POST", path, encode(body), timeout_s, retry_for_s)

    def _request(
        self, method: str, path: str, body: bytes | None, timeout_s: float, retry_for_s: float
    ) -> dict[str, Any]:
        deadline = self._monotonic() + retry_for_s
        backoff_s = _BACKOFF_FIRST_S
        while True:
            try:
                return self._attempt(method, path, body, timeout_s)
            except (OSError, http.client.HTTPException, _RetryableAnswer) as error:
                left_s = deadline - self._monotonic()
                if left_s <= 0 or self._given_up:
                    raise AgentUnavailable(
                        f"{method} {path}: the agent at {self._socket_path} gave no usable answer for "
                        f"{retry_for_s:g} s ({type(error).__name__}: {error}); check that the agent runs"
                    ) from error
                self._sleep(min(backoff_s, left_s))
                backoff_s = min(backoff_s * 2, _BACKOFF_MAX_S)

    def _attempt(self, method: str, path: str, body: bytes | None, timeout_s: float) -> dict[str, Any]:
        connection = _UnixConnection(self._socket_path, timeout_s)
        try:
            headers = {"Accept": "application/json", "Connection": "close"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            payload = response.read(REPLY_BYTES_MAX + 1)
        finally:
            connection.close()
        if len(payload) > REPLY_BYTES_MAX:
            raise NeapError(f"{method} {path}: the agent's answer is larger than {REPLY_BYTES_MAX} bytes; not read")
        if response.status in _RETRYABLE_STATUS:
            raise _RetryableAnswer(f"HTTP {response.status}")
        document = _decode(payload, f"{method} {path}") if payload else {}
        if response.status >= 300:
            reason = str(document.get("reason", ""))
            text = str(document.get("message", "")) or f"HTTP {response.status}"
            raise AgentRefused(response.status, reason, f"{method} {path}: the agent refused: {text}")
        return document


class OfflineJournal:
    """Stands in for the agent where none runs: appends each report as one JSON line to a file.

    Whoever started the script (a batch system, a developer) can read from it what the agent would have been told.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        retry_for_s: float = RETRY_FOR_S,
    ) -> dict[str, Any]:
        """Appends the report; a checkpoint counts as sealed, never as durable, since nobody uploads it."""
        line = encode({"path": path, "body": body}) + b"\n"
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # One write with O_APPEND keeps lines whole when several processes share the file.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        return {"state": "sealed"} if path == "/v1/checkpoint" else {}


class _RetryableAnswer(Exception):
    pass


def encode(body: Mapping[str, Any]) -> bytes:
    """JSON without NaN or Infinity: both become null, because a diverged loss must be reported, not fail the report."""
    return json.dumps(_finite(body), allow_nan=False, ensure_ascii=False, default=_plain).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """Accepts what training code has at hand: paths, numpy and torch scalars."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        return _finite(value.item())
    raise NeapError(f"a value of type {type(value).__name__} cannot be reported; use numbers, strings, lists or maps")


def _decode(payload: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(payload)
    except ValueError as error:
        raise _RetryableAnswer(f"{what}: the answer is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise _RetryableAnswer(f"{what}: the answer is not a JSON object")
    return document
