"""Documents of other tools, applied by the real kubectl to a real server: read back unchanged, derived, removed.

No agent runs here: what is placed stays pending, and what is derived is looked at. The files are those of examples/documents.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import unittest

from neap_process import SOURCE, ServerTest

EXAMPLES = SOURCE / "examples/documents"
KUBECTL = [SOURCE / "build/deps/kubectl-newest/kubectl", SOURCE / "build/deps/kubectl-1.20/kubectl"]
NEAP = "/apis/neap.dev/v1"


def site(name: str, tier: str, aliases: list[str] | None = None) -> dict:
    return {
        "apiVersion": "neap.dev/v1",
        "kind": "Site",
        "metadata": {"name": name},
        "spec": {"tier": tier, "jurisdiction": "CN-SH", "aliases": aliases or []},
    }


class DocumentsTest(ServerTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.kubectl_program = next((path for path in KUBECTL if os.access(path, os.X_OK)), None)
        if cls.kubectl_program is None:
            raise AssertionError("no kubectl in build/deps; run tools/bootstrap_kubectl.sh")
        for name, tier in [("cloud-a", "public"), ("hq", "private"), ("factory-01", "edge"), ("factory-02", "edge")]:
            reply = cls.server.ask("POST", f"{NEAP}/sites", site(name, tier))
            if reply.status not in (201, 409):
                raise AssertionError(reply.text)

    def kubectl(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess:
        environment = {"KUBECONFIG": str(self.server.state / "admin.kubeconfig"), "HOME": str(self.folder), "PATH": os.environ["PATH"]}
        return subprocess.run([str(self.kubectl_program), *words], input=stdin, capture_output=True, text=True, env=environment, timeout=60, check=False)

    def apply(self, text: str) -> subprocess.CompletedProcess:
        done = self.kubectl("apply", "-f", "-", stdin=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def get(self, kind: str, name: str) -> dict | None:
        done = self.kubectl("get", kind, name, "-o", "json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def derived(self, kind: str, name: str, reason: str = "Derived") -> dict:
        """The document once its condition Derived has this reason."""
        until = time.monotonic() + 60
        while True:
            document = self.get(kind, name) or {}
            for condition in document.get("status", {}).get("conditions", []):
                if condition["type"] == "Derived" and condition["reason"] == reason:
                    return document
            if time.monotonic() > until:
                self.fail(f"{kind} {name} was not {reason}: {json.dumps(document.get('status'))}")
            time.sleep(0.2)

    def applied_spec(self, text: str) -> dict:
        """What the file says, by kubectl's own reading of it."""
        done = self.kubectl("create", "--dry-run=client", "--validate=false", "-f", "-", "-o", "json", stdin=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["spec"]

    def wait_gone(self, kind: str, name: str) -> None:
        until = time.monotonic() + 60
        while self.get(kind, name) is not None:
            self.assertLess(time.monotonic(), until, f"{kind} {name} outlived its document")
            time.sleep(0.2)

    def add_template(self) -> None:
        # Its code folder is not what this is about, so a digest stands for it.
        text = (EXAMPLES / "template.yaml").read_text().replace("../surface-inspection", "sha256:" + "0" * 64)
        self.apply(text)
        self.addCleanup(self.kubectl, "delete", "deploymentstrategies.neap.dev", "inspection-template")

    def test_a_strategy_waits_for_a_template_and_then_becomes_ours_with_its_guard(self) -> None:
        text = (EXAMPLES / "strategy.yaml").read_text()
        self.apply(text)
        kind = "deploymentstrategies.ai.hybrid.io"
        refused = self.derived(kind, "visual-inspection", "TemplateMissing")
        self.assertIn("neap.dev/default-template", json.dumps(refused["status"]))
        self.add_template()
        document = self.derived(kind, "visual-inspection")
        self.assertEqual(document["spec"], self.applied_spec(text), "it comes back as applied")
        ours = self.get("deploymentstrategies.neap.dev", "visual-inspection")
        self.assertEqual(ours["metadata"]["ownerReferences"][0]["uid"], document["metadata"]["uid"])
        self.assertEqual(ours["spec"]["train"]["allowedSites"], ["cloud-a"])
        self.assertEqual(ours["spec"]["train"]["resources"]["accelerators"], {"NVIDIA_A100": "1"})
        self.assertEqual(ours["spec"]["train"]["replicas"], 32)
        rule = self.get("datapolicies", "visual-inspection-strict")["spec"]["rules"][0]
        self.assertEqual((rule["effect"], rule["fromSites"]), ("strict", ["factory-02"]))
        events = self.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").stdout.split()
        self.assertLessEqual({"TemplateMissing", "Derived"}, set(events))
        self.assertEqual(self.kubectl("delete", kind, "visual-inspection").returncode, 0)
        self.wait_gone("deploymentstrategies.neap.dev", "visual-inspection")
        self.wait_gone("datapolicies", "visual-inspection-strict")

    def test_a_priority_policy_becomes_rules(self) -> None:
        text = (EXAMPLES / "priority-policy.yaml").read_text()
        self.apply(text)
        document = self.derived("schedulingpolicies.ai.hybridcloud", "realtime")
        self.assertEqual(document["spec"], self.applied_spec(text))
        rules = self.get("schedulingpolicies.neap.dev", "realtime")["spec"]["rules"]
        self.assertEqual([rule["action"] for rule in rules], ["forbid(*)", "forbid(*)", "prefer(spot, 20)"])
        self.kubectl("delete", "schedulingpolicies.ai.hybridcloud", "realtime")
        self.wait_gone("schedulingpolicies.neap.dev", "realtime")

    def test_a_gang_is_a_pod_group_and_the_job_that_names_it(self) -> None:
        self.apply((EXAMPLES / "gang.yaml").read_text())
        self.derived("podgroups.scheduling.volcano.sh", "sweep")
        self.derived("jobs.batch", "sweep")
        job = self.get("trainingjobs", "sweep")
        self.assertEqual((job["spec"]["replicas"], job["spec"]["queue"]), (2, "research"))
        self.assertEqual(job["spec"]["resources"]["memory"], "512Mi", "the group's least, divided")
        self.assertEqual(self.kubectl("delete", "-f", str(EXAMPLES / "gang.yaml")).returncode, 0)
        self.wait_gone("trainingjobs", "sweep")

    def test_a_deployment_is_completed_with_warnings_and_served_without_its_image(self) -> None:
        text = (EXAMPLES / "inference.yaml").read_text()
        done = self.apply(text)
        self.assertIn("Warning: spec.selector was not given and is filled in", done.stderr)
        self.assertIn("Warning: spec.template.metadata.labels", done.stderr)
        self.derived("deployments.apps", "edge-inference", "ModelMissing")
        project = f"{NEAP}/namespaces/default"
        for path, kind, name, spec in [
            ("models", "Model", "surface", {}),
            (
                "modelversions",
                "ModelVersion",
                "surface-v1",
                {"model": "surface", "repository": "default/surface", "manifestDigest": "sha256:" + "a" * 64, "file": "m.onnx", "level": "L3"},
            ),
        ]:
            made = self.server.ask("POST", f"{project}/{path}", {"apiVersion": "neap.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
            self.assertEqual(made.status, 201, made.text)
        document = self.derived("deployments.apps", "edge-inference")
        said = self.applied_spec(text)
        self.assertEqual(document["spec"]["template"]["spec"], said["template"]["spec"], "the pod comes back as applied")
        self.assertEqual(document["spec"]["replicas"], 2)
        again = self.apply(text)
        self.assertIn("unchanged", again.stdout)
        service = self.get("inferenceservices", "edge-inference")
        self.assertEqual(service["spec"]["modelVersion"], "surface-v1")
        claims = {condition["type"]: condition for condition in service["status"]["conditions"]}
        self.assertEqual(claims["ContainerRuns"]["status"], "False")

    def test_a_job_with_an_image_is_held_and_says_so(self) -> None:
        text = (EXAMPLES / "sync.yaml").read_text()
        done = self.apply(text)
        self.assertIn("Warning: spec.template.spec.restartPolicy was not given and is filled in: Never", done.stderr)
        self.derived("jobs.batch", "model-sync")
        job = self.get("trainingjobs", "model-sync")
        self.assertTrue(job["spec"]["suspend"])
        self.assertEqual(job["spec"]["environment"], ["EDGE_ENDPOINT=https://edge.example:8443"])
        self.kubectl("annotate", "jobs.batch", "model-sync", "neap.dev/run-as=process")
        until = time.monotonic() + 60
        while self.get("trainingjobs", "model-sync")["spec"].get("suspend"):
            self.assertLess(time.monotonic(), until, "the annotation did not let it run")
            time.sleep(0.2)

    def test_unknown_fields_are_refused_by_name_in_every_kind(self) -> None:
        for file, place, path in [
            ("strategy.yaml", "  targetCloud:", "spec.colour"),
            ("priority-policy.yaml", "  priorityClass:", "spec.colour"),
            ("inference.yaml", "  replicas:", "spec.colour"),
            ("sync.yaml", "  template:", "spec.colour"),
            ("gang.yaml", "  minMember:", "spec.colour"),
        ]:
            text = (EXAMPLES / file).read_text().split("---")[0].replace(place, "  colour: red\n" + place, 1)
            done = self.server.cli("apply", "-f", "-", stdin=text)
            self.assertNotEqual(done.returncode, 0, file)
            self.assertIn(path, done.stderr, file)

    def test_a_policy_list_needs_no_kind_and_its_words_name_sites(self) -> None:
        done = self.server.cli("apply", "-f", str(EXAMPLES / "policy-list.yaml"))
        self.assertEqual(done.returncode, 0, done.stderr)
        job = {
            "apiVersion": "neap.dev/v1",
            "kind": "TrainingJob",
            "metadata": {"name": "large"},
            "spec": {"command": ["/bin/true"], "replicas": 1, "resources": {"cpu": "1", "memory": "1Gi", "accelerators": {"NVIDIA_A100": "16"}}},
        }
        self.assertEqual(self.server.ask("POST", f"{NEAP}/namespaces/default/trainingjobs", job).status, 201)
        until = time.monotonic() + 60
        while True:
            status = self.get("trainingjobs", "large").get("status", {})
            if "explanation" in status:
                break
            self.assertLess(time.monotonic(), until, json.dumps(status))
            time.sleep(0.2)
        self.assertIn("large-training-to-public", json.dumps(status["explanation"]), "private and edge sites are refused by the rule")
        self.kubectl("delete", "trainingjob", "large")
        self.kubectl("delete", "schedulingpolicies.neap.dev", "policy-list")


if __name__ == "__main__":
    unittest.main()
