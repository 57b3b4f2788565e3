"""neap server --store etcd: what the crash test demands of SQLite, and what only etcd brings, against a real etcd."""

from __future__ import annotations

import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import crash_test
from crash_test import PATH
from neap_process import PROGRAM, Server

ETCD = "/usr/bin/etcd"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Etcd:
    """One member on loopback; the same data and ports over restarts. `tls` holds ca.pem, etcd.pem and etcd.key."""

    def __init__(self, folder: pathlib.Path, name: str = "default", tls: pathlib.Path | None = None) -> None:
        self.url, self.peer_url = f"http{'s' if tls else ''}://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self.folder, self.name, self.tls = folder, name, tls
        self.cluster = f"{name}={self.peer_url}"  # of all members
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [ETCD, f"--name={self.name}", f"--data-dir={self.folder}/data", f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}",
                 f"--listen-peer-urls={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}",
                 f"--initial-cluster={self.cluster}", "--max-txn-ops=512", "--max-request-bytes=33554432", *self.tls_arguments()],
                stdout=log, stderr=log,
            )
        port = int(self.url.rsplit(":", 1)[1])
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"etcd did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def tls_arguments(self) -> list[str]:
        if not self.tls:
            return []
        return [f"--cert-file={self.tls}/etcd.pem", f"--key-file={self.tls}/etcd.key", f"--trusted-ca-file={self.tls}/ca.pem", "--client-cert-auth"]

    def end(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=30)


class EtcdTest(crash_test.CrashTest):
    """Inherits the tests of the crash test, which come first: they compare everything that is stored."""

    @classmethod
    def setUpClass(cls) -> None:
        if not pathlib.Path(ETCD).exists():
            raise unittest.SkipTest(f"{ETCD} is missing: run tools/bootstrap.sh test")
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.etcd = Etcd(cls.folder / "etcd")
        cls.addClassCleanup(cls.etcd.end)
        cls.etcd.start()
        cls.arguments = ["--store", "etcd", "--etcd-endpoints", cls.etcd.url]
        cls.server = Server(cls.folder / "server")
        cls.server.ARGUMENTS = cls.arguments
        cls.addClassCleanup(cls.server.end)
        cls.server.start()

    def test_y_etcd_killed_under_load_loses_no_acknowledged_write_and_the_server_goes_on(self) -> None:
        acknowledged: dict[str, str] = {}
        refused: list[tuple[int, str]] = []
        longest = [0.0]
        stop = threading.Event()

        def write(prefix: str) -> None:
            api = self.server.api()
            for index in range(100_000):
                if stop.is_set():
                    break
                name = f"{prefix}-{index}"
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": str(index)}}
                began = time.monotonic()
                reply = api.call("POST", PATH, body)
                longest[0] = max(longest[0], time.monotonic() - began)
                if reply.status == 201:
                    acknowledged[name] = str(index)
                else:
                    refused.append((reply.status, reply.text))
                    time.sleep(0.1)
            api.close()

        writers = [threading.Thread(target=write, args=(f"k{index}",), daemon=True) for index in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(1)
        before = len(acknowledged)
        self.etcd.end()
        time.sleep(1)
        self.etcd.start()
        until = time.monotonic() + 60
        while len(acknowledged) < 2 * before and time.monotonic() < until:
            time.sleep(0.2)
        stop.set()
        for writer in writers:
            writer.join(timeout=70)
            self.assertFalse(writer.is_alive())
        self.assertGreaterEqual(len(acknowledged), 2 * before, "writes did not go on after etcd came back")
        # Writes wait for an etcd that comes back soon; it was away for a second.
        self.assertTrue(refused or longest[0] > 0.9, "nothing noticed that etcd was gone")
        for status, text in refused:
            self.assertIn(status, (409, 503, 504), text)
        stored = self.stored()
        for name, value in acknowledged.items():
            self.assertEqual(stored[name]["data"]["value"], value)
        print(f"{before} writes before etcd was killed, {len(acknowledged)} in all, {len(refused)} refused meanwhile, the longest took {longest[0]:.1f} s", flush=True)

    def test_a_store_belongs_to_one_server_and_a_directory_to_one_store(self) -> None:
        for words, text in (
            (["--state", str(self.folder / "other"), *self.arguments], "--etcd-prefix"),
            (["--state", str(self.server.state)], "--store etcd"),
            (["--state", str(self.folder / "x"), "--store", "etcd"], "--etcd-endpoints"),
        ):
            done = subprocess.run([str(PROGRAM), "server", "--listen", "127.0.0.1:0", *words], capture_output=True, text=True, timeout=60, check=False)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn(text, done.stderr)
        done = subprocess.run([str(PROGRAM), "backup", "--state", str(self.server.state), "--to", str(self.folder / "b")], capture_output=True, text=True, timeout=60, check=False)
        self.assertIn("etcdctl snapshot", done.stderr)
        listed = self.server.cli("get", "sites")
        self.assertEqual(listed.returncode, 0, listed.stderr)


if __name__ == "__main__":
    unittest.main()
