"""kubectl exec, attach, cp and port-forward through a server that the node's agent is not connected to: they do what they
do beside the node, and end with a word and at once when the server between fails."""

from __future__ import annotations

import collections
import hashlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import unittest
import urllib.request

from neap_process import SOURCE, Server
from node_life_test import Agent
from three_servers import JOBS, ThreeServersTest

KUBECTL = SOURCE / "build/deps/kubectl-newest/kubectl"
LONG = os.environ.get("NEAP_LONG") == "1"
PROMPT_SECONDS = 15  # a person still looks at the screen


class SessionsBetweenServersTest(ThreeServersTest):
    """The agent knows the second server only; kubectl asks the first one."""

    @classmethod
    def setUpClass(cls) -> None:
        if not os.access(KUBECTL, os.X_OK):
            raise unittest.SkipTest(f"{KUBECTL} is missing: run tools/bootstrap_kubectl.sh")
        super().setUpClass()
        cls.near, cls.far = cls.servers[0], cls.servers[1]
        site = {"apiVersion": "neap.dev/v1", "kind": "Site", "metadata": {"name": "plant"}, "spec": {"tier": "private", "jurisdiction": "DE"}}
        if cls.near.ask("POST", "/apis/neap.dev/v1/sites", site).status != 201:
            raise AssertionError("no site")
        cls.agent = Agent(cls.far, cls.folder)
        cls.addClassCleanup(cls.agent.end)
        cls.agent.start(with_token=True)
        cls.jobs = 0

    def setUp(self) -> None:
        """Work of its own for each test: a node whose only server was away for long has lost its work."""
        SessionsBetweenServersTest.jobs += 1
        name = f"talk-{self.jobs}"
        self.pod = f"{name}-e1-0"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        script = f"head -c 3000000 /dev/urandom > big; sha256sum big | cut -d' ' -f1 > sum; exec /usr/bin/python3 -m http.server --bind 127.0.0.1 {self.port}"
        self.submit(self.near, name, ["/bin/sh", "-c", script])
        self.addCleanup(self.near.ask, "DELETE", f"{JOBS}/{name}")
        self.until_it_serves(self.near)
        # The work may run before its node has said so, and kubectl forwards no port of a pod that does not run yet.
        self.wait("the work does not run", lambda: self.ok("get", "pod", self.pod, "-o", "jsonpath={.status.phase}") == b"Running")

    def environment(self, server: Server) -> dict[str, str]:
        return dict(os.environ, KUBECONFIG=str(server.state / "admin.kubeconfig"))

    def kubectl(self, *words: str, stdin: bytes = b"", server: Server | None = None, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run([str(KUBECTL), *words], input=stdin, capture_output=True, timeout=120, check=False,
                              env={**self.environment(server or self.near), **environment})

    def ok(self, *words: str, **options: object) -> bytes:
        done = self.kubectl(*words, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout

    def begin(self, *words: str) -> subprocess.Popen:
        process = subprocess.Popen([str(KUBECTL), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment(self.near))
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process: subprocess.Popen) -> None:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()

    def until_it_serves(self, server: Server) -> None:
        fetch = f"import socket; socket.create_connection(('127.0.0.1', {self.port}))"
        said: collections.deque[str] = collections.deque(maxlen=1)

        def holds() -> bool:
            done = self.kubectl("exec", self.pod, "--", "/usr/bin/python3", "-c", fetch, server=server)
            said.append(done.stderr.decode())
            return done.returncode == 0

        self.wait("the work cannot be entered", holds, seconds=60, said=said)

    def test_exec_carries_input_output_errors_and_the_exit_code(self) -> None:
        # WebSocket, and SPDY as clients before 1.30 speak it.
        for protocol in ("true", "false"):
            with self.subTest(websocket=protocol):
                speak = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": protocol}
                done = self.kubectl("exec", "-i", self.pod, "--", "sh", "-c", "cat; echo err >&2; exit 3", stdin=b"one\ntwo\n", **speak)
                self.assertEqual((done.returncode, done.stdout), (3, b"one\ntwo\n"), done.stderr.decode())
                self.assertIn("err\n", done.stderr.decode())
                long = os.urandom(3 << 20)
                self.assertEqual(hashlib.sha256(self.ok("exec", "-i", self.pod, "--", "cat", stdin=long, **speak)).digest(), hashlib.sha256(long).digest())

    def test_what_the_far_server_refuses_is_said_as_if_it_were_near(self) -> None:
        for words in (("exec", self.pod, "--", "no-such-program"), ("exec", self.pod, "-c", "side", "--", "true"), ("attach", "-i", self.pod)):
            with self.subTest(words=words):
                near, far = (self.kubectl(*words, server=server) for server in (self.near, self.far))
                self.assertNotEqual(near.returncode, 0)
                self.assertEqual((near.returncode, near.stdout, near.stderr), (far.returncode, far.stdout, far.stderr))

    def test_files_are_copied_there_and_back(self) -> None:
        mine = self.folder / "mine"
        mine.write_bytes(os.urandom(2 << 20))
        self.ok("cp", str(mine), f"{self.pod}:theirs")
        self.ok("cp", f"{self.pod}:theirs", str(self.folder / "back"))
        self.assertEqual((self.folder / "back").read_bytes(), mine.read_bytes())
        self.ok("cp", f"{self.pod}:big", str(self.folder / "big"))
        self.assertEqual(hashlib.sha256((self.folder / "big").read_bytes()).hexdigest(), self.ok("exec", self.pod, "--", "cat", "sum").decode().strip())

    def forwarded(self) -> tuple[subprocess.Popen, int]:
        process = self.begin("port-forward", self.pod, f":{self.port}")
        line = process.stdout.readline().decode()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        self.assertTrue(found, line or process.stderr.read())
        return process, int(found.group(1))

    def test_ports_are_forwarded(self) -> None:
        process, local = self.forwarded()
        for _ in range(4):
            with urllib.request.urlopen(f"http://127.0.0.1:{local}/big", timeout=30) as reply:
                self.assertEqual(len(reply.read()), 3_000_000)
        self.assertIsNone(process.poll())

    def ended(self, process: subprocess.Popen, seconds: float = PROMPT_SECONDS) -> str:
        """What a session that must have ended said of it."""
        began = time.monotonic()
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.fail("kubectl still waits")
        self.assertNotEqual(code, 0, "the session was cut and kubectl says that all went well")
        said = process.stderr.read().decode().strip()
        self.assertNotEqual(said, "")
        print(f"{pathlib.Path(process.args[0]).name} {process.args[1]} ended after {time.monotonic() - began:.1f} s: {said.splitlines()[-1]}", flush=True)
        return said

    def session(self) -> subprocess.Popen:
        process = self.begin("exec", "-i", self.pod, "--", "cat")
        process.stdin.write(b"here\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"here\n")
        return process

    def test_when_the_server_between_is_killed_every_session_ends_with_a_word_and_a_new_one_is_refused_with_one(self) -> None:
        session, (forward, _) = self.session(), self.forwarded()
        self.far.kill()
        try:
            self.assertIn(f"server at {self.far.address}", self.ended(session))
            self.assertIn("lost connection", self.ended(forward))
            began = time.monotonic()
            done = self.kubectl("exec", self.pod, "--", "true")
            self.assertLess(time.monotonic() - began, 2 * PROMPT_SECONDS)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("edge-1", done.stderr.decode())
        finally:
            self.far.start()
        self.until_it_serves(self.near)

    def test_a_server_that_stops_ends_its_sessions_with_a_word_on_either_side(self) -> None:
        for server in (self.far, self.near):
            with self.subTest(server="far" if server is self.far else "near"):
                session, (forward, _) = self.session(), self.forwarded()
                self.assertEqual(server.stop(), 0)
                try:
                    self.assertIn("the session broke off", self.ended(session))
                    self.ended(forward)
                finally:
                    server.start()
                self.until_it_serves(self.near)

    @unittest.skipUnless(LONG, "waits for a silence of a minute: NEAP_LONG=1")
    def test_when_the_server_between_hangs_sessions_end_within_their_bounds(self) -> None:
        session, (forward, _) = self.session(), self.forwarded()
        self.far.process.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            done = self.kubectl("exec", self.pod, "--", "true")
            self.assertLess(time.monotonic() - began, 60)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("edge-1", done.stderr.decode())
            self.ended(session, 90)
            self.ended(forward, 90)
        finally:
            self.far.process.send_signal(signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
