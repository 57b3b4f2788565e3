"""The generated raw data: valid checksums, no identifier outside the list, same seed same bytes."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import tempfile
import unittest
from collections import Counter
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "surface-inspection"
SOURCE = Path("/usr/share/datasets/fashion-mnist")

spec = importlib.util.spec_from_file_location("make_data", EXAMPLE / "make_data.py")
assert spec is not None and spec.loader is not None
make_data = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_data)


def luhn_holds(number: str) -> bool:
    digits = [int(digit) for digit in number]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def mod_11_2_holds(number: str) -> bool:
    # The weighted-sum form of ISO 7064, independent of the generator's recursive one.
    values = [10 if digit == "X" else int(digit) for digit in number]
    return sum(value * pow(2, 17 - position, 11) for position, value in enumerate(values)) % 11 == 1


class IdentifierTest(unittest.TestCase):
    def test_known_numbers_pass_the_independent_checks(self) -> None:
        # 4111... is the usual test card; the resident ID is the worked example of GB 11643.
        self.assertTrue(luhn_holds("4111111111111111"))
        self.assertTrue(mod_11_2_holds("11010519491231002X"))
        self.assertFalse(mod_11_2_holds("110105194912310021"))

    def test_generated_numbers_have_valid_checksums(self) -> None:
        rng = random.Random(5)
        for _ in range(2000):
            card, resident = make_data.bank_card(rng), make_data.resident_id(rng)
            self.assertTrue(luhn_holds(card) and card.startswith("62") and len(card) in (16, 19), card)
            self.assertTrue(mod_11_2_holds(resident) and re.fullmatch(r"\d{17}[\dX]", resident), resident)


@unittest.skipUnless(SOURCE.is_dir(), "Debian package dataset-fashion-mnist is not installed")
class DatasetTest(unittest.TestCase):
    root: Path
    records: list[dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.root = Path(directory.name)
        for name, part in (("first", 0), ("again", 0), ("second", 1)):
            site = f"factory-0{part + 1}"
            make_data.write_dataset(cls.root / name, site, part, 2, 1, 4000, SOURCE)
        cls.records = [json.loads(line) for line in (cls.root / "first/records.jsonl").read_text("utf-8").splitlines()]

    def test_the_same_seed_gives_the_same_bytes(self) -> None:
        for name in ("records.jsonl", "images.bin", "identifiers.txt"):
            self.assertEqual((self.root / "first" / name).read_bytes(), (self.root / "again" / name).read_bytes())

    def test_records_and_pictures_belong_together(self) -> None:
        self.assertEqual((self.root / "first/images.bin").stat().st_size, 784 * len(self.records))
        self.assertEqual([record["image_index"] for record in self.records], list(range(4000)))
        self.assertEqual(len({record["id"] for record in self.records}), 4000)

    def test_both_splits_all_labels_and_two_levels_occur(self) -> None:
        splits = Counter(record["split"] for record in self.records)
        levels = Counter(record["level"] for record in self.records)
        self.assertEqual({record["label"] for record in self.records}, set(range(10)))
        self.assertTrue(350 < splits["test"] < 800, splits)
        self.assertTrue(40 < levels["L1"] < 130, levels)

    def test_every_number_and_address_of_a_record_is_listed(self) -> None:
        listed = set((self.root / "first/identifiers.txt").read_text("utf-8").splitlines())
        shape = re.compile(r"(?<![\dX])(?:\d{4} ){3,4}\d{3,4}|\d{17}X|\d{11,19}|[a-z.]+\d{4}@[a-z0-9.-]+\.com")
        for record in self.records:
            for found in shape.findall(record["note"]) + [record["inspector_mobile"], record["inspector_id"]]:
                self.assertTrue(found in listed, found)
            self.assertTrue(record["inspector_name"] in listed, record)

    def test_templates_without_their_values_hold_no_identifier(self) -> None:
        listed = (self.root / "first/identifiers.txt").read_text("utf-8").splitlines()
        templates = "\n".join(make_data.NOTES_CHINESE + make_data.NOTES_ENGLISH)
        self.assertEqual([item for item in listed if item in templates], [])

    def test_factories_have_different_pictures_and_people(self) -> None:
        def numbers(name: str) -> set[str]:
            return {
                line
                for line in (self.root / name / "identifiers.txt").read_text("utf-8").splitlines()
                if line[-1] in "0123456789X"
            }

        self.assertFalse(numbers("first") & numbers("second"))
        self.assertNotEqual(
            (self.root / "first/images.bin").read_bytes()[:78400],
            (self.root / "second/images.bin").read_bytes()[:78400],
        )


if __name__ == "__main__":
    unittest.main()
