#!/usr/bin/env python3
"""Writes src/apiserver/protobuf_messages.cc: the field numbers of the protobuf bodies the API server takes.

The numbers, JSON names and inlining come from the struct tags of k8s.io/api and k8s.io/apimachinery, found in the
module cache of a machine that built kubectl (tools/bootstrap_kubectl.sh). Run it when a kind is added or the
pinned version moves:  tools/generate_protobuf_table.py VERSION
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PLACES = {  # package as the sources name it -> file in the module cache
    "v1": "k8s.io/api@{v}/core/v1/types.go",
    "metav1": "k8s.io/apimachinery@{v}/pkg/apis/meta/v1/types.go",
    "apps": "k8s.io/api@{v}/apps/v1/types.go",
    "batch": "k8s.io/api@{v}/batch/v1/types.go",
    "rbac": "k8s.io/api@{v}/rbac/v1/types.go",
    "coordination": "k8s.io/api@{v}/coordination/v1/types.go",
    "authentication": "k8s.io/api@{v}/authentication/v1/types.go",
    "authorization": "k8s.io/api@{v}/authorization/v1/types.go",
    "autoscaling": "k8s.io/api@{v}/autoscaling/v1/types.go",
    "scheduling": "k8s.io/api@{v}/scheduling/v1/types.go",
}
DOCUMENTS = [  # package, kind, apiVersion
    ("v1", "Namespace", "v1"),
    ("v1", "ConfigMap", "v1"),
    ("v1", "Secret", "v1"),
    ("v1", "ServiceAccount", "v1"),
    ("v1", "Event", "v1"),
    ("v1", "ResourceQuota", "v1"),
    ("v1", "Service", "v1"),
    ("v1", "Pod", "v1"),
    ("apps", "Deployment", "apps/v1"),
    ("batch", "Job", "batch/v1"),
    ("batch", "CronJob", "batch/v1"),
    ("coordination", "Lease", "coordination.k8s.io/v1"),
    ("rbac", "Role", "rbac.authorization.k8s.io/v1"),
    ("rbac", "ClusterRole", "rbac.authorization.k8s.io/v1"),
    ("rbac", "RoleBinding", "rbac.authorization.k8s.io/v1"),
    ("rbac", "ClusterRoleBinding", "rbac.authorization.k8s.io/v1"),
    ("authorization", "SelfSubjectAccessReview", "authorization.k8s.io/v1"),
    ("authorization", "SubjectAccessReview", "authorization.k8s.io/v1"),
    ("authorization", "SelfSubjectRulesReview", "authorization.k8s.io/v1"),
    ("authentication", "SelfSubjectReview", "authentication.k8s.io/v1"),
    ("authentication", "TokenRequest", "authentication.k8s.io/v1"),
    ("authentication", "TokenReview", "authentication.k8s.io/v1"),
    ("autoscaling", "Scale", "autoscaling/v1"),
    ("scheduling", "PriorityClass", "scheduling.k8s.io/v1"),
    ("metav1", "DeleteOptions", ""),
]
LEAVES = {
    "string": "kText",
    "bool": "kBool",
    "int32": "kInteger",
    "int64": "kInteger",
    "byte": "kBytes",
    "types.UID": "kText",
    "metav1.Time": "kTime",
    "metav1.MicroTime": "kTime",
    "resource.Quantity": "kQuantity",
    "intstr.IntOrString": "kIntOrText",
    "metav1.Duration": None,
    "metav1.FieldsV1": None,
    "runtime.RawExtension": None,
}
# What only the server writes is not read from a client's body.
LEFT_OUT = {("ObjectMeta", "managedFields"), ("ObjectMeta", "selfLink")}
FIELD = re.compile(r'^\t(?:(\w+)\s+)?([\[\]*A-Za-z0-9_.]+)\s+`json:"([^"]*)"')
TAG = re.compile(r'protobuf:"([^"]*)"')


def read_structs(version):
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    structs, words = {}, {}
    for package, place in PLACES.items():
        text = pathlib.Path(cache, place.format(v=version)).read_text()
        for name, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S):
            structs[package, name] = [
                line for line in body.splitlines() if "`json:" in line and not line.strip().startswith("//")
            ]
        for name, base in re.findall(r"^type (\w+) (string|bool|int32|int64)$", text, re.M):
            words[package, name] = base
        for name, value in re.findall(r"^type (\w+) (map\[\w+\][\w.]+)$", text, re.M):
            words[package, name] = value
    return structs, words


def resolve(package, name):
    """(package, name) of a type as a source in `package` writes it."""
    if "." not in name:
        return package, name
    where, name = name.split(".")
    return {"v1": "v1", "corev1": "v1", "metav1": "metav1"}.get(where, where), name


class Table:
    def __init__(self, structs, words):
        self.structs, self.words, self.rows = structs, words, {}

    def leaf(self, package, name):
        where, word = resolve(package, name)
        for spelling in (name, "%s.%s" % (where, word)):
            if spelling in LEAVES:
                return LEAVES[spelling], ""
        base = self.words.get((where, word))
        if base and base.startswith("map["):
            return "kQuantityMap" if base.endswith("Quantity") else "kTextMap", ""
        if base and base != "struct":
            return self.leaf(where, base)
        if where not in PLACES:
            return None, ""  # of an alpha group: such a field is dropped, as an unknown one would be
        if (where, word) not in self.structs:
            raise SystemExit("no type %s.%s" % (where, word))
        return "kMessage", self.add(where, word)

    def add(self, package, name):
        label = name if package in ("v1", "metav1") else package + "." + name
        if label in self.rows:
            return label
        self.rows[label] = []
        out = []
        for line in self.structs[package, name]:
            parts = FIELD.match(line)
            if not parts:
                continue
            go_type, json_tag, tag = parts.group(2), parts.group(3), TAG.search(line)
            json_name = json_tag.split(",")[0]
            if not tag or (name, json_name) in LEFT_OUT:
                continue
            number = int(tag.group(1).split(",")[1])
            inline = "inline" in json_tag.split(",")[1:] or (not json_name)
            pointer, repeated, kind = go_type.startswith("*"), False, go_type.lstrip("*")
            if kind == "[]byte":
                kind = "byte"
            elif kind.startswith("[]"):
                repeated, kind = True, kind[2:]
            if kind.startswith("map["):
                value = kind.split("]", 1)[1]
                leaf = {"string": "kTextMap", "[]byte": "kBytesMap", "ExtraValue": None}.get(value)
                message = ""
            else:
                if kind.lstrip("*") == "v1.ObjectMeta" and package != "v1":
                    kind = "metav1.ObjectMeta"
                leaf, message = self.leaf(package, kind)
            if leaf is None:
                continue
            flags = "r" * repeated + "p" * pointer + "i" * inline
            out.append((number, json_name, leaf, message, flags))
        self.rows[label] = out
        return label


HEAD = """\
// Generated by tools/generate_protobuf_table.py from k8s.io/api %s; do not edit.
#include "internal/protobuf_messages.h"

namespace neap::apiserver {

const std::map<std::string_view, std::vector<ProtobufRow>>& protobuf_messages() {
  using enum ProtobufType;
  // clang-format off
  static const std::map<std::string_view, std::vector<ProtobufRow>> table{
"""


def main():
    version = sys.argv[1]
    table = Table(*read_structs(version))
    documents = {("%s %s" % (api, kind)).strip(): table.add(package, kind) for package, kind, api in DOCUMENTS}
    out = HEAD % version
    for label, rows in sorted(table.rows.items()):
        names = [document for document, of in documents.items() if of == label] or [label]
        cells = []
        for number, name, leaf, message, flags in rows:
            tail = ', "%s"' % message if message or flags else ""
            if flags:
                tail += ", " + " | ".join({"r": "kRepeated", "p": "kPointer", "i": "kInlined"}[f] for f in flags)
            cells.append('{%d, "%s", %s%s}' % (number, name, leaf, tail))
        for name in names:
            line = '    {"%s", {' % name
            for i, cell in enumerate(cells):
                piece = cell + (", " if i + 1 < len(cells) else "")
                if len(line) + len(piece) > 150:
                    out += line.rstrip() + "\n"
                    line = "      "
                line += piece
            out += line + "}},\n"
    out += "  };\n  // clang-format on\n  return table;\n}\n\n}  // namespace neap::apiserver\n"
    (ROOT / "src/apiserver/protobuf_messages.cc").write_text(out)


if __name__ == "__main__":
    main()
