"""Real kubectl against the API server: every command people use, its output and its exit code.

Each test has a namespace of its own on one shared server (TLS, bearer token). What a client version cannot
do by itself is left out by a class of its own, never skipped at run time.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ARGUMENTS = None
SERVER = None

JOB = """\
apiVersion: neap.dev/v1
kind: TrainingJob
metadata:
  name: {name}
  labels: {{team: vision}}
spec:
  command: [train, --epochs, "2"]
  replicas: {replicas}
  resources: {{cpu: 500m, memory: 1Gi}}
"""


class Server:
    """The server program, and a kubeconfig for its administrator."""

    def __init__(self, program, store):
        self.directory = tempfile.mkdtemp(prefix="neap-kubectl-")
        self.log = open(os.path.join(self.directory, "server.log"), "w")
        self.process = subprocess.Popen([program, self.directory, store], stdout=self.log, stderr=self.log)
        endpoint = pathlib.Path(self.directory, "endpoint")
        until = time.monotonic() + 60
        while not endpoint.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the server did not start: " + self.log_text())
            time.sleep(0.05)
        self.endpoint = endpoint.read_text()

    def log_text(self):
        return pathlib.Path(self.directory, "server.log").read_text()

    def kubeconfig(self, token):
        path = os.path.join(self.directory, "kubeconfig-" + token)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "neap",
            "clusters": [
                {
                    "name": "neap",
                    "cluster": {"server": self.endpoint, "certificate-authority": self.directory + "/ca.pem"},
                }
            ],
            "users": [{"name": token, "user": {"token": token}}],
            "contexts": [{"name": "neap", "context": {"cluster": "neap", "user": token}}],
        }
        pathlib.Path(path).write_text(json.dumps(config))
        return path

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        self.log.close()
        text = self.log_text()
        shutil.rmtree(self.directory)
        if code != 0:
            raise RuntimeError("the server ended with %d: %s" % (code, text))


class Done:
    def __init__(self, process):
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr


class KubectlTest(unittest.TestCase):
    counter = 0

    def setUp(self):
        KubectlTest.counter += 1
        self.ns = "t%d" % KubectlTest.counter
        self.files = tempfile.TemporaryDirectory()
        self.addCleanup(self.files.cleanup)
        self.run_ok("create", "namespace", self.ns)

    def environment(self, token, extra):
        home = os.path.join(SERVER.directory, "home")
        os.makedirs(home, exist_ok=True)
        return {"KUBECONFIG": SERVER.kubeconfig(token), "HOME": home, "PATH": os.environ["PATH"], **(extra or {})}

    def kubectl(self, *words, stdin=None, token="admin-token", env=None):
        namespace = ["-n", self.ns] if words[0] != "create" or words[1] != "namespace" else []
        process = subprocess.run(
            [ARGUMENTS.kubectl, *namespace, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment(token, env),
        )
        return Done(process)

    def run_ok(self, *words, **options):
        done = self.kubectl(*words, **options)
        self.assertEqual(done.code, 0, "kubectl %s\n%s%s" % (" ".join(words), done.out, done.err))
        return done.out

    def start(self, *words, env=None):
        return subprocess.Popen(
            [ARGUMENTS.kubectl, "-n", self.ns, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment("admin-token", env),
        )

    def write(self, text, name="file.yaml"):
        path = os.path.join(self.files.name, name)
        pathlib.Path(path).write_text(text)
        return path

    def job(self, name="mnist", replicas=1):
        return self.write(JOB.format(name=name, replicas=replicas), name + ".yaml")

    def get(self, kind, name):
        return json.loads(self.run_ok("get", kind, name, "-o", "json"))


class EveryVersion(KubectlTest):
    def test_get_prints_the_columns_of_the_kind(self):
        self.run_ok("apply", "-f", self.job())
        lines = self.run_ok("get", "trainingjobs").splitlines()
        self.assertEqual(lines[0].split()[:2], ["NAME", "PHASE"])
        self.assertIn("AGE", lines[0])
        self.assertTrue(lines[1].startswith("mnist"))
        self.assertEqual(self.run_ok("get", "trainingjobs", "-o", "name"), "trainingjob.neap.dev/mnist\n")
        self.assertEqual(self.run_ok("get", "trainingjob", "mnist", "-o", "jsonpath={.spec.resources.cpu}"), "500m")
        self.assertIn("kind: List", self.run_ok("get", "trainingjobs", "-o", "yaml"))
        self.assertIn(self.ns, self.run_ok("get", "trainingjobs", "-A"))

    def test_apply_creates_then_does_nothing_then_configures(self):
        self.assertEqual(self.run_ok("apply", "-f", self.job()), "trainingjob.neap.dev/mnist created\n")
        before = self.get("trainingjob", "mnist")["metadata"]["resourceVersion"]
        self.assertEqual(self.run_ok("apply", "-f", self.job()), "trainingjob.neap.dev/mnist unchanged\n")
        self.assertEqual(self.get("trainingjob", "mnist")["metadata"]["resourceVersion"], before)
        self.assertEqual(self.run_ok("apply", "-f", self.job(replicas=3)), "trainingjob.neap.dev/mnist configured\n")
        self.assertEqual(self.get("trainingjob", "mnist")["spec"]["replicas"], 3)

    def test_a_built_in_kind_is_applied_edited_and_labelled_by_strategic_patches(self):
        text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '2'}\n"
        self.assertIn("created", self.run_ok("apply", "-f", self.write(text)))
        self.assertIn("unchanged", self.run_ok("apply", "-f", self.write(text)))
        self.assertIn("configured", self.run_ok("apply", "-f", self.write(text.replace(", b: '2'", ""))))
        self.assertEqual(self.get("configmap", "c")["data"], {"a": "1"})
        self.run_ok("patch", "configmap", "c", "-p", '{"data":{"z":"9"}}')
        self.run_ok("label", "configmap", "c", "x=y")
        self.assertEqual(self.get("configmap", "c")["metadata"]["labels"], {"x": "y"})

    def test_describe_shows_spec_and_events(self):
        self.run_ok("apply", "-f", self.job())
        uid = self.get("trainingjob", "mnist")["metadata"]["uid"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "mnist.1"},
            "involvedObject": {"kind": "TrainingJob", "namespace": self.ns, "name": "mnist", "uid": uid},
            "reason": "Placed",
            "message": "on the cheapest site",
            "type": "Normal",
            "count": 1,
        }
        self.run_ok("create", "-f", self.write(json.dumps(event), "event.json"))
        text = self.run_ok("describe", "trainingjob", "mnist")
        self.assertIn("Replicas:", text)
        self.assertIn("on the cheapest site", text)

    def test_create_replace_and_delete(self):
        self.assertIn("created", self.run_ok("create", "-f", self.job()))
        again = self.kubectl("create", "-f", self.job())
        self.assertNotEqual(again.code, 0)
        self.assertIn('Error from server (AlreadyExists)', again.err)
        self.assertIn('trainingjobs.neap.dev "mnist" already exists', again.err)
        self.run_ok("replace", "-f", self.job(replicas=4))
        self.assertEqual(self.get("trainingjob", "mnist")["spec"]["replicas"], 4)
        self.assertIn('"mnist" deleted', self.run_ok("delete", "trainingjob", "mnist"))
        gone = self.kubectl("get", "trainingjob", "mnist")
        self.assertIn('Error from server (NotFound): trainingjobs.neap.dev "mnist" not found', gone.err)

    def test_delete_by_label_and_all(self):
        for name in ("a", "b", "c"):
            self.run_ok("apply", "-f", self.job(name))
        self.run_ok("label", "trainingjob", "a", "pick=me")
        self.run_ok("delete", "trainingjobs", "-l", "pick=me")
        self.assertEqual(self.run_ok("get", "trainingjobs", "-o", "name").split(),
                         ["trainingjob.neap.dev/b", "trainingjob.neap.dev/c"])
        self.run_ok("delete", "trainingjobs", "--all")
        self.assertEqual(self.run_ok("get", "trainingjobs", "-o", "name"), "")

    def test_patch_label_and_annotate(self):
        self.run_ok("apply", "-f", self.job())
        self.run_ok("patch", "trainingjob", "mnist", "--type=merge", "-p", '{"spec":{"replicas":7}}')
        self.run_ok("patch", "trainingjob", "mnist", "--type=json", "-p",
                    '[{"op":"add","path":"/spec/suspend","value":true}]')
        self.run_ok("label", "trainingjob", "mnist", "tier=gold")
        self.run_ok("annotate", "trainingjob", "mnist", "note=hello there")
        found = self.get("trainingjob", "mnist")
        self.assertEqual((found["spec"]["replicas"], found["spec"]["suspend"]), (7, True))
        self.assertEqual(found["metadata"]["labels"]["tier"], "gold")
        strategic = self.kubectl("patch", "trainingjob", "mnist", "-p", '{"spec":{"replicas":8}}')
        self.assertNotEqual(strategic.code, 0)
        self.assertIn("accepted media types include", strategic.err)

    def test_edit_changes_the_object_through_an_editor(self):
        self.run_ok("apply", "-f", self.job())
        editor = self.write("#!/bin/sh\nexec sed -i 's/replicas: 1/replicas: 6/' \"$1\"\n", "editor.sh")
        os.chmod(editor, 0o755)
        self.assertIn("edited", self.run_ok("edit", "trainingjob", "mnist", env={"KUBE_EDITOR": editor}))
        self.assertEqual(self.get("trainingjob", "mnist")["spec"]["replicas"], 6)

    def test_wait_sees_a_condition_that_becomes_true(self):
        self.run_ok("apply", "-f", self.job())
        waiting = self.start("wait", "trainingjob/mnist", "--for=condition=Complete", "--timeout=30s")
        time.sleep(1)
        self.set_status({"conditions": [{"type": "Complete", "status": "True"}]})
        out, err = waiting.communicate(timeout=40)
        self.assertEqual(waiting.returncode, 0, out + err)
        self.assertIn("condition met", out)

    def set_status(self, status, name="mnist"):
        path = "/apis/neap.dev/v1/namespaces/%s/trainingjobs/%s/status" % (self.ns, name)
        found = self.get("trainingjob", name)
        found["status"] = status
        self.run_ok("replace", "--raw", path, "-f", self.write(json.dumps(found), "status.json"))

    def test_get_w_follows_changes(self):
        self.run_ok("apply", "-f", self.job())
        watching = self.start("get", "trainingjobs", "-w")
        time.sleep(1.5)
        self.set_status({"phase": "Running"})
        self.run_ok("delete", "trainingjob", "mnist")
        time.sleep(1.0)
        watching.terminate()
        out, _ = watching.communicate(timeout=10)
        lines = out.splitlines()
        self.assertEqual(lines[0].split()[0], "NAME")
        self.assertGreaterEqual(len(lines), 4, out)
        self.assertTrue(any("Running" in line for line in lines), out)

    def test_finalizers_hold_a_delete_until_they_are_gone(self):
        self.run_ok("apply", "-f", self.job())
        self.run_ok("patch", "trainingjob", "mnist", "--type=merge", "-p", '{"metadata":{"finalizers":["neap.dev/x"]}}')
        deleting = self.start("delete", "trainingjob", "mnist")
        time.sleep(1)
        self.assertIsNone(deleting.poll())
        self.run_ok("patch", "trainingjob", "mnist", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        _, err = deleting.communicate(timeout=30)
        self.assertEqual(deleting.returncode, 0, err)

    def test_a_namespace_goes_with_its_content(self):
        self.run_ok("create", "namespace", self.ns + "-x")
        self.run_ok("apply", "-f", self.job())
        self.run_ok("delete", "namespace", self.ns)
        self.assertIn("NotFound", self.kubectl("get", "namespace", self.ns).err)

    def test_auth_can_i(self):
        self.assertEqual(self.run_ok("auth", "can-i", "create", "trainingjobs"), "yes\n")
        refused = self.kubectl("auth", "can-i", "create", "trainingjobs", token="viewer-token")
        self.assertEqual((refused.code, refused.out), (1, "no\n"))
        self.assertIn("*.*", self.run_ok("auth", "can-i", "--list"))

    def test_who_may_not_is_told_so(self):
        refused = self.kubectl("get", "trainingjobs", token="viewer-token")
        self.assertIn('Error from server (Forbidden): trainingjobs.neap.dev is forbidden: User "viewer" cannot list '
                      'resource "trainingjobs" in API group "neap.dev" in the namespace "%s"' % self.ns, refused.err)

    def test_bad_input_is_refused_with_a_reason(self):
        good = JOB.format(name="x", replicas=1)
        cases = [
            (good.replace("replicas: 1", "replicas: 0"), "spec.replicas"),
            (good.replace("name: x", "name: Bad_Name"), "metadata.name"),
            (good.replace("cpu: 500m", "cpu: lots"), "spec.resources.cpu"),
            (good.replace("kind: TrainingJob", "kind: Nonsense"), "Nonsense"),
            (good.replace("apiVersion: neap.dev/v1", "apiVersion: neap.dev/v7"), "v7"),
        ]
        for text, expected in cases:
            done = self.kubectl("create", "--validate=false", "-f", self.write(text))
            self.assertNotEqual(done.code, 0, text)
            self.assertIn(expected, done.err)

    def test_scale_changes_replicas(self):
        text = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}]}}
"""
        self.run_ok("apply", "-f", self.write(text))
        self.run_ok("scale", "deployment/web", "--replicas=5")
        self.assertEqual(self.get("deployment", "web")["spec"]["replicas"], 5)

    def test_raw_requests_reach_subresources_and_health(self):
        self.assertEqual(self.run_ok("get", "--raw", "/readyz"), "ok")
        path = "/apis/neap.dev/v1/namespaces/%s/trainingjobs/any/explain" % self.ns
        self.assertIn("Explanation", self.run_ok("get", "--raw", path))


class Newest(KubectlTest):
    # Before 1.27 the client looks for dry-run support in OpenAPI v2, which the server does not describe itself by.
    def test_dry_run_on_the_server_stores_nothing(self):
        self.assertIn("created (server dry run)", self.run_ok("apply", "--dry-run=server", "-f", self.job()))
        self.assertIn("NotFound", self.kubectl("get", "trainingjob", "mnist").err)

    def test_diff_shows_what_would_change(self):
        self.run_ok("apply", "-f", self.job())
        self.assertEqual(self.kubectl("diff", "-f", self.job()).code, 0)
        changed = self.kubectl("diff", "-f", self.job(replicas=9))
        self.assertEqual(changed.code, 1, changed.err)
        self.assertIn("+  replicas: 9", changed.out)

    def test_explain_reads_the_documentation_of_a_field(self):
        text = self.run_ok("explain", "trainingjob.spec.replicas")
        self.assertIn("Members of the gang.", text)
        self.assertIn("checkpoint", self.run_ok("explain", "trainingjob.spec", "--recursive"))

    def test_strict_validation_names_the_unknown_field(self):
        text = JOB.format(name="x", replicas=1) + "  replicaz: 2\n"
        refused = self.kubectl("apply", "-f", self.write(text))
        self.assertNotEqual(refused.code, 0)
        self.assertIn('strict decoding error: unknown field "spec.replicaz"', refused.err)
        warned = self.kubectl("apply", "--validate=warn", "-f", self.write(text))
        self.assertEqual(warned.code, 0, warned.err)
        self.assertIn('Warning: unknown field "spec.replicaz"', warned.err)

    def test_server_side_apply_and_its_conflicts(self):
        self.assertIn("serverside-applied", self.run_ok("apply", "--server-side", "-f", self.job(replicas=2)))
        refused = self.kubectl("apply", "--server-side", "--field-manager=other", "-f", self.job(replicas=5))
        self.assertNotEqual(refused.code, 0)
        self.assertIn('conflict with "kubectl"', refused.err)
        self.assertIn(".spec.replicas", refused.err)
        self.run_ok("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", self.job(replicas=5))
        self.assertEqual(self.get("trainingjob", "mnist")["spec"]["replicas"], 5)

    def test_client_side_apply_then_server_side(self):
        self.run_ok("apply", "-f", self.job())
        self.assertIn("serverside-applied", self.run_ok("apply", "--server-side", "-f", self.job(replicas=2)))

    def test_typed_creates_come_as_protobuf(self):
        self.run_ok("create", "configmap", "c", "--from-literal=k=v")
        self.assertEqual(self.get("configmap", "c")["data"], {"k": "v"})
        self.run_ok("create", "secret", "generic", "s", "--from-literal=k=v")
        self.assertEqual(self.get("secret", "s")["data"], {"k": "dg=="})
        self.run_ok("create", "serviceaccount", "robot")
        self.run_ok("create", "role", "r", "--verb=get", "--resource=trainingjobs")
        self.run_ok("create", "rolebinding", "b", "--role=r", "--user=viewer")
        self.assertEqual(self.get("role", "r")["rules"][0]["resources"], ["trainingjobs"])

    def test_a_role_binding_gives_what_it_says_and_no_more(self):
        self.run_ok("apply", "-f", self.job())
        self.run_ok("create", "role", "r", "--verb=get,list", "--resource=trainingjobs.neap.dev")
        self.run_ok("create", "rolebinding", "b", "--role=r", "--user=viewer")
        self.assertIn("mnist", self.run_ok("get", "trainingjobs", token="viewer-token"))
        refused = self.kubectl("delete", "trainingjob", "mnist", token="viewer-token")
        self.assertIn("Forbidden", refused.err)

    def test_whoami(self):
        self.assertIn("viewer", self.run_ok("auth", "whoami", token="viewer-token"))

    def test_wait_by_watch_list_needs_one_request(self):
        self.run_ok("apply", "-f", self.job())
        waiting = self.start("wait", "trainingjob/mnist", "--for=jsonpath={.spec.replicas}=3", "--timeout=30s",
                             env={"KUBE_FEATURE_WatchListClient": "true"})
        time.sleep(1)
        self.run_ok("patch", "trainingjob", "mnist", "--type=merge", "-p", '{"spec":{"replicas":3}}')
        out, err = waiting.communicate(timeout=40)
        self.assertEqual(waiting.returncode, 0, out + err)
        self.assertNotIn("watchlist", err.lower())

    def test_wait_for_create(self):
        waiting = self.start("wait", "trainingjob/mnist", "--for=create", "--timeout=30s")
        time.sleep(1)
        self.run_ok("apply", "-f", self.job())
        out, err = waiting.communicate(timeout=40)
        self.assertEqual(waiting.returncode, 0, out + err)

    def test_api_resources_list_ours_first_to_last(self):
        text = self.run_ok("api-resources", "--api-group=neap.dev")
        for plural in ("trainingjobs", "sites", "nodes", "deploymentstrategies", "inferenceservices"):
            self.assertIn(plural, text)
        self.assertIn("v1.33.0-neap", self.run_ok("get", "--raw", "/version"))


def main():
    global ARGUMENTS, SERVER
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", choices=["newest", "1.20"], default="newest")
    parser.add_argument("--server", required=True)
    parser.add_argument("--dependencies", required=True)
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--only", default="")
    ARGUMENTS = parser.parse_args()
    ARGUMENTS.kubectl = os.path.join(ARGUMENTS.dependencies, "kubectl-" + ARGUMENTS.version, "kubectl")
    if not os.access(ARGUMENTS.kubectl, os.X_OK):
        sys.exit("%s is missing; run tools/bootstrap_kubectl.sh" % ARGUMENTS.kubectl)
    SERVER = Server(ARGUMENTS.server, ARGUMENTS.store)
    loader = unittest.TestLoader()
    if ARGUMENTS.only:
        loader.testNamePatterns = ["*%s*" % ARGUMENTS.only]
    suite = unittest.TestSuite()
    for case in [EveryVersion] + ([Newest] if ARGUMENTS.version == "newest" else []):
        suite.addTests(loader.loadTestsFromTestCase(case))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    if not result.wasSuccessful():
        print(SERVER.log_text())
    SERVER.stop()
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
