#!/usr/bin/env python3
"""The API of `neap server` with its durable store, beside kube-apiserver on etcd and on kine with SQLite, in one run.

    bench/api_table.py [--build build/release] [--peers build/deps] [--systems etcd,kine,neap] [--objects 10000]
                       [--paced-seconds 8] [--scratch DIR] [--json]

Each system is started on fresh state, one after the other, and loaded over TLS by the same program (api_load): 64 writers
create ConfigMaps of 1 KB at 500 a second, then as fast as it goes until there are --objects of them; 100 watchers see 100
events a second; the kind is listed in pages of 500 (the median of five lists); then the system is killed and started again with its objects, until
it answers an authorized read. Memory and CPU are those of all processes of a system. `kine` is as it comes, which does
not wait for the disk at each commit; `kine-synced` does, as etcd and Neap do. The peers are built by
tools/bootstrap_throughput_peers.sh. The whole table takes about a minute a system.
"""
import argparse
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from peer_processes import Kubernetes, Neap

HERE = pathlib.Path(__file__).resolve().parent.parent
PACE = 500
NAMES = {"etcd": "kube-apiserver, etcd", "kine": "kube-apiserver, kine", "kine-synced": "..., kine synced",
         "neap": "neap server"}
# What a row shows, where it is found, how it is printed, and whether less is better.
ROWS = [("writes at 500/s: p50 ms", "paced", "p50_ms", ".1f", True),
        ("                 p99 ms", "paced", "p99_ms", ".1f", True),
        ("                 errors", "paced", "errors", ".0f", None),
        ("                 server CPU ms a write", "paced", "cpu_ms", ".2f", True),
        ("writes, as fast as it goes: a second", "peak", "writes_per_second", ".0f", False),
        ("                 p50 ms", "peak", "p50_ms", ".1f", True),
        ("                 p99 ms", "peak", "p99_ms", ".1f", True),
        ("                 errors", "peak", "errors", ".0f", None),
        ("100 watchers, 100 events/s: delivered", "watch", "delivered", ".1%", None),
        ("                 lag p50 ms", "watch", "p50_ms", ".1f", True),
        ("                 lag p99 ms", "watch", "p99_ms", ".1f", True),
        ("                 server CPU s of 6", "watch", "cpu_s", ".2f", True),
        ("list in pages of 500: s", "list", "served_seconds", ".2f", True),
        ("                 a page p99 ms", "list", "p99_ms", ".1f", True),
        ("                 server CPU s", "list", "cpu_s", ".2f", True),
        ("memory idle, no objects: MB", "memory", "idle", ".0f", True),
        ("memory after all that: MB", "memory", "after", ".0f", True),
        ("start-up with the objects: s", "start", "again_seconds", ".2f", True),
        ("memory then: MB", "memory", "again", ".0f", True)]


def wait_until_ready(system, name):
    start = time.monotonic()
    system.start()
    system.processes.wait_for(name, system.is_ready, pause=0.01)
    return time.monotonic() - start


def measure(system, name, arguments):
    def load(command, *options):
        before = system.processes.cpu()
        done = subprocess.run([str(arguments.build / "bench/api_load"), command, "--url", system.url, "--ca",
                               str(system.ca), "--token", str(system.token), *map(str, options)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"api_table: {command} on {name} failed: {done.stderr}")
        sys.stderr.write(done.stderr)
        result = json.loads(done.stdout)
        result["cpu_s"] = system.processes.cpu() - before
        if "writes" in result:
            result["cpu_ms"] = result["cpu_s"] * 1000 / result["writes"]
        return result

    out = {"start": {"first_seconds": wait_until_ready(system, name)}}
    # What the processes do of their own after they answer is no part of the figures.
    time.sleep(4)
    out["memory"] = {"idle": system.processes.resident_mb()}
    paced = PACE * arguments.paced_seconds
    out["paced"] = load("write", "--count", paced, "--pace", PACE)
    out["peak"] = load("write", "--count", max(1000, arguments.objects - paced), "--from", paced)
    out["watch"] = load("watch", "--pace", 100, "--seconds", 6)
    # Each is over in a moment, which on a shared machine may be a bad one.
    lists = sorted((load("list", "--limit", 500) for _ in range(5)), key=lambda one: one["served_seconds"])
    out["list"] = lists[len(lists) // 2]
    out["memory"]["after"] = system.processes.resident_mb()
    system.processes.kill()
    out["start"]["again_seconds"] = wait_until_ready(system, name)
    time.sleep(2)
    out["memory"]["again"] = system.processes.resident_mb()
    return out


def run(name, arguments):
    print(f"api_table: {NAMES[name]}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix=f"{name}-") as directory:
        system = (Neap(directory, arguments.build) if name == "neap"
                  else Kubernetes(directory, arguments.peers, name))
        try:
            return measure(system, name, arguments)
        finally:
            system.processes.kill()


def print_table(results):
    peers = [name for name in results if name != "neap"]
    print(f"{'':<40}" + "".join(f"{NAMES[name]:>24}" for name in results)
          + "".join(f"{'neap to ' + name:>20}" for name in peers if "neap" in results))
    for title, part, key, form, less_is_better in ROWS:
        line = f"{title:<40}" + "".join(f"{format(results[name][part][key], form):>24}" for name in results)
        if "neap" in results and less_is_better is not None:
            own = results["neap"][part][key]
            for name in peers:
                peer = results[name][part][key]
                times = peer / own if less_is_better and own else own / peer if peer else 0
                line += f"{times:>18.1f}x "
        print(line)
    print("objects: " + ", ".join(f"{NAMES[name]} {results[name]['list']['objects']}" for name in results)
          + "; a ratio above 1 is Neap's favour")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE / "build/release")
    parser.add_argument("--peers", type=pathlib.Path, default=HERE / "build/deps")
    parser.add_argument("--systems", default="etcd,kine,neap")
    parser.add_argument("--objects", type=int, default=10000)
    parser.add_argument("--paced-seconds", type=int, default=8)
    parser.add_argument("--scratch", default=None, help="a directory on the disk that is meant; else the system's")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    # Ended from outside, it ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    systems = arguments.systems.split(",")
    if unknown := [name for name in systems if name not in NAMES]:
        parser.error(f"there is no system {unknown[0]!r}; there are {', '.join(NAMES)}")
    programs = {"etcd": ["etcd/etcd", "kubernetes/kubernetes"], "kine": ["kine/kine", "kubernetes/kubernetes"]}
    for name in list(systems):
        if all((arguments.peers / p).exists() for p in programs.get(name.removesuffix("-synced"), [])):
            continue
        print(f"api_table: {NAMES[name]} is left out, it is not built; run tools/bootstrap_throughput_peers.sh",
              file=sys.stderr)
        systems.remove(name)
    results = {name: run(name, arguments) for name in systems}
    print(json.dumps(results)) if arguments.json else print_table(results)


if __name__ == "__main__":
    main()
