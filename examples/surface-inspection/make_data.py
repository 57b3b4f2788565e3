#!/usr/bin/python3
"""Writes the raw dataset of one factory: pictures of surfaces and what inspectors noted about them.

The pictures are Fashion-MNIST's (Debian package dataset-fashion-mnist), which stand in for camera pictures.
Everything about people is invented from the seed: the identifiers have valid shapes and checksums, so that a
detector must really find them, but belong to nobody known to us; e-mail uses the reserved domain example.com.

DIR/records.jsonl    one record a line, UTF-8
DIR/images.bin       784 bytes (28 x 28, one byte a pixel) per record; record i has image_index i
DIR/identifiers.txt  every identifier that occurs in the records, one a line: stays at the factory, for the leak check
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import random
import struct
import sys
from pathlib import Path

IMAGE_BYTES = 28 * 28
L1_SHARE = 0.02
INSPECTORS = 240

# GB/T 2260 codes of districts that exist, so that region checks pass.
REGIONS = (
    "110101 110105 110108 120101 130102 210102 220102 230102 310101 310104 310115 320102 320505 330102 330106 "
    "340102 350102 360102 370102 370202 410102 420102 430102 440103 440106 440305 450102 500103 510104 610102"
).split()
# Issuer prefix and card length of UnionPay debit and credit cards.
CARD_PREFIXES = (("622202", 19), ("622848", 19), ("621700", 19), ("621661", 19), ("622588", 16), ("622155", 16))
MOBILE_SEGMENTS = "130 131 135 136 137 138 139 150 151 155 158 159 176 177 180 181 185 186 187 188 189 198 199".split()

SURNAMES = (
    "王 Wang,李 Li,张 Zhang,刘 Liu,陈 Chen,杨 Yang,赵 Zhao,黄 Huang,周 Zhou,吴 Wu,徐 Xu,孙 Sun,胡 Hu,朱 Zhu,"
    "高 Gao,林 Lin,何 He,郭 Guo,马 Ma,罗 Luo,梁 Liang,宋 Song,郑 Zheng,谢 Xie,韩 Han,唐 Tang,冯 Feng,董 Dong"
)
# Two characters each, none of them a word of the notes below: a name in masked text is then a leak, not a chance.
GIVEN_NAMES = (
    "建国 Jianguo,秀英 Xiuying,志强 Zhiqiang,桂兰 Guilan,文博 Wenbo,雨桐 Yutong,浩然 Haoran,梓涵 Zihan,"
    "俊杰 Junjie,思远 Siyuan,晓燕 Xiaoyan,国栋 Guodong,佳怡 Jiayi,子轩 Zixuan,美玲 Meiling,永康 Yongkang,"
    "丽娟 Lijuan,海涛 Haitao,欣妍 Xinyan,振华 Zhenhua,淑芬 Shufen,宇航 Yuhang,静怡 Jingyi,立新 Lixin"
)

# Which identifiers a note holds is part of the template; {name} is written in the script of the template.
NOTES_CHINESE = (
    "检验员{name}复检：边缘有划痕，联系电话{mobile}。",
    "表面轻微凹陷，已由{name}确认，身份证号{resident_id}，请勿外传。",
    "客户{name}要求退款至银行卡{card}，产品批次{batch}。",
    "光照不足，重拍一次。联系人：{name}，邮箱{email}，手机{mobile}。",
    "第{batch}批抽检合格，检验员：{name}，证件{resident_id}，回访{mobile}。",
    "无异常，批次{batch}。",
)
NOTES_ENGLISH = (
    "Inspector {name} found a scratch near the seam; call {mobile}.",
    "Slight dent, confirmed by {name} (ID {resident_id}); do not share.",
    "Customer {name} asks for a refund to card {card_spaced}, lot {batch}.",
    "Too dark, picture taken again. Contact: {name} <{email}>, mobile +86 {mobile}.",
    "Lot {batch} passed sampling; inspector {name}, e-mail {email}, card {card}.",
    "No finding, lot {batch}.",
)


def pairs(text: str) -> list[list[str]]:
    return [item.split() for item in text.split(",")]


def resident_id(rng: random.Random) -> str:
    """18 characters as in GB 11643: region, birth date, sequence, ISO 7064 MOD 11-2 check character."""
    born = datetime.date(1960, 1, 1) + datetime.timedelta(days=rng.randrange(16_000))
    body = f"{rng.choice(REGIONS)}{born:%Y%m%d}{rng.randrange(1, 1000):03d}"
    remainder = 0
    for digit in body:
        remainder = (remainder + int(digit)) * 2 % 11
    return body + "0123456789X"[(12 - remainder) % 11]


def bank_card(rng: random.Random) -> str:
    """A UnionPay number with a valid Luhn digit."""
    prefix, length = rng.choice(CARD_PREFIXES)
    body = prefix + str(rng.randrange(10 ** (length - 7))).zfill(length - 7)
    total = 0
    for position, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


class Person:
    """One invented person with every kind of identifier."""

    __slots__ = ("chinese", "english", "mobile", "resident_id", "card", "email")

    def __init__(self, rng: random.Random, site: str, surnames: list[list[str]], given_names: list[list[str]]) -> None:
        surname, given = rng.choice(surnames), rng.choice(given_names)
        self.chinese = surname[0] + given[0]
        self.english = f"{given[1]} {surname[1]}"
        self.mobile = rng.choice(MOBILE_SEGMENTS) + f"{rng.randrange(10**8):08d}"
        self.resident_id = resident_id(rng)
        self.card = bank_card(rng)
        self.email = f"{given[1].lower()}.{surname[1].lower()}{rng.randrange(10_000):04d}@{site}.example.com"


def note(rng: random.Random, person: Person, identifiers: set[str]) -> str:
    """Fills one template and remembers which identifiers the text now holds."""
    chinese = rng.random() < 0.5
    template = rng.choice(NOTES_CHINESE if chinese else NOTES_ENGLISH)
    card = person.card
    values = {
        "name": person.chinese if chinese else person.english,
        "mobile": person.mobile,
        "resident_id": person.resident_id,
        "card": card,
        "card_spaced": " ".join(card[start : start + 4] for start in range(0, len(card), 4)),
        "email": person.email,
    }
    for kind, value in values.items():
        if "{" + kind + "}" in template:
            identifiers.add(value)
    return template.format(batch=f"B{rng.randrange(10_000):04d}", **values)


def read_idx(path: Path, magic: int, header_bytes: int) -> bytes:
    """The payload of one file in the IDX format of MNIST."""
    try:
        with gzip.open(path) as file:
            content = file.read()
    except FileNotFoundError:
        sys.exit(f"make_data: {path} is missing; install the Debian package dataset-fashion-mnist")
    if struct.unpack_from(">I", content)[0] != magic:
        sys.exit(f"make_data: {path} is not the expected IDX file; reinstall the Debian package dataset-fashion-mnist")
    return content[header_bytes:]


def source_pictures(source: Path, part: int, parts: int) -> list[tuple[str, int, bytes]]:
    """This factory's share as (split, label, pixels): every parts-th picture of both splits."""
    chosen = []
    for split, prefix in (("train", "train"), ("test", "t10k")):
        pixels = memoryview(read_idx(source / f"{prefix}-images-idx3-ubyte.gz", 2051, 16))
        labels = read_idx(source / f"{prefix}-labels-idx1-ubyte.gz", 2049, 8)
        for index in range(part, len(labels), parts):
            chosen.append((split, labels[index], bytes(pixels[index * IMAGE_BYTES : (index + 1) * IMAGE_BYTES])))
    return chosen


def write_dataset(out: Path, site: str, part: int, parts: int, seed: int, limit: int | None, source: Path) -> int:
    """Writes the three files and returns the number of records. Same arguments, same bytes."""
    rng = random.Random(f"{seed}/{site}/{part}/{parts}")
    surnames, given_names = pairs(SURNAMES), pairs(GIVEN_NAMES)
    pictures = source_pictures(source, part, parts)
    rng.shuffle(pictures)
    pictures = pictures[:limit]
    inspectors = [Person(rng, site, surnames, given_names) for _ in range(INSPECTORS)]
    identifiers: set[str] = set()
    lines = []
    for index, (split, label, _) in enumerate(pictures):
        inspector = rng.choice(inspectors)
        identifiers.update((inspector.chinese, inspector.mobile, inspector.resident_id, inspector.email))
        record = {
            "id": f"{site}-{index:07d}",
            "level": "L1" if rng.random() < L1_SHARE else "L2",
            "split": split,
            "label": label,
            "image_index": index,
            "inspector_name": inspector.chinese,
            "inspector_mobile": inspector.mobile,
            "inspector_id": inspector.resident_id,
            "inspector_email": inspector.email,
            "note": note(rng, Person(rng, site, surnames, given_names), identifiers),
        }
        lines.append(json.dumps(record, ensure_ascii=False))
    out.mkdir(parents=True, exist_ok=True)
    (out / "images.bin").write_bytes(b"".join(pixels for _, _, pixels in pictures))
    (out / "records.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "identifiers.txt").write_text("\n".join(sorted(identifiers)) + "\n", encoding="utf-8")
    return len(lines)


def parse_part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 0/2 (part/parts, counted from 0)")
    return int(part), int(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the raw L2 dataset of one factory.")
    parser.add_argument("--out", type=Path, required=True, help="directory to write")
    parser.add_argument("--site", default="factory-01", help="name of the factory, part of every record's id")
    parser.add_argument("--part", type=parse_part, default=(0, 1), help="which share of the pictures, e.g. 0/2")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="at most this many records")
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    arguments = parser.parse_args()
    part, parts = arguments.part
    count = write_dataset(arguments.out, arguments.site, part, parts, arguments.seed, arguments.limit, arguments.source)
    print(f"{count} records in {arguments.out}")


if __name__ == "__main__":
    main()
