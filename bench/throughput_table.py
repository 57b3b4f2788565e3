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
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from peer_processes import Kubernetes, Neap, free_port

HERE = pathlib.Path(__file__).resolve().parent.parent


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
        neap = Neap(directory, build)
        try:
            neap.start()
            neap.processes.wait_for("neap server", neap.is_ready)
            return measure(neap.processes, build / "bench/throughput_bench",
                           ["--url", neap.url, "--ca", neap.ca, "--token", neap.token, "--shape", shape,
                            "--nodes", nodes, "--items", items])
        finally:
            neap.processes.stop()


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
        server = Kubernetes(directory, peers)
        (directory / "kubeconfig").write_text(KUBECONFIG.format(url=server.url, ca=server.ca))
        (directory / "scheduler.yaml").write_text(SCHEDULER.format(kubeconfig=directory / "kubeconfig"))
        try:
            server.start()
            server.processes.wait_for("kube-apiserver", server.is_ready)
            server.processes.start("kube-scheduler", peers / "kubernetes/kubernetes", "kube-scheduler", "--config",
                                   directory / "scheduler.yaml", "--secure-port", free_port(), "--bind-address",
                                   "127.0.0.1", "--cert-dir", directory / "scheduler-certificates")
            time.sleep(3)
            return measure(server.processes, build / "bench/throughput_bench",
                           ["--url", server.url, "--ca", server.ca, "--token", server.token, "--shape", "pods",
                            "--nodes", nodes, "--items", items])
        finally:
            server.processes.stop()


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
