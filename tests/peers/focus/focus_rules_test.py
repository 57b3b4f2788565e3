"""A month of usage passes every static MUST rule of FOCUS 1.2, its parts sum to the bill, and each fault is noticed.

Usage: focus_rules_test.py MONTH_PROGRAM, with NEAP_DATA naming the folder that holds focus/model-1.2.json.
"""
import csv
import io
import json
import os
import subprocess
import sys
from decimal import Decimal

import focus_rules

SKIPPED = 77


def spoil(text, column, value):
    rows = list(csv.reader(io.StringIO(text)))
    rows[3][rows[0].index(column)] = value
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def without(text, column):
    rows = list(csv.reader(io.StringIO(text)))
    at = rows[0].index(column)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(row[:at] + row[at + 1:] for row in rows)
    return out.getvalue()


def main():
    path = os.path.join(os.environ.get("NEAP_DATA", ""), "focus", "model-1.2.json")
    if not os.path.exists(path):
        print(f"skipped: {path} is not here; set NEAP_DATA to the folder of the public data sets")
        return SKIPPED
    with open(path, encoding="utf-8") as file:
        model = json.load(file)
    run = subprocess.run([sys.argv[1]], capture_output=True, text=True, check=True)
    failed, applied, others = focus_rules.check(model, run.stdout)
    for name, sentence in failed:
        print(f"FAILED {name}: {sentence}")
    billed = sum(Decimal(row["BilledCost"]) for row in csv.DictReader(io.StringIO(run.stdout)))
    total = Decimal(run.stderr.strip()) / 1_000_000
    print(f"{applied} rules applied, {len(failed)} failed, {others} do not apply; billed {billed} of {total}")
    unnoticed = [
        what
        for what, text in {
            "no provider": spoil(run.stdout, "ProviderName", ""),
            "no column for the currency": without(run.stdout, "BillingCurrency"),
            "a list cost that is not price times quantity": spoil(run.stdout, "ListCost", "1.5"),
            "a date without a zone": spoil(run.stdout, "ChargePeriodStart", "2026-02-01 00:00:00"),
            "an unknown charge category": spoil(run.stdout, "ChargeCategory", "Fee"),
            "tags that are no object": spoil(run.stdout, "Tags", "[1]"),
        }.items()
        if not focus_rules.check(model, text)[0]
    ]
    for what in unnoticed:
        print(f"FAILED the rules do not notice {what}")
    return 1 if failed or unnoticed or billed != total or applied < 150 else 0


if __name__ == "__main__":
    sys.exit(main())
