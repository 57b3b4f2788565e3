"""Who may see what of a real server: secrets in its files, projects in its answers, requests in its record, join tokens after a restore."""

from __future__ import annotations

import base64
import json
import pathlib
import shutil
import subprocess

from neap_process import PROGRAM, Server, ServerTest

PASSWORD = "tide-pool-anemone-4711"
SECRETS = "/api/v1/namespaces/default/secrets"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, resources: [{group: "", resources: [configmaps]}]}
- {level: RequestResponse, resources: [{group: "", resources: [secrets, namespaces]}]}
- {level: Metadata}
"""


def secret(name: str, word: str = PASSWORD) -> dict:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": word}}, "stringData": {"password": word}}


class SecretsAtRest(ServerTest):
    def files_with(self, state: pathlib.Path, word: str = PASSWORD) -> list[str]:
        wanted = [word.encode(), base64.b64encode(word.encode())[:-4]]
        paths = [path for path in state.rglob("*") if path.is_file()] + [self.server.log_path]
        return [str(path) for path in paths if any(word in path.read_bytes() for word in wanted)]

    def refusal(self) -> str:
        """What a start that fails says."""
        with self.assertRaises(AssertionError) as start:
            self.server.start()
        return str(start.exception)

    def password(self, server: Server, name: str) -> str:
        return base64.b64decode(server.ask("GET", f"{SECRETS}/{name}").json["data"]["password"]).decode()

    def test_1_no_file_of_the_server_shows_a_secret_and_readers_get_it(self) -> None:
        for index in range(20):
            self.assertEqual(self.server.ask("POST", SECRETS, secret(f"s{index}")).status, 201)
        self.assertEqual(self.server.ask("POST", SECRETS, {**secret("bad"), "nonsense": PASSWORD}).status, 201)
        self.server.ask("POST", SECRETS, secret("s0"))  # refused, and the refusal on record
        self.assertEqual(self.password(self.server, "s7"), PASSWORD)
        self.assertTrue((self.server.state / "store/store.db").exists())
        self.assertEqual(self.files_with(self.server.state), [])
        key = self.server.state / "identity/secrets.key"
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)

    def test_2_rotation_rewraps_and_the_old_key_alone_does_not_start(self) -> None:
        key = self.server.state / "identity/secrets.key"
        old = key.read_text()
        done = self.server.cli("secrets", "rotate")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("21 of 21", done.stdout)
        self.assertEqual(self.password(self.server, "s3"), PASSWORD)
        self.assertIn("secrets-key-rotation", self.server.cli("audit", "--type", "secrets-key-rotation").stdout)
        new = key.read_text()
        self.assertEqual(self.server.stop(), 0)
        key.write_text(old)
        self.assertIn("secrets.key.wrong", self.refusal())
        key.unlink()
        self.assertIn("secrets.key.missing", self.refusal())
        self.assertFalse(key.exists(), "a new key would hide that the old one is lost")
        key.write_text(new)
        self.server.start()
        self.assertEqual(self.password(self.server, "s3"), PASSWORD)
        self.assertEqual(self.files_with(self.server.state), [])

    def test_3_a_backup_carries_the_sealed_form_and_with_the_key_elsewhere_nothing_to_open_it(self) -> None:
        file, outside = self.folder / "backup", self.folder / "outside.key"
        self.server.stop()
        shutil.move(self.server.state / "identity/secrets.key", outside)
        self.server.ARGUMENTS = ["--secrets-key-file", str(outside)]
        self.server.start()
        token = self.server.ask("POST", "/neap/v1/join-tokens", {"site": "factory-01", "node": "edge-9", "ttl": "1h"}).json["token"]
        made = subprocess.run([str(PROGRAM), "backup", "--state", str(self.server.state), "--to", str(file)], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertNotIn(PASSWORD.encode(), file.read_bytes())
        self.assertNotIn(outside.read_text().split()[3].encode(), file.read_bytes())
        self.server.stop()
        restored = Server(self.folder / "restored")
        back = subprocess.run([str(PROGRAM), "restore", "--from", str(file), "--state", str(restored.state)], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(back.returncode, 0, back.stderr)
        restored.ARGUMENTS = self.server.ARGUMENTS
        self.addCleanup(restored.end)
        restored.start()
        self.assertEqual(self.password(restored, "s5"), PASSWORD)
        reply = restored.ask("POST", "/neap/v1/join", {"token": token, "node": "edge-9", "site": "factory-01", "request": ""}, token="")
        self.assertEqual(reply.json["reason"], "auth.join.unknown", "a token of before the restore is good no more")


class ProjectsAndRecord(ServerTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server.stop()
        (cls.folder / "policy.yaml").write_text(POLICY)
        cls.server.ARGUMENTS = ["--audit-policy-file", str(cls.folder / "policy.yaml")]
        cls.server.start()
        for name in ("team-a", "team-b"):
            cls.server.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        accounts = "/api/v1/namespaces/team-a/serviceaccounts"
        cls.server.ask("POST", accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ann"}})
        subject = [{"kind": "ServiceAccount", "name": "ann", "namespace": "team-a"}]

        def grant(kind: str, where: str, name: str, rules: list) -> None:
            for path, body in ((f"{where}{kind.lower()}s", {"kind": kind, "rules": rules}),
                               (f"{where}{kind.lower()}bindings", {"kind": kind + "Binding", "subjects": subject, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}})):
                reply = cls.server.ask("POST", path, {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": name}, **body})
                assert reply.status == 201, reply.text

        grant("ClusterRole", f"{RBAC}/", "reports", [{"nonResourceURLs": ["/neap/v1/*"], "verbs": ["get", "post"]}])
        grant("Role", f"{RBAC}/namespaces/team-a/", "editor", [
            {"apiGroups": ["neap.dev"], "resources": ["allocations", "trainingjobs"], "verbs": ["get", "list", "create"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["get", "create", "update"]},
            {"apiGroups": ["batch", "apps"], "resources": ["*"], "verbs": ["create"]}])
        cls.ann = cls.server.ask("POST", accounts + "/ann/token", {"spec": {}}).json["status"]["token"]

    def as_ann(self, method: str, path: str, body: object = None):
        return self.server.ask(method, path, body, token=self.ann)

    def test_answers_hold_only_the_projects_one_may_read(self) -> None:
        for path in ("/neap/v1/cost", "/neap/v1/focus"):
            self.assertEqual(self.as_ann("GET", path + "?project=team-a").status, 200, path)
            self.assertEqual(self.as_ann("GET", path + "?project=team-b").status, 403, path)
            self.assertEqual(self.as_ann("GET", path).status, 200, path)
        job = {"apiVersion": "neap.dev/v1", "kind": "TrainingJob", "metadata": {"name": "j"}, "spec": {"command": ["true"], "resources": {"cpu": "1", "memory": "1Gi"}}}
        self.assertEqual(self.as_ann("POST", "/neap/v1/plan?project=team-b", job).status, 403)
        self.assertNotEqual(self.as_ann("POST", "/neap/v1/plan?project=team-a", job).status, 403)
        seen = {entry.get("namespace", "") for entry in self.as_ann("GET", "/neap/v1/audit").json["entries"]}
        self.assertEqual(seen, {"team-a"})
        self.assertIn("", {entry.get("namespace", "") for entry in self.server.ask("GET", "/neap/v1/audit").json["entries"]})

    def test_rights_are_not_handed_out_beyond_ones_own(self) -> None:
        roles = f"{RBAC}/namespaces/team-a/roles"
        role = lambda verbs: {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "next"}, "rules": [{"apiGroups": ["neap.dev"], "resources": ["trainingjobs"], "verbs": verbs}]}
        refused = self.as_ann("POST", roles, role(["get", "delete"]))
        self.assertEqual(refused.status, 403)
        self.assertIn('Verbs:["delete"]', refused.json["message"])
        self.assertEqual(self.as_ann("POST", roles, role(["get"])).status, 201)
        self.assertEqual(self.as_ann("PUT", roles + "/next", role(["*"])).status, 403)
        keys = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "keys"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}
        self.assertEqual(self.server.ask("POST", f"{RBAC}/clusterroles", keys).status, 201)
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "mine"}, "subjects": [{"kind": "User", "name": "eve"}],
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "keys"}}
        self.assertEqual(self.as_ann("POST", f"{RBAC}/namespaces/team-a/rolebindings", binding).status, 403)
        binding["roleRef"]["name"] = "reports"
        self.assertEqual(self.as_ann("POST", f"{RBAC}/namespaces/team-a/rolebindings", binding).status, 201, "what one has may be given")

    def test_a_document_takes_the_right_to_what_it_becomes(self) -> None:
        template = {"spec": {"containers": [{"name": "c", "image": "i", "command": ["true"]}], "restartPolicy": "Never"}}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "one"}, "spec": {"template": template}}
        self.assertEqual(self.as_ann("POST", "/apis/batch/v1/namespaces/team-a/jobs", job).status, 201)
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
                      "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
        refused = self.as_ann("POST", "/apis/apps/v1/namespaces/team-a/deployments", deployment)
        self.assertEqual(refused.status, 403, refused.text)
        self.assertIn("inferenceservices", refused.json["message"])

    def test_the_record_follows_the_policy_and_reads_as_kubernetes_events(self) -> None:
        self.server.ask("POST", SECRETS, secret("recorded"))
        self.server.ask("GET", f"{SECRETS}/recorded")
        self.server.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "recorded"}})
        self.server.ask("POST", "/api/v1/namespaces/default/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "silent"}})
        self.as_ann("GET", "/api/v1/namespaces/default/configmaps/silent")
        done = self.server.cli("audit", "-o", "k8s")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(PASSWORD, done.stdout)
        self.assertNotIn(base64.b64encode(PASSWORD.encode()).decode(), done.stdout)
        events = json.loads(done.stdout)
        self.assertEqual((events["kind"], events["apiVersion"]), ("EventList", "audit.k8s.io/v1"))

        def found(resource: str, name: str, verb: str) -> list[dict]:
            return [e for e in events["items"] if e["verb"] == verb and e.get("objectRef", {}).get("resource") == resource and e["objectRef"].get("name") == name]

        for event in events["items"]:
            self.assertEqual(event["kind"], "Event")
            for member in ("auditID", "level", "stage", "requestURI", "verb", "user", "requestReceivedTimestamp", "stageTimestamp"):
                self.assertIn(member, event)
        self.assertEqual(len({e["auditID"] for e in events["items"]}), len(events["items"]))
        written = found("secrets", "recorded", "create") or [e for e in events["items"] if e["verb"] == "create" and e.get("objectRef", {}).get("resource") == "secrets"]
        self.assertEqual(written[0]["level"], "Metadata", "whatever the policy says")
        self.assertNotIn("requestObject", written[0])
        self.assertEqual(found("secrets", "recorded", "get")[0]["user"]["username"], "admin", "reads, where the policy says so")
        space = [e for e in events["items"] if e["verb"] == "create" and e.get("requestObject", {}).get("metadata", {}).get("name") == "recorded"]
        self.assertEqual(space[0]["level"], "RequestResponse")
        self.assertEqual(space[0]["responseObject"]["status"]["phase"], "Active")
        self.assertEqual(space[0]["sourceIPs"], ["127.0.0.1"])
        self.assertEqual(found("configmaps", "silent", "create"), [])
        refused = found("configmaps", "silent", "get")
        self.assertEqual([e["responseStatus"]["code"] for e in refused], [403], "refusals are on record whatever the policy says")
        self.assertEqual(refused[0]["annotations"]["authorization.k8s.io/decision"], "forbid")
        self.assertEqual(self.server.cli("audit", "--verify").returncode, 0)
