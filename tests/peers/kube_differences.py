"""The same requests to `neap server` and to kube-apiserver: status code, reason, Retry-After and what the body says
must be the same, but for the differences that kube_requests.EXPECTED names with their reason. A difference that is
named and gone fails the test, too.

Wants kube-apiserver and etcd from tools/bootstrap_throughput_peers.sh; ends with 77 (skipped) without them.
`kube_differences.py NAME...` runs the cases whose name contains one of the words, and prints both answers.
"""

import http.client
import json
import os
import pathlib
import re
import ssl
import sys
import tempfile
import urllib.parse

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "bench"), str(SOURCE / "tests/e2e")]

import kube_requests
from neap_process import PROGRAM
from peer_processes import Kubernetes, Neap

PEERS = pathlib.Path(os.environ.get("NEAP_DEPENDENCIES", SOURCE / "build/deps"))
SKIPPED = 77
SENT_HEADERS = {"Accept": "application/json", "User-Agent": "differences/1.0"}
# What an object says that is not the server's own invention.
KEPT = ("data", "binaryData", "immutable", "type", "rules", "roleRef")
KEPT_METADATA = ("labels", "annotations", "finalizers", "namespace")


class Side:
    """One server, and what its answers said so far, for requests that name it: <rv:0>, <uid:0>, <continue:1>."""

    def __init__(self, url, token):
        parts = urllib.parse.urlparse(url)
        self.host, self.port, self.token = parts.hostname, parts.port, token
        self.context = ssl._create_unverified_context()
        self.said = []

    def filled(self, text, ns):
        def value(match):
            word, _, index = match.group(1).partition(":")
            return str(self.said[int(index)].get(word))

        return re.sub(r"<((?:rv|uid|continue):\d+)>", value, text.replace("<ns>", ns))

    def ask(self, ns, method, path, body=None, headers=None):
        sent = {**SENT_HEADERS, "Authorization": "Bearer " + self.token}
        if body is not None:
            sent["Content-Type"] = "application/json"
            if not isinstance(body, bytes):
                body = self.filled(json.dumps(body), ns).encode()
        sent.update(headers or {})
        connection = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=60)
        connection.request(method, self.filled(path, ns), body, {k: v for k, v in sent.items() if v is not None})
        reply = connection.getresponse()
        text = reply.read().decode(errors="replace")
        connection.close()
        try:
            document = json.loads(text.splitlines()[0] if "watch" in path else text)
        except (ValueError, IndexError):
            document = None
        metadata = document.get("metadata") or {} if isinstance(document, dict) else {}
        self.said.append({"rv": metadata.get("resourceVersion"), "uid": metadata.get("uid"),
                          "continue": urllib.parse.quote(metadata.get("continue") or "")})
        return reply.status, reply.headers.get("Retry-After"), document, text


def shape_of(document, ns):
    """What two servers must agree on; names of namespaces and generated suffixes are not."""
    if not isinstance(document, dict):
        return {}
    if "object" in document:  # an event of a watch
        return {"event": document.get("type"), **shape_of(document["object"], ns)}
    kind = document.get("kind")
    if kind == "Status":
        return {"kind": kind, "status": document.get("status"), "reason": document.get("reason")}
    metadata = document.get("metadata") or {}
    if isinstance(document.get("items"), list) or (kind or "").endswith("List"):
        return {"kind": kind, "continues": bool(metadata.get("continue")), "left": metadata.get("remainingItemCount"),
                "names": [one["metadata"]["name"] for one in document.get("items") or []]}
    out = {name: document[name] for name in KEPT if document.get(name)}
    out.update({name: metadata[name] for name in KEPT_METADATA if metadata.get(name)})
    out["managers"] = sorted((one["manager"], one["operation"]) for one in metadata.get("managedFields") or []
                             if one["manager"] != "differences")
    out["owners"] = sorted(one["name"] for one in metadata.get("ownerReferences") or [])
    out["terminating"] = "deletionTimestamp" in metadata
    return {"kind": kind, **json.loads(json.dumps(out).replace(ns, "NS"))}


def compare(sides, names):
    """(differences found, requests sent); a difference is (case, index, what kube said, what Neap said, texts)."""
    found, requests = [], 0
    for number, (name, steps) in enumerate(kube_requests.CASES.items()):
        if names and not any(word in name for word in names):
            continue
        ns = "case-%d" % number
        for side in sides:
            side.ask(ns, "POST", "/api/v1/namespaces", {"metadata": {"name": ns}})
            side.said = []
        for index, step in enumerate(steps):
            said = []
            for side in sides:
                status, retry, document, text = side.ask(ns, *step)
                said.append(({"code": status, "retry": retry, **shape_of(document, ns)}, text))
            requests += 1
            if said[0][0] != said[1][0]:
                found.append((name, index, said[0][0], said[1][0], [text[:400] for _, text in said]))
            elif names:
                print(name, index, step[:2], said[0][0])
    return found, requests


def report(found, names):
    wrong = 0
    for name, index, kube, neap, texts in found:
        if (name, index) in kube_requests.EXPECTED and not names:
            continue
        wrong += 1
        differ = sorted(k for k in kube.keys() | neap.keys() if kube.get(k) != neap.get(k))
        print("%s, request %d: %s" % (name, index, kube_requests.CASES[name][index][:2]))
        print("   kube-apiserver: %s" % {k: kube.get(k) for k in differ})
        print("   neap:           %s" % {k: neap.get(k) for k in differ})
        for text in texts:
            print("   | " + text.replace("\n", " "))
    seen = {(name, index) for name, index, *_ in found}
    for key, why in kube_requests.EXPECTED.items():
        if not names and key not in seen:
            wrong += 1
            print("%s, request %d: no difference any more, though one is named: %s" % (*key, why))
    return wrong


def main():
    if not all((PEERS / one).exists() for one in ("kubernetes/kubernetes", "etcd/etcd")):
        print("skipped: no kube-apiserver here; tools/bootstrap_throughput_peers.sh builds it")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="neap-differences-") as folder:
        servers = []
        try:
            for name, make in (("kube", lambda d: Kubernetes(d, PEERS)), ("neap", lambda d: Neap(d, PROGRAM.parent))):
                directory = pathlib.Path(folder, name)
                directory.mkdir()
                servers.append(make(directory))
                servers[-1].start()
            for server in servers:
                server.processes.wait_for("the server", server.is_ready)
            found, requests = compare([Side(one.url, one.token.read_text().strip()) for one in servers], sys.argv[1:])
        finally:
            for server in servers:
                server.processes.stop()
    wrong = report(found, sys.argv[1:])
    print("%d requests, %d answered differently, %d of that expected" % (requests, len(found), len(found) - wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
