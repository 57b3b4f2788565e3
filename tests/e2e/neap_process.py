"""One `neap server` under test and a client of its API. Standard library only.

NEAP_PROGRAM names the program, NEAP_STORY the folder in which story_test left its run.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("NEAP_PROGRAM", SOURCE / "build/release/neap")).resolve()
STORY = pathlib.Path(os.environ.get("NEAP_STORY", SOURCE / "build/release/e2e/story")).resolve()
START_SECONDS = 60


@dataclasses.dataclass
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> dict:
        return json.loads(self.text)


class Api:
    """One keep-alive connection to a server; not shared between threads."""

    def __init__(self, address: str, context: ssl.SSLContext, token: str = "") -> None:
        host, port = address.rsplit(":", 1)
        self.connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=60)
        self.token = token

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Reply:
        headers = {"Content-Type": content_type}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        payload = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        self.connection.request(method, path, payload, headers)
        response = self.connection.getresponse()
        text = response.read().decode(errors="replace")
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, text)

    def close(self) -> None:
        self.connection.close()


class Server:
    """`neap server --state DIR`; start() waits until it serves. The port stays the same over restarts."""

    ARGUMENTS: list[str] = []  # further ones of `neap server`
    ENVIRONMENT: dict[str, str] = {}

    def __init__(self, state: pathlib.Path) -> None:
        self.state = state
        self.port = 0
        self.process: subprocess.Popen | None = None
        self.log_path = state.parent / (state.name + ".log")

    def start(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True)
        ready = self.state / "ready"
        ready.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), "server", "--state", str(self.state), "--listen", f"127.0.0.1:{self.port}", *self.ARGUMENTS],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.ENVIRONMENT},
            )
        until = time.monotonic() + START_SECONDS
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"neap server did not start: {self.log_path.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        self.address = ready.read_text().strip()
        self.port = int(self.address.rsplit(":", 1)[1])

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.state / "ca.pem"))

    @property
    def token(self) -> str:
        return (self.state / "admin.token").read_text().strip()

    def api(self, token: str | None = None, context: ssl.SSLContext | None = None) -> Api:
        return Api(self.address, context or self.tls(), self.token if token is None else token)

    def ask(self, method: str, path: str, body: object = None, **kwargs: object) -> Reply:
        api = self.api(**kwargs)
        try:
            return api.call(method, path, body)
        finally:
            api.close()

    def cli(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess:
        environment = dict(os.environ, KUBECONFIG=str(self.state / "admin.kubeconfig"))
        return subprocess.run([str(PROGRAM), *words], input=stdin, capture_output=True, text=True, env=environment, timeout=60, check=False)

    def resident_bytes(self) -> int:
        """The most memory the process ever held, from the kernel."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the kernel does not say how much memory the server held")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)

    def stop(self, seconds: float = 30) -> int:
        """Exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=seconds)

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()


class ServerTest(unittest.TestCase):
    """A fresh server for the whole class."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.server = Server(cls.folder / "server")
        cls.addClassCleanup(cls.server.end)
        cls.server.start()


class LabTest(unittest.TestCase):
    """`neap up` with its five agents."""

    def setUp(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-e2e-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.log = self.folder / "up.log"

    def start(self) -> subprocess.Popen:
        with open(self.log, "ab") as log:
            lab = subprocess.Popen([str(PROGRAM), "up", "--state", str(self.folder / "lab")], stdout=subprocess.PIPE, stderr=log, text=True)
        self.addCleanup(self.end, lab)
        line = lab.stdout.readline()
        self.assertTrue(line.startswith("ready "), line + self.log.read_text(errors="replace"))
        return lab

    @staticmethod
    def end(lab: subprocess.Popen) -> None:
        if lab.poll() is None:
            lab.terminate()
            lab.wait(timeout=60)
        lab.stdout.close()

    def control(self, method: str, path: str) -> dict:
        """The lab's own socket: what runs, and what to do to it."""
        connection = http.client.HTTPConnection("lab", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.folder / "lab/lab.sock"))
        connection.request(method, path, headers={"Host": "lab"})
        document = json.loads(connection.getresponse().read())
        connection.close()
        return document

    def children(self) -> dict[str, int]:
        processes = self.control("GET", "/v1/state")["processes"]
        return {name: child["pid"] for name, child in processes.items() if child["running"]}

    def cli_command(self, *words: str) -> tuple[list[str], dict[str, str]]:
        return [str(PROGRAM), *words], dict(os.environ, KUBECONFIG=str(self.folder / "lab/admin.kubeconfig"))

    def cli(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess:
        command, environment = self.cli_command(*words)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, timeout=60, check=False)

    def wait(self, what: str, holds, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), until, what + "\n" + self.log.read_text(errors="replace")[-2000:])
            time.sleep(0.1)


def story_summary() -> dict:
    """Facts of the run that story_test left; skips the test where there is none."""
    path = STORY / "summary.json"
    if not path.exists():
        raise unittest.SkipTest(f"no story has run in {STORY}: ctest -R e2e/ runs it first")
    return json.loads(path.read_text())
