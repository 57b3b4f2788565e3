"""Three servers on three members of etcd, and what their tests ask of them."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from etcd_test import ETCD, Etcd
from neap_process import Server

JOBS = "/apis/neap.dev/v1/namespaces/default/trainingjobs"
SHARED = ("ca.pem", "ca.key", "signing.key", "secrets.key", "admin.token")


class AllServers:
    """What an agent is told of the servers."""

    def __init__(self, servers: list[Server]) -> None:
        self.address, self.ask = ",https://".join(server.address for server in servers), servers[2].ask


class ThreeServersTest(unittest.TestCase):
    """For the whole class; without tests of its own."""

    @classmethod
    def setUpClass(cls) -> None:
        if not pathlib.Path(ETCD).exists():
            raise unittest.SkipTest(f"{ETCD} is missing: run tools/bootstrap.sh test")
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-e2e-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        tls = cls.make_certificates(cls.folder / "tls")
        cls.members = [Etcd(cls.folder / f"etcd{index}", f"m{index}", tls) for index in range(3)]
        cluster = ",".join(member.cluster for member in cls.members)
        for member in cls.members:
            member.cluster = cluster
            cls.addClassCleanup(member.end)
        starting = [threading.Thread(target=member.start) for member in cls.members]
        for one in starting:
            one.start()
        for one in starting:
            one.join()
        endpoints = ",".join(member.url for member in cls.members)
        cls.servers: list[Server] = []
        for index in range(3):
            server = Server(cls.folder / f"server{index}")
            server.ARGUMENTS = ["--store", "etcd", "--etcd-endpoints", endpoints, "--etcd-ca", f"{tls}/ca.pem", "--etcd-cert", f"{tls}/client.pem", "--etcd-key", f"{tls}/client.key"]
            cls.addClassCleanup(server.end)
            if index:
                (server.state / "identity").mkdir(parents=True)
                for name in SHARED:
                    shutil.copy(cls.servers[0].state / "identity" / name, server.state / "identity" / name)
            server.start()
            cls.servers.append(server)

    @staticmethod
    def make_certificates(folder: pathlib.Path) -> pathlib.Path:
        """A CA, a certificate for the members of etcd and one for their clients."""
        folder.mkdir()

        def openssl(*words: str) -> None:
            done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode != 0:
                raise AssertionError(done.stderr)

        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=etcd-ca", "-days", "2")
        for name in ("etcd", "client"):
            (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
            openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext")
        return folder

    def wait(self, what: str, holds, seconds: float = 30, said: object = "") -> float:
        began = time.monotonic()
        while not holds():
            self.assertLess(time.monotonic() - began, seconds, f"{what}: {said}")
            time.sleep(0.05)
        return time.monotonic() - began

    def submit(self, server: Server, name: str, command: list[str] | None = None) -> None:
        job = {"apiVersion": "neap.dev/v1", "kind": "TrainingJob", "metadata": {"name": name},
               "spec": {"command": command or ["true"], "replicas": 1, "resources": {"cpu": "1", "memory": "64Mi"}}}
        reply = server.ask("POST", JOBS, job)
        self.assertEqual(reply.status, 201, reply.text[:500])
