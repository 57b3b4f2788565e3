#!/usr/bin/env python3
"""The rules of style that a machine can hold; each names the replacement.

Exit status 1 with one line per violation.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# (pattern, replacement, folders where it is allowed)
BANNED = [
    (r"system_clock::now|steady_clock::now", "ask Runtime::clock() or Executor::now()", ("src/io/", "app/", "bench/")),
    (r"std::random_device|\brand\(\)", "use Runtime::random()", ("src/io/", "app/", "bench/")),
    (r"\bgetenv\(", "pass the value in Options; only app/ reads the environment", ("src/io/", "app/", "bench/")),
    (r"std::thread\b|std::jthread\b|std::async\b", "use Runtime::offload or TaskGroup", ("src/io/", "app/", "bench/")),
    (r"std::this_thread::sleep|\bsleep\(\d|usleep\(", "co_await sleep_for(executor, ctx, duration)", ("src/io/", "app/", "bench/")),
    (r"::socket\(|::connect\(", "use Runtime::network()", ("src/io/", "app/", "bench/")),
    (r"\bstd::system\(|\bpopen\(", "start an argument vector through Runtime::subprocesses()", ()),
]
NAMES = re.compile(r"\bclass\s+\w*(Manager|Helper|Util|Processor)\b")
LINES_MAX = 700


def tracked() -> list[pathlib.Path]:
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in out.stdout.splitlines() if (ROOT / line).is_file()]


def main() -> int:
    problems = []
    for path in tracked():
        relative = str(path.relative_to(ROOT))
        if path.suffix not in {".h", ".cc"}:
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        is_test = "/tests/" in relative or relative.startswith("tests/") or "/fakes/" in relative
        if len(lines) > LINES_MAX and not is_test:
            problems.append(f"{relative}: {len(lines)} lines; split it by role (limit {LINES_MAX})")
        if path.suffix == ".h" and "#pragma once" not in text:
            problems.append(f"{relative}: no #pragma once")
        for number, line in enumerate(lines, 1):
            code = line.split("//", 1)[0]
            if NAMES.search(code):
                problems.append(f"{relative}:{number}: name the class after its role (Table, Planner, Controller, Driver, Client, Codec)")
            if is_test:
                continue
            for pattern, instead, allowed in BANNED:
                if re.search(pattern, code) and not relative.startswith(allowed if allowed else ("\0",)):
                    problems.append(f"{relative}:{number}: {instead}")
    print("\n".join(problems) if problems else "tidy: no violation")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
