"""What people get wrong: every error names the field or file and what to do, and what was stored stays as it was."""

from __future__ import annotations

import json
import pathlib
import ssl
import socket
import subprocess
import time
import unittest

from neap_process import Api, ServerTest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NEAP = "/apis/neap.dev/v1"
MIB = 1 << 20


def config_map(name: str, data: dict) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class BadInputTest(ServerTest):
    """Each case starts from the object "kept" and finds it unchanged at its end."""

    def setUp(self) -> None:
        self.server.ask("POST", CONFIG_MAPS, config_map("kept", {"a": "1"}))
        self.before = self.server.ask("GET", f"{CONFIG_MAPS}/kept").json
        self.assertEqual(self.before["data"], {"a": "1"})

    def tearDown(self) -> None:
        self.assertEqual(self.server.ask("GET", f"{CONFIG_MAPS}/kept").json, self.before, "the object from before was changed")

    def apply(self, text: str, *says: str) -> str:
        """`neap apply -f FILE` fails with status 1, naming the file and every text of `says`."""
        path = self.folder / "input.yaml"
        path.write_text(text)
        result = self.server.cli("apply", "-f", str(path))
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        for part in ("input.yaml", *says):
            self.assertIn(part, result.stderr)
        self.assertNotIn("kept", result.stdout)
        return result.stderr

    def names(self) -> set[str]:
        return {item["metadata"]["name"] for item in self.server.ask("GET", CONFIG_MAPS).json["items"]}

    # -- documents, through the command line

    def test_malformed_yaml_is_refused_with_its_line(self) -> None:
        self.apply("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: kept\n data: [\n", "line 5")
        self.apply("apiVersion: v1\nkind: ConfigMap\nmetadata:\n\tname: kept\n", "line 4")
        self.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {a: '2', a: '3'}\n", "a")
        self.apply("a: &a [*a, *a]\n")

    def test_a_yaml_bomb_is_refused_before_it_unfolds(self) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
        self.apply("\n".join(lines) + "\n")

    def test_an_unknown_field_is_named(self) -> None:
        self.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {a: '2'}\ncolour: red\n", '"colour"', "neap explain")
        self.apply("apiVersion: neap.dev/v1\nkind: Site\nmetadata: {name: s}\nspec: {tier: edge, jurisdiction: CN-SH, colour: red}\n", '"spec.colour"')

    def test_a_wrong_type_is_named_with_what_was_found(self) -> None:
        self.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {a: [2]}\n", "data[a]", "must be a string, is a list")
        self.apply("apiVersion: neap.dev/v1\nkind: Link\nmetadata: {name: l}\nspec: {from: 3}\n", "spec.from", "must be a string, is 3", "spec.to: is required")

    def test_a_missing_or_unknown_kind_is_named(self) -> None:
        self.apply("metadata: {name: kept}\n", "apiVersion")
        self.apply("apiVersion: neap.dev/v1\nkind: Sight\nmetadata: {name: kept}\n", "Sight", "neap explain")

    def test_of_two_documents_the_bad_one_is_named_and_nothing_of_it_is_stored(self) -> None:
        good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: two-good}\ndata: {a: '1'}\n"
        self.apply(good + "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: two-bad}\ndata: {a: [1], b: '2'}\n", "document 2", "data[a]")
        self.assertNotIn("two-bad", self.names())
        self.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}\ndata: {a: {}}\n---\n" + good, "data[a]")

    def test_a_missing_file_and_an_empty_file_are_named(self) -> None:
        result = self.server.cli("apply", "-f", str(self.folder / "absent.yaml"))
        self.assertEqual(result.returncode, 1)
        self.assertIn("absent.yaml", result.stderr)
        self.apply("")

    def test_a_policy_that_does_not_parse_is_refused_with_rule_and_reason(self) -> None:
        policy = "apiVersion: neap.dev/v1\nkind: SchedulingPolicy\nmetadata: {{name: p}}\nspec:\n  rules:\n  - {{name: broken, condition: {0}, action: {1}}}\n"
        for condition, action in (('"task.priority >"', "forbid(public)"), ('"task.priority > 5"', "teleport(public)")):
            path = self.folder / "policy.yaml"
            path.write_text(policy.format(condition, action))
            result = self.server.cli("apply", "-f", str(path))
            self.assertEqual(result.returncode, 1, result.stdout)
            self.assertIn("policy.yaml", result.stderr)
            self.assertIn("rules", result.stderr)
            self.assertEqual(self.server.ask("GET", f"{NEAP}/namespaces/default/schedulingpolicies/p").status, 404)

    # -- bodies, over HTTPS

    def test_a_body_that_is_no_json_is_refused(self) -> None:
        for body in ("{", "[]", '"x"', "\x00\xff", '{"a":1}}', "[" * 100_000):
            reply = self.server.ask("PUT", f"{CONFIG_MAPS}/kept", body)
            self.assertEqual(reply.status, 400, f"{body[:20]!r}: {reply.text[:300]}")
            self.assertTrue(reply.json["message"])

    def test_an_update_from_an_old_copy_is_a_conflict(self) -> None:
        stale = config_map("kept", {"a": "2"})
        stale["metadata"]["resourceVersion"] = "1"
        reply = self.server.ask("PUT", f"{CONFIG_MAPS}/kept", stale)
        self.assertEqual((reply.status, reply.json["reason"]), (409, "Conflict"))

    def send_large(self, framing: str, pieces) -> tuple[int, int]:
        """HTTP status and the bytes that the server took before it answered or hung up."""
        raw = socket.create_connection(("127.0.0.1", self.server.port), timeout=30)
        connection = self.server.tls().wrap_socket(raw, server_hostname="127.0.0.1")
        head = f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: neap\r\nAuthorization: Bearer {self.server.token}\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        sent = 0
        try:
            connection.sendall(head.encode())
            for piece in pieces:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            pass  # the server has answered and closed: what it said is read below
        answer = b""
        try:
            while b"\r\n" not in answer:
                got = connection.recv(4096)
                if not got:
                    break
                answer += got
        except OSError:
            pass
        connection.close()
        return (int(answer.split()[1]) if answer else 0), sent

    def test_a_body_of_100_mb_is_refused_without_being_read(self) -> None:
        piece = b"x" * MIB
        status, sent = self.send_large("Content-Length: 104857600", [])
        self.assertEqual((status, sent), (413, 0), "the announced length is enough to refuse")
        # A reset may overtake the answer while the client still writes: no answer is then no acceptance either.
        status, sent = self.send_large("Content-Length: 104857600", (piece for _ in range(100)))
        self.assertIn(status, (413, 0))
        self.assertLess(sent, 50 * MIB, "the server read on after it knew better")
        chunk = b"100000\r\n" + piece + b"\r\n"
        status, sent = self.send_large("Transfer-Encoding: chunked", (chunk for _ in range(100)))
        self.assertIn(status, (413, 0))
        self.assertLess(sent, 50 * MIB, "the server read on after it knew better")
        self.assertLess(self.server.resident_bytes(), 200 * MIB)

    def test_the_command_line_says_that_a_file_is_too_large(self) -> None:
        path = self.folder / "large.yaml"
        with open(path, "w") as file:
            file.write("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: large}\ndata:\n  a: ")
            for _ in range(100):
                file.write("x" * MIB)
            file.write("\n")
        result = self.server.cli("apply", "-f", str(path))
        path.unlink()
        self.assertEqual(result.returncode, 1)
        self.assertIn("large.yaml", result.stderr)
        self.assertLess(len(result.stderr), 2000)
        self.assertNotIn("large", self.names())

    # -- who is asking

    def test_a_wrong_token_is_401_and_no_token_403(self) -> None:
        reply = self.server.ask("GET", CONFIG_MAPS, token="wrong")
        self.assertEqual((reply.status, reply.json["reason"]), (401, "Unauthorized"))
        self.assertIn("token", reply.json["message"])
        for method, path in (("GET", f"{CONFIG_MAPS}/kept"), ("DELETE", f"{CONFIG_MAPS}/kept"), ("GET", "/neap/v1/audit"), ("POST", "/neap/v1/join-tokens")):
            reply = self.server.ask(method, path, token="")
            self.assertIn(reply.status, (401, 403), f"{method} {path}")
        reply = self.server.ask("GET", f"{CONFIG_MAPS}/kept", token="")
        self.assertIn("system:anonymous", reply.json["message"])

    def test_a_server_with_another_authority_is_not_trusted(self) -> None:
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.server.ask("GET", "/version", context=ssl.create_default_context())


class NodeTest(ServerTest):
    """A node joins with openssl as its only help, and then tries what it must not do."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.key = cls.folder / "node.key"
        cls.request = cls.make_request("system:node:edge-9", "system:nodes", cls.key)
        reply = cls.server.ask("POST", "/neap/v1/join-tokens", {"site": "factory-01", "node": "edge-9", "ttl": "5m"})
        assert reply.status == 200, reply.text
        cls.join_token = reply.json["token"]
        reply = cls.join(cls.join_token, "edge-9", "factory-01", cls.request)
        assert reply.status == 200, reply.text
        certificate = cls.folder / "node.pem"
        certificate.write_text(reply.json["certificate"])
        cls.certificate = certificate
        for name in ("edge-8",):
            made = cls.server.ask("POST", f"{NEAP}/nodes", {"apiVersion": "neap.dev/v1", "kind": "Node", "metadata": {"name": name}, "spec": {"site": "factory-02"}})
            assert made.status == 201, made.text

    @classmethod
    def make_request(cls, name: str, organization: str, key: pathlib.Path) -> str:
        return subprocess.run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key),
             "-subj", f"/O={organization}/CN={name}"], capture_output=True, text=True, check=True,
        ).stdout

    @classmethod
    def join(cls, token: str, node: str, site: str, request: str, capacity_type: str = "owned"):
        return cls.server.ask("POST", "/neap/v1/join", {"token": token, "node": node, "site": site, "capacityType": capacity_type, "request": request}, token="")

    def node(self) -> Api:
        context = self.server.tls()
        context.load_cert_chain(self.certificate, self.key)
        return self.server.api(token="", context=context)

    def test_the_node_may_do_its_work(self) -> None:
        node = self.node()
        patch = "application/merge-patch+json"
        self.assertEqual(node.call("GET", f"{NEAP}/nodes/edge-9").status, 200)
        self.assertEqual(node.call("GET", f"{NEAP}/allocations?fieldSelector=spec.node%3Dedge-9").status, 200)
        reply = node.call("PATCH", f"{NEAP}/nodes/edge-9/status", {"status": {"conditions": []}}, patch)
        self.assertEqual(reply.status, 200, reply.text)
        node.close()

    def test_whatever_is_not_the_nodes_own_is_403_with_a_reason(self) -> None:
        node = self.node()
        patch = "application/merge-patch+json"
        job = {"apiVersion": "neap.dev/v1", "kind": "TrainingJob", "metadata": {"name": "j"}, "spec": {"command": ["true"]}}
        attempts = [
            ("GET", "/api/v1/namespaces/default/secrets", None, "agents may not list secrets"),
            ("GET", "/api/v1/namespaces/default/secrets/admin", None, "agents may not get secrets"),
            ("GET", CONFIG_MAPS, None, "agents may not list configmaps"),
            ("PATCH", f"{NEAP}/nodes/edge-8/status", {"status": {"conditions": []}}, 'may not write node "edge-8"'),
            ("PATCH", f"{NEAP}/nodes/edge-9", {"spec": {"site": "hq"}}, "only the status of its Node"),
            ("DELETE", f"{NEAP}/nodes/edge-9", None, "only the status of its Node"),
            ("GET", f"{NEAP}/allocations", None, "field selector spec.node=edge-9"),
            ("GET", f"{NEAP}/allocations?fieldSelector=spec.node%3Dedge-8", None, "field selector spec.node=edge-9"),
            ("GET", f"{NEAP}/allocations?watch=1", None, "field selector spec.node=edge-9"),
            ("POST", f"{NEAP}/namespaces/default/trainingjobs", job, "agents may not create trainingjobs"),
            ("POST", "/neap/v1/join-tokens", {"site": "hq"}, "/neap/v1/join-tokens"),
            ("GET", "/neap/v1/audit", None, "/neap/v1/audit"),
            ("GET", "/neap/v1/cost", None, "/neap/v1/cost"),
            ("POST", "/ledger/v1/nodes/edge-8", {"first": 0, "entries": []}, "/ledger/v1/nodes/edge-8"),
            ("POST", "/v2/default/surface/blobs/uploads/", None, "nodes pull from the registry"),
            ("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {}, "agents may not create clusterrolebindings"),
        ]
        for method, path, body, says in attempts:
            with self.subTest(f"{method} {path}"):
                kind = patch if method == "PATCH" else "application/json"
                reply = node.call(method, path, body, kind)
                self.assertEqual(reply.status, 403, reply.text[:400])
                message = reply.json.get("message") or reply.json["errors"][0]["message"]
                self.assertIn(says, message)
        node.close()
        self.assertEqual(self.server.ask("GET", f"{NEAP}/nodes/edge-9").json["spec"]["site"], "factory-01")

    def test_refusals_are_in_the_audit_ledger(self) -> None:
        node = self.node()
        self.assertEqual(node.call("GET", "/api/v1/namespaces/default/secrets").status, 403)
        node.close()
        until = time.monotonic() + 30  # the answer does not wait for the ledger
        mine: list[dict] = []
        while not mine and time.monotonic() < until:
            audit = self.server.ask("GET", "/neap/v1/audit?type=api-refusal").json
            self.assertIs(audit["log_verified"], True)
            mine = [e for e in audit["entries"] if e["resource"] == "secrets" and e["user"] == "system:node:edge-9"]
        self.assertTrue(mine, audit["entries"][-3:])
        self.assertEqual(mine[0]["status"], 403)

    def test_a_join_token_works_once(self) -> None:
        reply = self.join(self.join_token, "edge-9", "factory-01", self.request)
        self.assertIn(reply.status, (401, 403))
        self.assertIn("token", reply.text)
        self.assertIn("ask for a new one", reply.text)

    def test_a_join_token_is_good_only_for_what_it_was_made_for(self) -> None:
        def mint(**body: str) -> str:
            return self.server.ask("POST", "/neap/v1/join-tokens", body).json["token"]

        key = self.folder / "other.key"
        request = self.make_request("system:node:edge-7", "system:nodes", key)
        cases = {
            "another site": (mint(site="factory-01", node="edge-7"), "edge-7", "hq", request, "owned"),
            "another node": (mint(site="factory-01", node="edge-6"), "edge-7", "factory-01", request, "owned"),
            "another capacity": (mint(site="factory-01", node="edge-7"), "edge-7", "factory-01", request, "spot"),
            "an altered secret": (mint(site="factory-01", node="edge-7").replace(".", ".x", 2), "edge-7", "factory-01", request, "owned"),
            "no token": ("", "edge-7", "factory-01", request, "owned"),
            "rubbish": ("neap1.a.b.c", "edge-7", "factory-01", request, "owned"),
        }
        for what, case in cases.items():
            with self.subTest(what):
                reply = self.join(*case)
                self.assertIn(reply.status, (400, 401, 403), reply.text[:300])
                self.assertNotIn("BEGIN CERTIFICATE", reply.text)
        self.assertEqual(self.server.ask("GET", f"{NEAP}/nodes/edge-7").status, 404)

    def test_a_request_in_another_name_gets_no_certificate_in_that_name(self) -> None:
        for name, organization in (("admin", "system:masters"), ("system:node:edge-8", "system:nodes")):
            with self.subTest(name):
                token = self.server.ask("POST", "/neap/v1/join-tokens", {"site": "factory-01", "node": "edge-5"}).json["token"]
                request = self.make_request(name, organization, self.folder / "stolen.key")
                reply = self.join(token, "edge-5", "factory-01", request)
                if reply.status != 200:
                    continue  # refused is as good
                text = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=reply.json["certificate"], capture_output=True, text=True, check=True).stdout
                self.assertIn("system:node:edge-5", text)
                self.assertNotIn("masters", text)
                self.assertNotIn(name, text.replace("system:node:edge-5", ""))

    def test_a_certificate_of_another_authority_is_no_identity(self) -> None:
        key, pem = self.folder / "own.key", self.folder / "own.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out", str(pem),
                        "-days", "1", "-subj", "/O=system:nodes/CN=system:node:edge-9"], capture_output=True, check=True)
        context = self.server.tls()
        context.load_cert_chain(pem, key)
        try:
            reply = self.server.ask("GET", f"{NEAP}/nodes/edge-9", token="", context=context)
        except OSError:
            return  # refused in the handshake
        self.assertIn(reply.status, (401, 403), json.dumps(reply.headers))


if __name__ == "__main__":
    unittest.main()
