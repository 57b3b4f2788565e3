#!/usr/bin/env python3
"""Placement quality on openb lists through `neap simulate placement`, beside the published means.

Usage: bench/placement_table.py --neap build/release/neap --data DIR [--seeds 42-51] [--lists default,cpu100]
       [--quick]
DIR holds openb_node_list_gpu_node.csv, openb_pod_list_*.csv and expected/analysis_allo_discrete.csv. Every
list x seed x row is one run of the program. Differences are to the published mean of FGD on the same list, with
the standard error of the difference of two means.
"""
import argparse
import csv
import json
import math
import os
import statistics
import subprocess
import sys
import time

ROWS = [
    ("BestFit", ["--policy", "bestfit", "--class", "online"], "05-BestFit"),
    ("FGD", ["--policy", "fgd", "--class", "online"], "06-FGD"),
    ("neap online", ["--class", "online"], None),
    ("neap batched, all", ["--class", "batched"], None),
    ("neap batched, 1000", ["--class", "batched", "--window", "1000"], None),
    ("neap repacked, moves only", ["--class", "repacked", "--moves-only"], None),
    ("neap repacked", ["--class", "repacked"], None),
]


def read_published(path):
    """{(list, policy): {load: [percent of each seed]}} of the two loads reported."""
    found = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            name = row["workload"].removeprefix("openb_pod_list_")
            loads = found.setdefault((name, row["sc_policy"]), {"100": [], "130": []})
            for load, values in loads.items():
                values.append(float(row[load]))
    return found


def error_of(*samples):
    return math.sqrt(sum(statistics.variance(s) / len(s) for s in samples if len(s) > 1))


def run(neap, nodes, pods, seed, words):
    command = [neap, "simulate", "placement", "--format", "openb", "--nodes", nodes, "--pods", pods, "--ratio",
               "1.3", "--seed", str(seed), "--json", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neap", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", default="42-51")
    parser.add_argument("--lists", default="")
    parser.add_argument("--quick", action="store_true", help="two seeds, no published yardsticks")
    words = parser.parse_args()
    first, last = (int(n) for n in words.seeds.split("-"))
    seeds = range(first, first + 2 if words.quick else last + 1)
    names = words.lists.split(",") if words.lists else sorted(
        f.removeprefix("openb_pod_list_").removesuffix(".csv")
        for f in os.listdir(words.data) if f.startswith("openb_pod_list_"))
    published = read_published(os.path.join(words.data, "expected", "analysis_allo_discrete.csv"))
    nodes = os.path.join(words.data, "openb_node_list_gpu_node.csv")
    start = time.monotonic()
    runs = 0
    print("| list | rule | at 100 % | at 130 % | sd | FGD published | difference | placed | moved | set back | s a run | arrivals/s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        pods = os.path.join(words.data, f"openb_pod_list_{name}.csv")
        fgd = published.get((name, "06-FGD"))
        for row, extra, yardstick in ROWS[2:] if words.quick else ROWS:
            answers = [run(words.neap, nodes, pods, seed, extra) for seed in seeds]
            runs += len(answers)
            at100, at130 = ([a["alloc_percent"][load] for a in answers] for load in ("100", "130"))
            seconds = statistics.mean(a["seconds"] for a in answers)
            difference = "-" if not fgd else (
                f"{statistics.mean(at130) - statistics.mean(fgd['130']):+.2f} +- {error_of(at130, fgd['130']):.2f}")
            theirs = published.get((name, yardstick)) if yardstick else fgd
            note = "-" if not theirs else (
                f"{statistics.mean(theirs['100']):.2f} / {statistics.mean(theirs['130']):.2f}"
                + (" (BestFit)" if yardstick == "05-BestFit" else ""))
            mean = lambda key: round(statistics.mean(a[key] for a in answers))
            print(f"| {name} | {row} | {statistics.mean(at100):.2f} | {statistics.mean(at130):.2f} "
                  f"| {statistics.stdev(at130) if len(at130) > 1 else 0:.2f} | {note} | {difference} "
                  f"| {mean('placed')} | {mean('moves') - mean('set_back')} | {mean('set_back')} "
                  f"| {seconds:.3f} | {mean('arrived') / seconds:,.0f} |", flush=True)
    print(f"\n{runs} runs in {time.monotonic() - start:.0f} s, reading the files included")


if __name__ == "__main__":
    main()
