#!/usr/bin/env python3
"""Holds the module edges against CMake and against every #include.

The table below is ARCHITECTURE.md's. A module may include its own headers, base, and what its row names.
Exit status 1 with one line per violation.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

EDGES = {
    "base": "",
    "crypto": "base",
    "io": "base",
    "telemetry": "base io",
    "api": "base",
    "ledger": "base crypto io",
    "store": "base io telemetry",
    "policy": "base api",
    "dataguard": "base api crypto",
    "finops": "base api",
    "scheduler": "base api policy finops dataguard",
    "simulation": "base api policy finops dataguard scheduler",
    "auth": "base api crypto",
    "client": "base api io telemetry",
    "artifacts": "base api io crypto auth telemetry",
    "transfer": "base api io crypto artifacts dataguard ledger telemetry",
    "inference/api": "base api",
    "inference": "base api io artifacts telemetry inference/api",
    "gateway": "base api io client auth policy dataguard finops ledger telemetry inference/api",
    "executor": "base api io telemetry",
    "providers/api": "base api io",
    "providers/agent": "base api io providers/api client telemetry",
    "apiserver": "base api io crypto store auth client ledger telemetry",
    "controllers": "base api io client crypto scheduler policy finops dataguard providers/api artifacts transfer ledger telemetry",
    "agent": "base api io client store crypto auth policy dataguard artifacts transfer inference inference/api gateway executor ledger telemetry",
    "cli": "base api io client policy scheduler finops simulation",
}
# Headers that no public header of ours may show: adapters hide them in .cc files.
HIDDEN = re.compile(r"#include\s*[<\"](boost/asio|boost/beast|openssl/|sqlite3|grpc|google/protobuf|gtest|gmock|onnxruntime)")
INCLUDE = re.compile(r'#include\s*"neap/([a-z_/]+)/[a-z0-9_]+\.h"')
DEPENDS = re.compile(r"neap_module\(\s*([a-z_/]+).*?\)", re.S)


def module_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT / "src").parts
    two = "/".join(parts[:2])
    return two if two in EDGES else parts[0]


def main() -> int:
    problems = []
    allowed = {name: set(row.split()) | {name} for name, row in EDGES.items()}
    for path in sorted((ROOT / "src").rglob("*")):
        if path.suffix not in {".h", ".cc"}:
            continue
        relative = path.relative_to(ROOT)
        module = module_of(path)
        if module not in allowed:
            problems.append(f"{relative}: module {module} is not in the table of tools/check_edges.py")
            continue
        is_test = "tests" in path.parts
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if found := INCLUDE.search(line):
                target = found.group(1)
                if target not in allowed[module] and not is_test:
                    problems.append(f"{relative}:{number}: {module} may not include {target}; allowed: {EDGES[module] or 'nothing'}")
            # A conformance suite is a test that other modules instantiate: it shows GoogleTest by design.
            is_suite = path.name.endswith("_conformance.h") and "fakes" in path.parts
            if path.suffix == ".h" and "include" in path.parts and not is_suite and HIDDEN.search(line):
                problems.append(f"{relative}:{number}: a public header shows a third-party header; hide it in the .cc file")
    for cmake in sorted((ROOT / "src").rglob("CMakeLists.txt")):
        for call in DEPENDS.finditer(cmake.read_text(encoding="utf-8")):
            body = call.group(0)
            if "DEPENDS" not in body:
                continue
            names = re.split(r"\s+", body.split("DEPENDS", 1)[1].split("LIBS", 1)[0].strip(" )\n"))
            for name in filter(None, names):
                if name not in allowed.get(call.group(1), set()):
                    problems.append(f"{cmake.relative_to(ROOT)}: {call.group(1)} may not depend on {name}")
    print("\n".join(problems) if problems else f"edges: {len(EDGES)} modules, no violation")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
