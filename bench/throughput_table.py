#!/usr/bin/env python3
"""Placements a second through the API with the durable store, beside kube-scheduler on kube-apiserver and etcd.

    bench/throughput_table.py [--build build/release] [--peers build/deps] [--nodes 1000,5000] [--items 5000]
                              [--shapes jobs,gang] [--no-peers]

Starts real processes on fresh state, loads each with throughput_bench, and prints a table with the ratios of this run.
A placement counts when the watch shows it, so both sides have it on disk by then. CPU is that of all server processes
from the first submit to the last placement. The peers are built by tools/bootstrap_throughput_peers.sh.
"""
import argparse
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent.parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Processes:
    """What one side consists of; ended with it, by process id."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.started = []

    def start(self, name, *command):
        log = open(self.directory / f"{name}.log", "w")
        process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=subprocess.STDOUT)
        self.started.append(process)
        return process

    def wait_for(self, what, ready, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(p.poll() is not None for p in self.started):
                break
            try:
                if ready():
                    return
            except OSError:
                pass
            time.sleep(0.1)
        logs = "\n".join(f"--- {f.name}\n" + "\n".join(f.read_text().splitlines()[-8:])
                         for f in sorted(self.directory.glob("*.log")))
        raise SystemExit(f"throughput_table: {what} did not get ready\n{logs}")

    def cpu(self):
        return sum(cpu_seconds(p) for p in self.started)

    def stop(self):
        for process in reversed(self.started):
            process.terminate()
        for process in reversed(self.started):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def measure(processes, program, arguments):
    """Runs the load; CPU counts from the moment the nodes are there."""
    load = subprocess.Popen([str(program), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)
    said = []
    before = processes.cpu()
    for line in load.stderr:
        said.append(line)
        if "nodes are there" in line:
            before = processes.cpu()
    out = load.stdout.read()
    after = processes.cpu()
    if load.wait() != 0:
        raise SystemExit(f"throughput_table: {' '.join(map(str, arguments))} failed: {out}{''.join(said)}")
    result = json.loads(out)
    result["cpu_ms"] = (after - before) * 1000 / result["items"]
    return result


def run_neap(build, shape, nodes, items, scratch):
    with tempfile.TemporaryDirectory(dir=scratch, prefix="neap-") as directory:
        processes = Processes(directory)
        state = processes.directory / "state"
        processes.start("neap", build / "neap", "server", "--state", state, "--listen", "127.0.0.1:0")
        try:
            processes.wait_for("neap server", lambda: (state / "ready").exists())
            url = json.loads((state / "endpoints.json").read_text())["api"]
            return measure(processes, build / "bench/throughput_bench",
                           ["--url", url, "--ca", state / "ca.pem", "--token", state / "admin.token", "--shape", shape,
                            "--nodes", nodes, "--items", items])
        finally:
            processes.stop()


KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{{name: bench, cluster: {{server: "{url}", certificate-authority: "{ca}"}}}}]
users: [{{name: bench, user: {{token: bench}}}}]
contexts: [{{name: bench, context: {{cluster: bench, user: bench}}}}]
current-context: bench
"""
# The default of 50 requests a second would be a limit of the client, not of the scheduler.
SCHEDULER = """apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {{leaderElect: false}}
clientConnection: {{kubeconfig: "{kubeconfig}", qps: 10000, burst: 20000}}
"""


def run_kubernetes(build, peers, nodes, items, scratch):
    with tempfile.TemporaryDirectory(dir=scratch, prefix="kubernetes-") as name:
        directory = pathlib.Path(name)
        processes = Processes(directory)
        client, peer, port = free_port(), free_port(), free_port()
        url = f"https://127.0.0.1:{port}"
        (directory / "tokens.csv").write_text('bench,bench,bench,"system:masters"\n')
        (directory / "token").write_text("bench")
        subprocess.run(["openssl", "genrsa", "-out", directory / "accounts.key", "2048"], check=True,
                       capture_output=True)
        certificates = directory / "certificates"
        (directory / "kubeconfig").write_text(KUBECONFIG.format(url=url, ca=certificates / "apiserver.crt"))
        (directory / "scheduler.yaml").write_text(SCHEDULER.format(kubeconfig=directory / "kubeconfig"))
        try:
            processes.start("etcd", peers / "etcd/etcd", "--data-dir", directory / "etcd", "--listen-client-urls",
                            f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
                            "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls",
                            f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}",
                            "--log-level", "warn")
            processes.start("kube-apiserver", peers / "kubernetes/kubernetes", "kube-apiserver", "--etcd-servers",
                            f"http://127.0.0.1:{client}", "--secure-port", port, "--bind-address", "127.0.0.1",
                            "--cert-dir", certificates, "--token-auth-file", directory / "tokens.csv",
                            "--authorization-mode", "RBAC", "--disable-admission-plugins",
                            "ServiceAccount,TaintNodesByCondition", "--service-account-issuer", "https://bench.invalid",
                            "--service-account-key-file", directory / "accounts.key",
                            "--service-account-signing-key-file", directory / "accounts.key",
                            "--service-cluster-ip-range", "10.0.0.0/24")

            def is_ready():
                if not (certificates / "apiserver.crt").exists():
                    return False
                context = ssl._create_unverified_context()
                request = urllib.request.Request(url + "/api/v1/namespaces/default",
                                                 headers={"Authorization": "Bearer bench"})
                with urllib.request.urlopen(request, context=context, timeout=5) as reply:
                    return reply.status == 200

            processes.wait_for("kube-apiserver", is_ready)
            processes.start("kube-scheduler", peers / "kubernetes/kubernetes", "kube-scheduler", "--config",
                            directory / "scheduler.yaml", "--secure-port", free_port(), "--bind-address", "127.0.0.1",
                            "--cert-dir", directory / "scheduler-certificates")
            time.sleep(3)
            return measure(processes, build / "bench/throughput_bench",
                           ["--url", url, "--ca", certificates / "apiserver.crt", "--token", directory / "token",
                            "--shape", "pods", "--nodes", nodes, "--items", items])
        finally:
            processes.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE / "build/release")
    parser.add_argument("--peers", type=pathlib.Path, default=HERE / "build/deps")
    parser.add_argument("--nodes", default="1000,5000")
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--shapes", default="jobs,gang")
    parser.add_argument("--scratch", default=None, help="a directory on the disk that is meant; else the system's")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    # Ended from outside, it ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    has_peers = not arguments.no_peers and all(
        (arguments.peers / p).exists() for p in ("etcd/etcd", "kubernetes/kubernetes"))
    if not has_peers and not arguments.no_peers:
        print("throughput_table: the peers are not built; run tools/bootstrap_throughput_peers.sh", file=sys.stderr)
    rows = []
    for nodes in map(int, arguments.nodes.split(",")):
        peer = None
        if has_peers:
            peer = run_kubernetes(arguments.build, arguments.peers, nodes, arguments.items, arguments.scratch)
            rows.append({"system": "kube-scheduler", **peer, "ratio": 1.0})
        for shape in arguments.shapes.split(","):
            own = run_neap(arguments.build, shape, nodes, arguments.items, arguments.scratch)
            ratio = own["placements_per_second"] / peer["placements_per_second"] if peer else None
            rows.append({"system": "neap", **own, "ratio": ratio})
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{'system':<16}{'shape':<8}{'nodes':>7}{'items':>8}{'placements/s':>14}{'CPU ms each':>13}{'ratio':>8}")
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        print(f"{row['system']:<16}{row['shape']:<8}{row['nodes']:>7}{row['items']:>8}"
              f"{row['placements_per_second']:>14.0f}{row['cpu_ms']:>13.2f}{ratio:>8}")


if __name__ == "__main__":
    main()
