"""A node's certificate over its life: renewed again and again under traffic, refused once it has ended."""

from __future__ import annotations

import http.client
import json
import pathlib
import ssl
import subprocess
import threading
import time

from neap_process import PROGRAM, Server, ServerTest

LIFE_SECONDS = 9
NODE = "edge-1"


class Agent:
    """`neap agent` of one node of site `plant`, joined with a token of its own."""

    def __init__(self, server: Server, folder: pathlib.Path) -> None:
        self.server, self.state, self.log_path = server, folder / NODE, folder / f"{NODE}.log"
        self.token_file = folder / "join-token"
        self.process: subprocess.Popen | None = None

    def start(self, with_token: bool) -> None:
        command = [str(PROGRAM), "agent", "--state", str(self.state), "--node", NODE, "--site", "plant", "--server", f"https://{self.server.address}"]
        if with_token:
            reply = self.server.ask("POST", "/neap/v1/join-tokens", {"node": NODE, "site": "plant"})
            self.token_file.write_text(reply.json["token"])
            command += ["--token-file", str(self.token_file)]
        ready = self.state / "ready"
        ready.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 60
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"neap agent did not start: {self.log()[-2000:]}")
            time.sleep(0.05)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    @property
    def certificate(self) -> str:
        return (self.state / "identity/cert.pem").read_text()

    def peer_address(self) -> tuple[str, int]:
        host, port = json.loads((self.state / "endpoints.json").read_text())["peer"].rsplit(":", 1)
        return host, int(port)

    def context(self) -> ssl.SSLContext:
        """What another node would connect with: mutual TLS under the node's name."""
        identity = self.state / "identity"
        context = ssl.create_default_context(cafile=str(identity / "ca.pem"))
        context.check_hostname = False
        context.load_cert_chain(str(identity / "cert.pem"), str(identity / "key.pem"))
        return context

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)


class Traffic(threading.Thread):
    """Asks the node's own peer listener, on one connection that stands and on a new one each time."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(daemon=True)
        self.agent, self.over = agent, threading.Event()
        self.asked, self.failures, self.serials = 0, [], set()

    def run(self) -> None:
        address = self.agent.peer_address()
        standing = http.client.HTTPSConnection(*address, context=self.agent.context(), timeout=20)
        while not self.over.wait(0.1):
            try:
                self.ask(standing)
                fresh = http.client.HTTPSConnection(*address, context=self.agent.context(), timeout=20)
                self.ask(fresh)
                self.serials.add(fresh.sock.getpeercert()["serialNumber"])
                fresh.close()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
        self.standing_serial = standing.sock.getpeercert()["serialNumber"]
        standing.close()

    def ask(self, connection: http.client.HTTPSConnection) -> None:
        connection.auto_open = 0 if connection.sock else 1  # a connection that was dropped is a failure
        connection.request("GET", "/v2")
        response = connection.getresponse()
        response.read()
        self.asked += 1
        if response.status != 200:
            self.failures.append(f"status {response.status}")


class NodeLifeTest(ServerTest):
    @classmethod
    def setUpClass(cls) -> None:
        Server.ARGUMENTS = ["--node-certificate-life", f"{LIFE_SECONDS}s"]
        cls.addClassCleanup(setattr, Server, "ARGUMENTS", [])
        super().setUpClass()
        cls.agent = Agent(cls.server, cls.folder)
        cls.addClassCleanup(cls.agent.end)

    def wait(self, what: str, seconds: float, holds) -> None:
        until = time.monotonic() + seconds
        while not holds():
            self.assertLess(time.monotonic(), until, f"{what}; the agent's log: {self.agent.log()[-3000:]}")
            time.sleep(0.1)

    def entries(self, kind: str) -> list[dict]:
        return self.server.ask("GET", f"/neap/v1/audit?type={kind}").json["entries"]

    def test_a_renewed_twice_under_traffic(self) -> None:
        self.agent.start(with_token=True)
        traffic = Traffic(self.agent)
        seen = [self.agent.certificate]
        traffic.start()

        def renewed() -> bool:
            if self.agent.certificate != seen[-1]:
                seen.append(self.agent.certificate)
            return len(seen) >= 4

        self.wait("three renewals", 6 * LIFE_SECONDS, renewed)
        time.sleep(1)
        traffic.over.set()
        traffic.join(timeout=30)
        self.assertEqual(traffic.failures, [])
        self.assertGreater(traffic.asked, 100)
        self.assertGreaterEqual(len(traffic.serials), 3, "new connections were not shown the renewed certificates")
        self.assertIn(traffic.standing_serial, traffic.serials)
        self.assertNotIn("cannot be reached", self.agent.log())
        renewals = self.entries("certificate-renewal")
        self.assertGreaterEqual(len(renewals), 3)
        self.assertEqual({entry["node"] for entry in renewals}, {NODE})
        self.assertEqual(len({entry["serial"] for entry in renewals}), len(renewals))
        self.assertEqual(len(self.entries("node-join")), 1)
        node = self.server.ask("GET", f"/apis/neap.dev/v1/nodes/{NODE}").json
        self.assertEqual([c["type"] for c in node["status"]["conditions"]], ["Ready"])
        print(f"{len(renewals)} renewals, {traffic.asked} requests, none failed", flush=True)

    def test_b_an_ended_certificate_is_refused_and_says_how_to_join_again(self) -> None:
        self.agent.end()
        # A node that renews nothing any more, but keeps a connection to the server open.
        held = self.server.api(token="", context=self.agent.context())
        path = f"/apis/neap.dev/v1/nodes/{NODE}"
        self.assertEqual(held.call("GET", path).status, 200)
        while held.call("GET", path).status == 200:
            time.sleep(0.2)
        reply = held.call("GET", path)
        self.assertEqual(reply.status, 401)
        self.assertIn("neap token create-join", reply.text)
        with self.assertRaisesRegex((ssl.SSLError, OSError), "(?i)expired|reset|closed"):
            self.server.api(token="", context=self.agent.context()).call("GET", path)
        with self.assertRaisesRegex(AssertionError, "certificate of edge-1 has ended.*neap token create-join"):
            self.agent.start(with_token=False)
        self.agent.start(with_token=True)
        self.wait("the node reports again", 20, lambda: len(self.entries("node-join")) == 2)

    def test_c_a_running_agent_that_was_cut_off_says_what_to_do(self) -> None:
        self.server.stop()
        time.sleep(LIFE_SECONDS + 1)
        self.server.start()
        self.wait("the agent says that its certificate ended", 30, lambda: "the server takes it no more" in self.agent.log())
        self.assertIn(f"neap token create-join --node {NODE}", self.agent.log())

    def test_d_a_refused_join_is_on_record_without_its_token(self) -> None:
        before = len(self.entries("join-refusal"))
        bad = "neap1.0123456789ab." + "A" * 43 + "." + "0" * 64
        reply = self.server.ask("POST", "/neap/v1/join", {"token": bad, "node": "edge-9", "site": "plant", "request": ""}, token="")
        self.assertEqual(reply.status, 401)
        entries = self.entries("join-refusal")
        self.assertEqual(len(entries), before + 1)
        self.assertEqual((entries[-1]["node"], entries[-1]["peer"]), ("edge-9", "127.0.0.1"))
        self.assertIn("wrong or was used before", entries[-1]["reason"])
        self.assertNotIn("A" * 43, str(entries))
