"""An agent for tests: serves the contract on a Unix socket, checks what it is told, remembers everything."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Callable

Call = tuple[str, dict[str, Any]]
# Called after each accepted request; lets a test act at an exact moment (signal a rank, stop the agent).
Observer = Callable[[str, dict[str, Any]], None]


class FakeAgent:
    """1. Accepts only what the contract allows; everything else is in `violations`, which tests assert to be empty.
    2. `stop` and `start` again behave like a restart of the agent: the socket goes away, `calls` stay.
    """

    def __init__(self, socket_path: Path, job: dict[str, Any], observer: Observer | None = None) -> None:
        self.socket_path = socket_path
        self.job = job
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.answers: list[tuple[int, dict[str, Any]]] = []  # consumed before normal answers
        self._observer = observer
        self._lock = threading.Lock()
        self._last_step = 0
        self._server: _Server | None = None

    def __enter__(self) -> FakeAgent:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start(self) -> None:
        self._server = _Server(str(self.socket_path), self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            os.unlink(self.socket_path)

    def bodies(self, path: str) -> list[dict[str, Any]]:
        with self._lock:
            return [body for called, body in self.calls if called == path]

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            if self.answers:
                return self.answers.pop(0)
            if method == "GET" and path.split("?")[0] == "/v1/job":
                return 200, self.job
            problem = self._problem(method, path, body)
            if problem:
                self.violations.append(f"{method} {path} {json.dumps(body)[:200]}: {problem}")
                return 400, {"reason": "test.violation", "message": problem}
            self.calls.append((path, body))
        if self._observer is not None:
            self._observer(path, body)
        return 200, {"state": "sealed"} if path == "/v1/checkpoint" else {}

    def _problem(self, method: str, path: str, body: dict[str, Any]) -> str:
        if method != "POST":
            return "only /v1/job is read"
        if path == "/v1/progress":
            return self._progress_problem(body)
        if path == "/v1/checkpoint":
            return self._checkpoint_problem(body)
        if path == "/v1/outputs":
            known = (
                isinstance(body.get("name"), str)
                and os.path.isabs(body.get("path", ""))
                and os.path.exists(body["path"])
            )
            return (
                ""
                if known and isinstance(body.get("metadata"), dict)
                else "name, an existing absolute path and metadata are needed"
            )
        return "" if path == "/v1/metrics" else "unknown path"

    def _progress_problem(self, body: dict[str, Any]) -> str:
        step = body.get("step")
        if (
            type(step) is not int
            or not isinstance(body.get("metrics"), dict)
            or type(body.get("first_step", 1)) is not int
            or set(body) - {"step", "first_step", "epoch", "metrics"}
        ):
            return "progress has a step, metrics and perhaps an epoch and a first step"
        if step < self._last_step:
            return f"progress went back from {self._last_step}"
        self._last_step = step
        return ""

    def _checkpoint_problem(self, body: dict[str, Any]) -> str:
        path = body.get("path", "")
        if not os.path.isabs(path) or not os.path.isfile(path):
            return "the checkpoint is not a file"
        if any(".partial" in name for name in os.listdir(os.path.dirname(path))):
            return "a partial file lies beside the checkpoint"
        if body.get("step") != self._last_step:
            return f"the last reported step is {self._last_step}"
        return ""


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, agent: FakeAgent) -> None:
        self.agent = agent
        super().__init__(path, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._reply({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])), parse_constant=_refuse_constant)
        self._reply(body)

    def _reply(self, body: dict[str, Any]) -> None:
        status, document = self.server.agent.answer(self.command, self.path, body)
        payload = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def address_string(self) -> str:  # a Unix peer has no address
        return "unix"

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
