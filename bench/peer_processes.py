"""Real servers that the tables of this folder load: Neap's own, and kube-apiserver on etcd or on kine with SQLite.

The peers are built by tools/bootstrap_throughput_peers.sh. Everything is started on fresh state in one directory and
ended by process id.
"""
import json
import os
import pathlib
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def is_answered(url, token, path="/api/v1/namespaces/default"):
    """True once the server answers an authorized read; OSError while it does not."""
    request = urllib.request.Request(url + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, context=ssl._create_unverified_context(), timeout=5) as reply:
            return reply.status == 200
    except urllib.error.HTTPError:
        return False


class Processes:
    """What one side consists of; ended with it, by process id."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.started = []

    def start(self, name, *command):
        log = open(self.directory / f"{name}.log", "a")
        process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=subprocess.STDOUT,
                                   cwd=self.directory)
        self.started.append(process)
        return process

    def wait_for(self, what, ready, seconds=120, pause=0.1):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(p.poll() is not None for p in self.started):
                break
            try:
                if ready():
                    return
            except OSError:
                pass
            time.sleep(pause)
        logs = "\n".join(f"--- {f.name}\n" + "\n".join(f.read_text().splitlines()[-8:])
                         for f in sorted(self.directory.glob("*.log")))
        raise SystemExit(f"{what} did not get ready\n{logs}")

    def cpu(self):
        return sum(cpu_seconds(p) for p in self.started)

    def resident_mb(self):
        return sum(resident_mb(p) for p in self.started)

    def stop(self):
        for process in reversed(self.started):
            process.terminate()
        for process in reversed(self.started):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.started = []

    def kill(self):
        for process in self.started:
            process.kill()
        for process in self.started:
            process.wait()
        self.started = []


class Neap:
    """`neap server` with its durable store."""

    def __init__(self, directory, build):
        self.processes = Processes(directory)
        self.build = build
        self.state = self.processes.directory / "state"
        self.listen = f"127.0.0.1:{free_port()}"

    def start(self):
        (self.state / "ready").unlink(missing_ok=True)
        self.processes.start("neap", self.build / "neap", "server", "--state", self.state, "--listen", self.listen)

    def is_ready(self):
        return (self.state / "ready").exists() and is_answered(self.url, self.token.read_text().strip())

    @property
    def url(self):
        return json.loads((self.state / "endpoints.json").read_text())["api"]

    @property
    def ca(self):
        return self.state / "ca.pem"

    @property
    def token(self):
        return self.state / "admin.token"


class Kubernetes:
    """kube-apiserver; `backend` is "etcd", "kine" as it comes (SQLite is not synced at each commit) or "kine-synced"."""

    def __init__(self, directory, peers, backend="etcd"):
        self.processes = Processes(directory)
        self.peers = peers
        self.backend = backend
        self.store_port, self.peer_port, self.port = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.certificates = self.processes.directory / "certificates"
        self.ca = self.certificates / "apiserver.crt"
        self.token = self.processes.directory / "token"
        self.token.write_text("bench")
        (self.processes.directory / "tokens.csv").write_text('bench,bench,bench,"system:masters"\n')
        subprocess.run(["openssl", "genrsa", "-out", self.processes.directory / "accounts.key", "2048"], check=True,
                       capture_output=True)

    def start_store(self):
        directory, url = self.processes.directory, f"http://127.0.0.1:{self.store_port}"
        if self.backend == "etcd":
            peer = f"http://127.0.0.1:{self.peer_port}"
            self.processes.start("etcd", self.peers / "etcd/etcd", "--data-dir", directory / "etcd",
                                 "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls",
                                 peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
                                 "--log-level", "warn")
            return url
        command = [self.peers / "kine/kine", "--listen-address", f"tcp://127.0.0.1:{self.store_port}",
                   "--metrics-bind-address", "0"]
        if self.backend == "kine-synced":
            # Its own parameters but for the one that makes a commit wait for the disk.
            command += ["--endpoint", f"sqlite://{directory}/synced.db?_journal_mode=WAL&_busy_timeout=30000"
                                      "&_synchronous=FULL&_txlock=immediate&_stmt_cache_size=20&cache=shared"]
        self.processes.start("kine", *command)
        return url

    def start(self):
        store, directory = self.start_store(), self.processes.directory
        self.processes.start("kube-apiserver", self.peers / "kubernetes/kubernetes", "kube-apiserver",
                             "--etcd-servers", store, "--secure-port", self.port, "--bind-address", "127.0.0.1",
                             "--cert-dir", self.certificates, "--token-auth-file", directory / "tokens.csv",
                             "--authorization-mode", "RBAC", "--disable-admission-plugins",
                             "ServiceAccount,TaintNodesByCondition", "--service-account-issuer",
                             "https://bench.invalid", "--service-account-key-file", directory / "accounts.key",
                             "--service-account-signing-key-file", directory / "accounts.key",
                             "--service-cluster-ip-range", "10.0.0.0/24")

    def is_ready(self):
        return self.ca.exists() and is_answered(self.url, "bench")
