"""The main job end to end: every fact of the summary, and an independent search of what left the factories.

What dataguard's rule mask-identifiers-v1 promises, and so what is searched for: every mobile number, resident id, bank
card and e-mail address, wherever it stands; every name in a name field, behind a label word, or with a verb that says
who did something. The notes of the raw records announce all their names in one of these ways, so no identifier of any
kind may be found. (A name that nothing announces would not be found by the rule; see src/dataguard/README.md.)
"""

from __future__ import annotations

import csv
import json
import pathlib
import re
import subprocess
import sys
import unittest
from decimal import Decimal

from neap_process import PROGRAM, SOURCE, STORY

STORY_PROGRAM = SOURCE / "examples/surface-inspection/story.py"
# The fixed points of summary.json: field to type; bool is not int here, and a number may be either int or float.
NUMBER = (int, float)
FIELDS = {
    "collect": dict.fromkeys(("records", "l1_kept_home", "records_masked", "identifiers_masked", "bytes_sent", "bytes_raw"), int),
    "train": {"site": str, "capacity_type": str, "ranks": int, "interruptions": int, "steps": int, "steps_repeated": int,
              "checkpoint_interval_steps": int, "resumed_on": str, "seconds": NUMBER},
    "model": {"digest": str, "signature_verified": bool, "accuracy_teacher": float, "accuracy_student": float,
              "accuracy_int8": float, "bytes_fp32": int, "bytes_int8": int},
    "serve": {"edges": int, "requests": int, "failed": int, "accuracy": float, "p50_ms": NUMBER, "p99_ms": NUMBER, "swap_requests": int,
              "swap_failed": int, "overflow_to": str, "overflow_requests": int, "offline_requests": int, "offline_failed": int,
              "restarted_agent_served_offline": bool},
    "cost": {"currency": str, "total_micros": int, "lines": list, "all_public_micros": int, "all_private_micros": int},
    "explain": {"chosen": str, "refused": dict},
    "audit": {"border_crossings": int, "refusals": int, "log_verified": bool},
}
LINE_FIELDS = {"project": str, "team": str, "model": str, "kind": str, "micros": int}


def setUpModule() -> None:
    """The story runs once; both classes read what it left."""
    STORY.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(STORY_PROGRAM), "--neap", str(PROGRAM), "--out", str(STORY), "--requests", "1500", "--browser"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=420, check=False)
    print(result.stdout, flush=True)
    if result.returncode != 0:
        raise AssertionError(f"the story failed: {result.stdout[-800:]}")


class StoryTest(unittest.TestCase):
    summary: dict

    @classmethod
    def setUpClass(cls) -> None:
        cls.summary = json.loads((STORY / "summary.json").read_text())

    def check_fields(self, where: str, found: dict, fields: dict) -> None:
        for name, kind in fields.items():
            self.assertIn(name, found, where)
            value = found[name]
            self.assertIsInstance(value, kind, f"{where}.{name}")
            if kind is not bool:
                self.assertNotIsInstance(value, bool, f"{where}.{name}")

    def test_the_summary_has_every_field_with_its_type(self) -> None:
        for section, fields in FIELDS.items():
            self.assertIn(section, self.summary)
            self.check_fields(section, self.summary[section], fields)
        self.check_fields("summary", self.summary, {"seconds": NUMBER})
        for line in self.summary["cost"]["lines"]:
            self.check_fields("cost.lines", line, LINE_FIELDS)
        for site, reason in self.summary["explain"]["refused"].items():
            self.assertIsInstance(site, str)
            self.assertIsInstance(reason, str)

    def test_collect(self) -> None:
        c = self.summary["collect"]
        self.assertEqual(c["records"], 70_000)
        self.assertGreater(c["l1_kept_home"], 0)
        self.assertEqual(c["records_masked"] + c["l1_kept_home"], c["records"])
        self.assertGreater(c["identifiers_masked"], 100_000)
        self.assertGreater(c["bytes_sent"], 1_000_000)
        self.assertLess(c["bytes_sent"], c["bytes_raw"])
        self.assertEqual(c["upload_cuts"], 1)

    def test_train(self) -> None:
        t = self.summary["train"]
        self.assertEqual((t["site"], t["capacity_type"], t["ranks"], t["interruptions"]), ("cloud-a", "spot", 2, 1))
        self.assertGreater(t["steps"], 0)
        self.assertGreaterEqual(t["steps_repeated"], 0)
        self.assertLessEqual(t["steps_repeated"], t["checkpoint_interval_steps"])
        self.assertIn(t["resumed_on"], ("hq", "cloud-a", "factory-01", "factory-02"))
        runs = t["runs"]
        self.assertEqual(len(runs), 2)
        self.assertEqual(runs[-1]["lastStep"], t["steps"])
        repeated = runs[0]["lastStep"] - runs[1]["firstStep"] + 1
        self.assertEqual(t["steps_repeated"], max(0, repeated), "the runs tell of other repeated steps than the summary")

    def test_model(self) -> None:
        m = self.summary["model"]
        self.assertRegex(m["digest"], r"^sha256:[0-9a-f]{64}$")
        self.assertIs(m["signature_verified"], True)
        for name in ("accuracy_teacher", "accuracy_student", "accuracy_int8"):
            self.assertGreater(m[name], 0.8, name)
            self.assertLessEqual(m[name], 1.0, name)
        self.assertLessEqual(m["accuracy_teacher"] - m["accuracy_int8"], 0.04)
        self.assertGreater(m["bytes_int8"], 1000)
        self.assertLess(m["bytes_int8"], m["bytes_fp32"] / 2)

    def test_serve(self) -> None:
        s = self.summary["serve"]
        self.assertEqual((s["edges"], s["requests"]), (2, 3000))
        self.assertEqual((s["failed"], s["swap_failed"], s["offline_failed"]), (0, 0, 0))
        self.assertGreater(s["accuracy"], 0.8)
        self.assertLess(0, s["p50_ms"])
        self.assertLessEqual(s["p50_ms"], s["p99_ms"])
        self.assertGreater(s["swap_requests"], 0)
        self.assertEqual(s["overflow_to"], "hq")
        self.assertGreater(s["overflow_requests"], 0)
        self.assertEqual(s["overflow_l2"].get("cloud-a", 0), 0, "an L2 request reached public capacity")
        self.assertGreater(s["offline_requests"], 0)
        self.assertIs(s["restarted_agent_served_offline"], True)
        self.assertEqual(s["needless_restarts"], 0)

    def test_cost(self) -> None:
        cost = self.summary["cost"]
        self.assertRegex(cost["currency"], r"^[A-Z]{3}$")
        self.assertEqual(sum(line["micros"] for line in cost["lines"]), cost["total_micros"])
        self.assertGreater(cost["total_micros"], 0)
        self.assertGreater(cost["all_public_micros"], 0)
        self.assertGreater(cost["all_private_micros"], 0)
        self.assertLessEqual({"compute", "egress"}, {line["kind"] for line in cost["lines"]})
        self.assertTrue(all(line["project"] and line["team"] and line["model"] for line in cost["lines"]), cost["lines"])

    def test_focus_export_holds_the_bill(self) -> None:
        with open(STORY / "focus.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        billed = sum(Decimal(row["BilledCost"]) for row in rows) * 1_000_000
        # What serves goes on while the two are asked for, one after the other.
        self.assertGreaterEqual(billed, self.summary["cost"]["total_micros"])
        self.assertEqual({row["SubAccountId"] for row in rows}, {line["project"] for line in self.summary["cost"]["lines"]})
        self.assertLessEqual({"Dynamic", "Standard"}, {row["PricingCategory"] for row in rows})

    def test_explain(self) -> None:
        e = self.summary["explain"]
        self.assertEqual(e["chosen"], "cloud-a")
        self.assertEqual(set(e["refused"]), {"hq", "factory-01", "factory-02"})
        for site, reason in e["refused"].items():
            self.assertRegex(reason, r"\d", f"the reason for {site} has no number")

    def test_audit(self) -> None:
        a = self.summary["audit"]
        self.assertIs(a["log_verified"], True)
        self.assertGreater(a["border_crossings"], 0)
        self.assertGreaterEqual(a["refusals"], 0)

    def test_nothing_was_left_running(self) -> None:
        needle = str(STORY / "state").encode()
        running = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if needle in words:
                running.append(words.replace(b"\0", b" ").decode(errors="replace"))
        self.assertEqual(running, [])


class LeakTest(unittest.TestCase):
    """Reads the export logs of the two factories: every byte that left, before compression and encryption."""

    def each_factory(self):
        found = 0
        for agent in sorted((STORY / "state" / "agents").glob("factory-*")):
            if not agent.is_dir():
                continue
            source = agent / "data" / "inspections"
            exports = [path for path in sorted((agent / "state" / "exports").glob("*.plain")) if path.stat().st_size]
            self.assertTrue(exports, f"{agent.name} sent nothing; there is nothing to search")
            found += 1
            yield agent.name, source, exports
        self.assertEqual(found, 2)

    @staticmethod
    def spellings(identifier: str) -> list[str]:
        """As it stands in the raw records: cards also in groups of four."""
        out = [identifier]
        if identifier.isdigit() and len(identifier) >= 16:
            out += [separator.join(identifier[i : i + 4] for i in range(0, len(identifier), 4)) for separator in (" ", "-")]
        return out

    def test_no_identifier_left_in_any_spelling(self) -> None:
        for site, source, exports in self.each_factory():
            wanted: dict[int, set[bytes]] = {}
            for line in (source / "identifiers.txt").read_text(encoding="utf-8").splitlines():
                for spelling in self.spellings(line):
                    raw = spelling.encode()
                    wanted.setdefault(len(raw), set()).add(raw)
            self.assertGreater(sum(map(len, wanted.values())), 10_000)
            # The control: the same search finds the identifiers in the raw records.
            self.assertTrue(self.search((source / "records.jsonl").read_bytes(), wanted))
            for path in exports:
                with self.subTest(f"{site} {path.name[:12]}"):
                    leaked = self.search(path.read_bytes(), wanted)
                    names = sum(1 for item in leaked if not re.search(rb"\d", item))
                    self.assertEqual(len(leaked), 0, f"{len(leaked)} identifiers left, {names} of them names, for example {sorted(leaked)[:3]}")

    @staticmethod
    def search(data: bytes, wanted: dict[int, set[bytes]]) -> set[bytes]:
        """Every wanted text in data. Looks only at places where the first three bytes of a wanted text stand."""
        by_start: dict[bytes, list[bytes]] = {}
        for items in wanted.values():
            for item in items:
                by_start.setdefault(item[:3], []).append(item)
        lengths = {start: sorted({len(item) for item in items}) for start, items in by_start.items()}
        found: set[bytes] = set()
        starts = re.compile(b"(?=(" + b"|".join(re.escape(start) for start in sorted(by_start)) + b"))")
        for match in starts.finditer(data):
            at = match.start()
            for length in lengths[match.group(1)]:
                piece = data[at : at + length]
                if piece in wanted[length]:
                    found.add(piece)
        return found

    def test_records_labelled_l1_did_not_leave(self) -> None:
        for site, source, exports in self.each_factory():
            kept = set()
            with open(source / "records.jsonl", encoding="utf-8") as file:
                for line in file:
                    record = json.loads(line)
                    if record["level"] == "L1":
                        kept.add((record["id"], record["image_index"]))
            self.assertTrue(kept)
            pictures = (source / "images.bin").read_bytes()
            blank = 784 * b"\0"
            kept_pictures = {pictures[index * 784 : (index + 1) * 784] for _, index in kept} - {blank}
            others = set()
            for path in exports:
                data = path.read_bytes()
                with self.subTest(f"{site} {path.name[:12]}"):
                    left = set(re.findall(rb'"id":"([^"]+)"', data))
                    self.assertFalse(left & {identity.encode() for identity, _ in kept}, "an L1 record left")
                    if not data.startswith(b"{"):
                        self.assertEqual(len(data) % 784, 0)
                        others = {data[i : i + 784] for i in range(0, len(data), 784)}
            self.assertTrue(others, "no file of pictures left; the comparison had nothing to compare")
            self.assertFalse(kept_pictures & others, "the picture of an L1 record left")


if __name__ == "__main__":
    unittest.main()
