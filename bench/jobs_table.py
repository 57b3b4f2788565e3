#!/usr/bin/env python3
"""Completion times and cloud bills on the Muri traces beside the published figures.

    NEAP_DATA=FOLDER bench/jobs_table.py build/release/neap

Reads FOLDER/muri-philly and prints the tables of docs/reference/decisions.md, sections "Job completion time"
and "Burst and drift".
"""
import csv
import json
import os
import subprocess
import sys
import time

TRACES = ["trace1", "trace1_pr", "trace3", "trace3_pr"]
# Class, options of ours, the published policies it is held against.
CLASSES = [
    ("SRTF", ["--policy", "srtf"], ["SRTF"]),
    ("SRSF", ["--policy", "srsf"], ["SRSF"]),
    ("known", ["--policy", "neap", "--class", "known"], ["SRSF"]),
    ("blind", ["--policy", "neap", "--class", "blind"], ["Themis", "Tiresias"]),
    ("sharing, durations known", ["--policy", "neap", "--class", "sharing"], ["Muri-S"]),
    ("sharing, durations unknown", ["--policy", "neap", "--class", "sharing", "--durations", "unknown"], ["Muri-L"]),
    ("Muri-L, its rule again", ["--policy", "muri-l"], ["Muri-L"]),
]


def run(neap, words):
    begin = time.monotonic()
    out = subprocess.run([neap, "simulate", *words, "--json"], check=True, capture_output=True, text=True).stdout
    return json.loads(out), time.monotonic() - begin


def jobs_table(neap, folder):
    with open(os.path.join(folder, "expected_simulator_results.csv"), encoding="utf-8") as file:
        published = {(row["policy"], row["metric"]): row for row in csv.DictReader(file)}
    print("| class | trace | average JCT s | published | ratio | p99 s | makespan s | without overhead s | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, words, rivals in CLASSES:
        for trace in TRACES:
            path = os.path.join(folder, trace + ".csv")
            ours, seconds = run(neap, ["jobs", "--trace", path, "--gpus", "64", *words])
            bare, _ = run(neap, ["jobs", "--trace", path, "--gpus", "64", *words, "--without-event-overhead"])
            rival = min(rivals, key=lambda policy: float(published[policy, "avg_jct_s"][trace]))
            best = float(published[rival, "avg_jct_s"][trace])
            print(f"| {name} | {trace} | {ours['jct_average_s']:,.0f} | {rival} {best:,.0f} | "
                  f"{ours['jct_average_s'] / best:.3f} | {ours['jct_p99_s']:,.0f} | {ours['makespan_s']:,.0f} | "
                  f"{bare['jct_average_s']:,.0f} | {seconds:.1f} |", flush=True)


def burst_table(neap, folder):
    print("| trace, capacity | zero-wait GPU-h | drift | Starburst | neap | moves of neap |")
    print("|---|---|---|---|---|---|")
    for trace in ("trace1", "trace3"):
        for ratio in ("0.6", "0.8", "1.0", "1.2"):
            words = ["burst", "--trace", os.path.join(folder, trace + ".csv"), "--capacity-ratio", ratio]
            base, _ = run(neap, [*words, "--policy", "zero-wait"])
            cells = []
            for policy in ("drift", "starburst", "neap"):
                answer, _ = run(neap, [*words, "--policy", policy])
                bill = 100 * (answer["cloud_bill"] / base["cloud_bill"] - 1)
                wait = 100 * (answer["jct_average_s"] / base["jct_average_s"] - 1)
                cells.append(f"{bill:+.1f} % ({wait:+.2f})")
            print(f"| {trace}, {ratio} | {base['cloud_bill']:,.0f} | {' | '.join(cells)} | {answer['moves']} |",
                  flush=True)


def main():
    if len(sys.argv) != 2 or "NEAP_DATA" not in os.environ:
        sys.exit(__doc__)
    folder = os.path.join(os.environ["NEAP_DATA"], "muri-philly")
    if not os.path.isdir(folder):
        sys.exit(f"{folder} is not there; NEAP_DATA must name the folder that holds muri-philly")
    jobs_table(sys.argv[1], folder)
    print()
    burst_table(sys.argv[1], folder)


if __name__ == "__main__":
    main()
