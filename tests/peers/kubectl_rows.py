"""The rows of docs/reference/kubectl.md: one thing people do with kubectl each, done with a real one.

A row is a function of a Kubectl. Returning is "works", returning a text is "refused" with that message,
raising Absent says that this version of kubectl does not have the command, any assertion is "no".
"""

import json
import time

ROWS = []


class Absent(Exception):
    """This version of kubectl has no such command or flag."""


def row(group, title, since=None):
    """`since`: the first minor version of kubectl that has the command."""

    def keep(function):
        ROWS.append((group, title, since, function))
        return function

    return keep


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
  suspend: true
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: registry.invalid/main:1
        env:
        - {name: A, value: "1"}
        - {name: B, value: "2"}
        ports: [{containerPort: 80}]
      - {name: side, image: "registry.invalid/side:1"}
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {app: x}}\ndata: {a: '1', b: '2'}\n"


def check(condition, *said):
    if not condition:
        raise AssertionError(" ".join(str(word) for word in said) or "not as expected")


def contains(text, *words):
    for word in words:
        check(word in text, "missing %r in:\n%s" % (word, text))


def job(k, name="mnist", replicas=1):
    return k.write(JOB.format(name=name, replicas=replicas), name + ".yaml")


def apply_job(k, name="mnist", replicas=1):
    k.ok("apply", "-f", job(k, name, replicas))


# --- reading


@row("discovery", "`api-resources`, `api-versions`")
def api_resources(k):
    contains(k.ok("api-resources", "--api-group=neap.dev"), "trainingjobs", "sites", "inferenceservices")
    contains(k.ok("api-resources"), "configmaps", "deployments", "resourcequotas", "leases")
    contains(k.ok("api-versions"), "neap.dev/v1", "apps/v1", "batch/v1", "authorization.k8s.io/v1")


@row("discovery", "`version`, `cluster-info`")
def version(k):
    contains(k.ok("version"), "erver")
    contains(k.ok("cluster-info"), "running at")


@row("read", "`get` with the kind's columns, one object and a list")
def get_table(k):
    apply_job(k)
    lines = k.ok("get", "trainingjobs").splitlines()
    check(lines[0].split()[:2] == ["NAME", "PHASE"] and lines[0].endswith("AGE"), lines[0])
    check(k.ok("get", "trainingjob", "mnist").splitlines()[1].startswith("mnist"))
    contains(k.ok("get", "tj"), "mnist")


@row("read", "`get -o wide`")
def get_wide(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    check("IMAGES" not in k.ok("get", "deployments"))
    contains(k.ok("get", "deployments", "-o", "wide"), "IMAGES", "registry.invalid/main:1")


@row("read", "`get --sort-by`, `--show-labels`, `-L`")
def get_sorted(k):
    apply_job(k, "b", 1)
    apply_job(k, "a", 2)
    lines = k.ok("get", "trainingjobs", "--sort-by=.spec.replicas").splitlines()
    check(lines[1].startswith("b") and lines[2].startswith("a"), lines)
    contains(k.ok("get", "trainingjobs", "--show-labels"), "team=vision")
    contains(k.ok("get", "trainingjobs", "-L", "team"), "TEAM", "vision")


@row("read", "`get --chunk-size` follows `continue`")
def get_chunks(k):
    documents = [CONFIG.replace("name: c,", "name: c%d," % i) for i in range(7)]
    k.ok("apply", "-f", k.write("---\n".join(documents)))
    check(len(k.ok("get", "configmaps", "--chunk-size=2", "-o", "name").split()) == 7)
    check(len(k.ok("get", "configmaps", "--chunk-size=3").splitlines()) == 8)


@row("read", "`get -A`, `get all`")
def get_everywhere(k):
    apply_job(k)
    contains(k.ok("get", "trainingjobs", "-A"), "NAMESPACE", k.ns)
    contains(k.ok("get", "all"), "trainingjob.neap.dev/mnist")


@row("read", "`get -o yaml`, `json`, `jsonpath`, `name`, `custom-columns`, `go-template`")
def get_outputs(k):
    apply_job(k)
    contains(k.ok("get", "trainingjobs", "-o", "yaml"), "kind: List", "name: mnist")
    check(json.loads(k.ok("get", "trainingjob", "mnist", "-o", "json"))["kind"] == "TrainingJob")
    check(k.ok("get", "trainingjob", "mnist", "-o", "jsonpath={.spec.resources.cpu}") == "500m")
    check(k.ok("get", "trainingjobs", "-o", "name") == "trainingjob.neap.dev/mnist\n")
    contains(k.ok("get", "trainingjobs", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas"), "N", "R", "mnist")
    check(k.ok("get", "trainingjob", "mnist", "-o", "go-template={{.spec.replicas}}") == "1")


@row("read", "`get -l`, `--field-selector`; an unknown field is refused")
def get_selected(k):
    apply_job(k, "a")
    apply_job(k, "b")
    k.ok("label", "trainingjob", "a", "tier=gold")
    for selector in ("tier=gold", "tier in (gold,silver)", "tier", "team=vision,tier!=silver,tier"):
        check(k.ok("get", "trainingjobs", "-l", selector, "-o", "name") == "trainingjob.neap.dev/a\n", selector)
    check(k.ok("get", "trainingjobs", "-l", "!tier", "-o", "name") == "trainingjob.neap.dev/b\n")
    check(k.ok("get", "tj", "--field-selector=metadata.name=b", "-o", "name") == "trainingjob.neap.dev/b\n")
    contains(k.refused("get", "tj", "--field-selector=spec.nothing=b"), "field label not supported")


@row("read", "`get -w`")
def get_watch(k):
    apply_job(k)
    watching = k.start("get", "trainingjobs", "-w")
    k.until_output(watching, "mnist")
    k.ok("delete", "trainingjob", "mnist")
    k.until_output(watching, "mnist", times=2)


@row("read", "`get --subresource=status`", since=24)
def get_subresource(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    contains(k.ok("get", "deployment", "web", "--subresource=scale"), "web")
    contains(k.ok("get", "deployment", "web", "--subresource=status", "-o", "name"), "deployment.apps/web")


@row("read", "`describe` with events; `get events`")
def describe(k):
    apply_job(k)
    uid = k.object("trainingjob", "mnist")["metadata"]["uid"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "mnist.1"},
        "involvedObject": {"kind": "TrainingJob", "namespace": k.ns, "name": "mnist", "uid": uid},
        "reason": "Placed",
        "message": "on the cheapest site",
        "type": "Normal",
        "count": 1,
    }
    k.ok("create", "-f", k.write(json.dumps(event), "event.json"))
    contains(k.ok("describe", "trainingjob", "mnist"), "Replicas:", "on the cheapest site", "Placed")
    contains(k.ok("get", "events"), "Placed")


@row("read", "`describe` of a built-in kind")
def describe_builtin(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    contains(k.ok("describe", "deployment", "web"), "registry.invalid/main:1", "Selector:")
    contains(k.ok("describe", "namespace", k.ns), "Active")


@row("read", "`events`", since=26)
def events(k):
    apply_job(k)
    k.ok("events")
    k.ok("events", "--for", "trainingjob.neap.dev/mnist")


@row("read", "`explain`, also with `--recursive`")
def explain(k):
    contains(k.ok("explain", "trainingjob.spec.replicas"), "Members of the gang.")
    contains(k.ok("explain", "trainingjob.spec", "--recursive"), "checkpoint")
    contains(k.ok("explain", "deployment.spec.template.spec.containers.image"), "OCI image.")


# --- writing


@row("write", "`create -f`; a second time is AlreadyExists")
def create(k):
    contains(k.ok("create", "-f", job(k)), "created")
    contains(k.refused("create", "-f", job(k)), "(AlreadyExists)", 'trainingjobs.neap.dev "mnist" already exists')


@row("write", "`apply`: created, unchanged, configured")
def apply(k):
    check(k.ok("apply", "-f", job(k)) == "trainingjob.neap.dev/mnist created\n")
    before = k.object("trainingjob", "mnist")["metadata"]["resourceVersion"]
    check(k.ok("apply", "-f", job(k)) == "trainingjob.neap.dev/mnist unchanged\n")
    check(k.object("trainingjob", "mnist")["metadata"]["resourceVersion"] == before)
    check(k.ok("apply", "-f", job(k, replicas=3)) == "trainingjob.neap.dev/mnist configured\n")
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 3)


@row("write", "`apply` of a built-in kind: strategic merge keeps what others wrote, by list key")
def apply_builtin(k):
    contains(k.ok("apply", "-f", k.write(DEPLOYMENT)), "created")
    contains(k.ok("apply", "-f", k.write(DEPLOYMENT)), "unchanged")
    k.ok("patch", "deployment", "web", "--type=json", "-p",
         '[{"op":"add","path":"/spec/template/spec/containers/0/env/-","value":{"name":"C","value":"3"}},'
         '{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"injected","image":"registry.invalid/x:1"}}]')
    text = DEPLOYMENT.replace("main:1", "main:2").replace('        - {name: B, value: "2"}\n', "")
    contains(k.ok("apply", "-f", k.write(text)), "configured")
    containers = k.object("deployment", "web")["spec"]["template"]["spec"]["containers"]
    names = [one["name"] for one in containers]
    check(sorted(names) == ["injected", "main", "side"], names)
    main = next(one for one in containers if one["name"] == "main")
    check(main["image"] == "registry.invalid/main:2", main)
    check(sorted(one["name"] for one in main["env"]) == ["A", "C"], main["env"])


@row("write", "`apply --server-side`: two managers, conflict, `--force-conflicts`")
def apply_server_side(k):
    contains(k.ok("apply", "--server-side", "-f", job(k, replicas=2)), "serverside-applied")
    refused = k.refused("apply", "--server-side", "--field-manager=other", "-f", job(k, replicas=5))
    contains(refused, 'conflict with "kubectl"', ".spec.replicas")
    k.ok("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", job(k, replicas=5))
    found = k.object("trainingjob", "mnist", managed=True)
    check(found["spec"]["replicas"] == 5)
    owners = {e["manager"]: e for e in found["metadata"]["managedFields"] if e["operation"] == "Apply"}
    check("f:replicas" in owners["other"]["fieldsV1"]["f:spec"], owners)
    check("f:replicas" not in owners["kubectl"]["fieldsV1"]["f:spec"], owners)


@row("write", "`apply --server-side` of list elements by key; what a manager stops naming goes")
def apply_server_side_lists(k):
    k.ok("apply", "--server-side", "-f", k.write(DEPLOYMENT))
    other = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: main, env: [{name: C, value: "3"}]}]}}}
"""
    k.ok("apply", "--server-side", "--field-manager=other", "-f", k.write(other, "other.yaml"))
    main = k.object("deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    check([one["name"] for one in main["env"]] == ["A", "B", "C"], main)
    k.ok("apply", "--server-side", "-f", k.write(DEPLOYMENT.replace('        - {name: B, value: "2"}\n', "")))
    main = k.object("deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    check([one["name"] for one in main["env"]] == ["A", "C"], main)


@row("write", "client-side `apply`, then `--server-side`: ownership moves over", since=26)
def apply_migrates(k):
    apply_job(k)
    contains(k.ok("apply", "--server-side", "-f", job(k, replicas=2)), "serverside-applied")
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 2)


@row("write", "an edit after `apply --server-side` conflicts with the next apply")
def edit_conflicts(k):
    k.ok("apply", "--server-side", "-f", job(k, replicas=2))
    k.ok("patch", "tj", "mnist", "--type=merge", "-p", '{"spec":{"replicas":4}}')
    contains(k.refused("apply", "--server-side", "-f", job(k, replicas=2)), "conflict with \"kubectl-patch\"")


@row("write", "`create`, then `apply --server-side` by another manager conflicts")
def create_conflicts(k):
    k.ok("create", "-f", job(k, replicas=2))
    contains(k.refused("apply", "--server-side", "--field-manager=other", "-f", job(k, replicas=5)),
             'conflict with "kubectl-create"', ".spec.replicas")


@row("write", "`apply --prune`")
def prune(k):
    both = CONFIG + "---\n" + CONFIG.replace("name: c,", "name: d,")
    k.ok("apply", "-f", k.write(both))
    words = ["apply", "--prune", "-l", "app=x", "-n", k.ns, "-f", k.write(CONFIG)]
    flag = "--prune-whitelist" if k.minor < 26 else "--prune-allowlist"
    contains(k.ok(*words, flag + "=core/v1/ConfigMap"), "configmap/d pruned")
    check(k.ok("get", "configmaps", "-o", "name") == "configmap/c\n")


@row("write", "`diff`")
def diff(k):
    apply_job(k)
    check(k.run("diff", "-f", job(k)).code == 0)
    changed = k.run("diff", "-f", job(k, replicas=9))
    check(changed.code == 1, changed.err)
    contains(changed.out, "+  replicas: 9")
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 1)


@row("write", "`--dry-run=server`: create, apply, patch, delete store nothing")
def dry_run(k):
    contains(k.ok("create", "--dry-run=server", "-f", job(k)), "created (server dry run)")
    contains(k.ok("apply", "--dry-run=server", "-f", job(k)), "created (server dry run)")
    contains(k.refused("get", "trainingjob", "mnist"), "NotFound")
    apply_job(k)
    k.ok("label", "trainingjob", "mnist", "a=b", "--dry-run=server")
    k.ok("delete", "trainingjob", "mnist", "--dry-run=server")
    check("a" not in k.object("trainingjob", "mnist")["metadata"]["labels"])


@row("write", "`edit`, of our kinds and of built-in ones")
def edit(k):
    apply_job(k)
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    editor = k.program("#!/bin/sh\nexec sed -i -e 's/replicas: 1/replicas: 6/' -e 's/main:1/main:7/' \"$1\"\n")
    contains(k.ok("edit", "trainingjob", "mnist", env={"KUBE_EDITOR": editor}), "edited")
    contains(k.ok("edit", "deployment", "web", env={"KUBE_EDITOR": editor}), "edited")
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 6)
    containers = k.object("deployment", "web")["spec"]["template"]["spec"]["containers"]
    check([one["image"] for one in containers] == ["registry.invalid/main:7", "registry.invalid/side:1"])


@row("write", "`patch --type=merge` and `--type=json`")
def patch(k):
    apply_job(k)
    k.ok("patch", "tj", "mnist", "--type=merge", "-p", '{"spec":{"replicas":7}}')
    k.ok("patch", "tj", "mnist", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":8}]')
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 8)


@row("write", "`patch` (strategic) of a built-in kind: by key, `$patch: delete`, `$setElementOrder`")
def patch_strategic(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    body = {"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "side"}, {"name": "main"}],
        "containers": [{"name": "main", "env": [{"name": "A", "$patch": "delete"}, {"name": "Z", "value": "9"}]}],
        "tolerations": [{"key": "spot", "operator": "Exists"}]}}}}
    k.ok("patch", "deployment", "web", "-p", json.dumps(body))
    spec = k.object("deployment", "web")["spec"]["template"]["spec"]
    check([one["name"] for one in spec["containers"]] == ["side", "main"], spec)
    check([one["name"] for one in spec["containers"][1]["env"]] == ["B", "Z"], spec)
    check(spec["tolerations"][0]["key"] == "spot")


@row("write", "`patch` (strategic, the default) of our kinds")
def patch_custom(k):
    apply_job(k)
    text = k.refused("patch", "trainingjob", "mnist", "-p", '{"spec":{"replicas":8}}')
    contains(text, "accepted media types include")
    return "as custom resources do; use `--type=merge`"


@row("write", "`patch --subresource=status`", since=24)
def patch_status(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    generation = k.object("deployment", "web")["metadata"]["generation"]
    k.ok("patch", "deployment", "web", "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":3}}')
    found = k.object("deployment", "web")
    check(found["status"]["replicas"] == 3 and found["metadata"]["generation"] == generation)


@row("write", "`scale`, also with `--current-replicas`")
def scale(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    k.ok("scale", "deployment/web", "--replicas=5")
    check(k.object("deployment", "web")["spec"]["replicas"] == 5)
    k.ok("scale", "deployment/web", "--current-replicas=5", "--replicas=6")
    check(k.object("deployment", "web")["spec"]["replicas"] == 6)
    k.refused("scale", "deployment/web", "--current-replicas=5", "--replicas=7")


@row("write", "`scale` of a TrainingJob")
def scale_training(k):
    apply_job(k, replicas=2)
    k.ok("scale", "trainingjob/mnist", "--replicas=3")
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 3)


@row("write", "`label`, `annotate`, also `--overwrite`, removal, `--all`")
def label(k):
    apply_job(k)
    k.ok("label", "tj", "mnist", "tier=gold")
    k.refused("label", "tj", "mnist", "tier=silver")
    k.ok("label", "tj", "mnist", "tier=silver", "--overwrite")
    k.ok("annotate", "tj", "mnist", "note=hello there")
    k.ok("label", "tj", "--all", "team-")
    metadata = k.object("trainingjob", "mnist")["metadata"]
    check(metadata["labels"] == {"tier": "silver"} and metadata["annotations"]["note"] == "hello there", metadata)


@row("write", "`set image`, `set env`, `rollout history` untouched")
def set_image(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    k.ok("set", "image", "deployment/web", "main=registry.invalid/main:9")
    k.ok("set", "env", "deployment/web", "-c", "main", "D=4", "A-")
    main = k.object("deployment", "web")["spec"]["template"]["spec"]["containers"][0]
    check(main["image"].endswith("main:9"), main)
    check([one["name"] for one in main["env"]] == ["B", "D"], main)


@row("write", "`replace`; a stale resourceVersion is a Conflict")
def replace(k):
    apply_job(k)
    stale = k.object("trainingjob", "mnist")
    k.ok("replace", "-f", job(k, replicas=4))
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 4)
    contains(k.refused("replace", "-f", k.write(json.dumps(stale), "stale.json")), "(Conflict)", "the object has been modified")


@row("write", "`replace --force`")
def replace_force(k):
    apply_job(k)
    before = k.object("trainingjob", "mnist")["metadata"]["uid"]
    k.ok("replace", "--force", "-f", job(k, replicas=5))
    after = k.object("trainingjob", "mnist")
    check(after["spec"]["replicas"] == 5 and after["metadata"]["uid"] != before)


def owned(k, owner):
    metadata = k.object("configmap", owner)["metadata"]
    text = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: child
  ownerReferences:
  - {apiVersion: v1, kind: ConfigMap, name: %s, uid: "%s", blockOwnerDeletion: true, controller: true}
""" % (owner, metadata["uid"])
    k.ok("create", "-f", k.write(text, "child.yaml"))


@row("delete", "`delete` in the background: dependents follow")
def delete_background(k):
    k.ok("create", "configmap", "owner")
    owned(k, "owner")
    contains(k.ok("delete", "configmap", "owner"), "deleted")
    k.until(lambda: k.run("get", "configmap", "child").code != 0)


@row("delete", "`delete --cascade=foreground`: dependents first")
def delete_foreground(k):
    k.ok("create", "configmap", "owner")
    owned(k, "owner")
    k.ok("delete", "configmap", "owner", "--cascade=foreground")
    contains(k.refused("get", "configmap", "child"), "NotFound")


@row("delete", "`delete --cascade=orphan`: dependents stay, without the reference")
def delete_orphan(k):
    k.ok("create", "configmap", "owner")
    owned(k, "owner")
    k.ok("delete", "configmap", "owner", "--cascade=orphan")
    check("ownerReferences" not in k.object("configmap", "child")["metadata"])
    time.sleep(0.7)
    k.ok("get", "configmap", "child")


@row("delete", "`delete -l`, `--all`, `-f`, `--now`, `--ignore-not-found`")
def delete_many(k):
    for name in ("a", "b", "c", "d"):
        apply_job(k, name)
    k.ok("label", "tj", "a", "pick=me")
    k.ok("delete", "tj", "-l", "pick=me")
    k.ok("delete", "-f", job(k, "b"))
    k.ok("delete", "tj", "c", "--now")
    check(k.ok("get", "tj", "-o", "name") == "trainingjob.neap.dev/d\n")
    k.ok("delete", "tj", "--all")
    k.ok("delete", "tj", "d", "--ignore-not-found")
    check(k.ok("get", "tj", "-o", "name") == "")


@row("delete", "finalizers hold a `delete` until they are gone")
def finalizers(k):
    apply_job(k)
    k.ok("patch", "tj", "mnist", "--type=merge", "-p", '{"metadata":{"finalizers":["neap.dev/x"]}}')
    deleting = k.start("delete", "tj", "mnist")
    k.until(lambda: "deletionTimestamp" in k.object("trainingjob", "mnist")["metadata"])
    check(deleting.poll() is None)
    k.ok("patch", "tj", "mnist", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    check(deleting.wait(timeout=30) == 0)


@row("delete", "`delete namespace` empties it first")
def delete_namespace(k):
    k.ok("create", "namespace", k.ns + "-x")
    k.ok("apply", "-n", k.ns + "-x", "-f", k.write(CONFIG))
    k.ok("delete", "namespace", k.ns + "-x")
    contains(k.refused("get", "namespace", k.ns + "-x"), "NotFound")


# --- waiting


@row("wait", "`wait --for=condition`")
def wait_condition(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    waiting = k.start("wait", "deployment/web", "--for=condition=Done", "--timeout=30s")
    time.sleep(0.7)
    found = k.object("deployment", "web")
    found["status"] = {"conditions": [{"type": "Done", "status": "True"}]}
    path = "/apis/apps/v1/namespaces/%s/deployments/web/status" % k.ns
    k.ok("replace", "--raw", path, "-f", k.write(json.dumps(found), "status.json"))
    check(waiting.wait(timeout=40) == 0, k.err_of(waiting))


@row("wait", "`wait --for=delete`")
def wait_delete(k):
    k.ok("apply", "-f", k.write(CONFIG))
    waiting = k.start("wait", "configmap/c", "--for=delete", "--timeout=30s")
    time.sleep(0.7)
    k.ok("delete", "configmap", "c")
    check(waiting.wait(timeout=40) == 0, k.err_of(waiting))


@row("wait", "`wait --for=jsonpath`", since=23)
def wait_jsonpath(k):
    apply_job(k)
    waiting = k.start("wait", "tj/mnist", "--for=jsonpath={.spec.replicas}=3", "--timeout=30s")
    time.sleep(0.7)
    k.ok("patch", "tj", "mnist", "--type=merge", "-p", '{"spec":{"replicas":3}}')
    check(waiting.wait(timeout=40) == 0, k.err_of(waiting))


@row("wait", "`wait --for=create`", since=31)
def wait_create(k):
    waiting = k.start("wait", "configmap/c", "--for=create", "--timeout=30s")
    time.sleep(0.7)
    k.ok("apply", "-f", k.write(CONFIG))
    check(waiting.wait(timeout=40) == 0, k.err_of(waiting))


@row("wait", "`rollout status` of a Deployment whose status says it is done")
def rollout_status(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    found = k.object("deployment", "web")
    found["status"] = {"observedGeneration": 1, "replicas": 0, "updatedReplicas": 0, "availableReplicas": 0}
    path = "/apis/apps/v1/namespaces/%s/deployments/web/status" % k.ns
    k.ok("replace", "--raw", path, "-f", k.write(json.dumps(found), "status.json"))
    contains(k.ok("rollout", "status", "deployment/web", "--timeout=20s"), "successfully rolled out")


# --- validation


@row("validation", "`--validate=true` (Strict) names the unknown field")
def strict(k):
    refused = k.refused("apply", "-f", k.write(JOB.format(name="x", replicas=1) + "  replicaz: 2\n"))
    contains(refused, "unknown field", "replicaz")


@row("validation", "`--validate=warn` and `ignore`", since=25)
def warn(k):
    text = JOB.format(name="x", replicas=1) + "  replicaz: 2\n"
    warned = k.run("apply", "--validate=warn", "-f", k.write(text))
    check(warned.code == 0, warned.err)
    contains(warned.err, 'Warning: unknown field "spec.replicaz"')
    silent = k.run("create", "--validate=ignore", "-f", k.write(text.replace("name: x", "name: z")))
    check(silent.code == 0 and "Warning" not in silent.err, silent.err)


@row("validation", "bad values are refused with the field's path")
def invalid(k):
    good = JOB.format(name="x", replicas=1)
    for text, expected in [
        (good.replace("replicas: 1", "replicas: 0"), "spec.replicas"),
        (good.replace("name: x", "name: Bad_Name"), "metadata.name"),
        (good.replace("cpu: 500m", "cpu: lots"), "spec.resources.cpu"),
        (good.replace("kind: TrainingJob", "kind: Nonsense"), "Nonsense"),
        (good.replace("apiVersion: neap.dev/v1", "apiVersion: neap.dev/v7"), "v7"),
    ]:
        contains(k.refused("create", "--validate=false", "-f", k.write(text)), expected)


# --- rights


@row("auth", "`auth can-i`, `auth can-i --list`")
def can_i(k):
    check(k.ok("auth", "can-i", "create", "trainingjobs") == "yes\n")
    done = k.run("auth", "can-i", "create", "trainingjobs", as_user="nobody")
    check(done.out.strip().startswith("no"), done.out, done.err)
    contains(k.ok("auth", "can-i", "--list"), "*.*")


@row("auth", "`auth whoami`", since=27)
def whoami(k):
    contains(k.ok("auth", "whoami"), "admin")


@row("auth", "`--as`, `--as-group`: impersonation, for who may")
def impersonate(k):
    contains(k.refused("get", "trainingjobs", "--as=viewer"), 'User "viewer" cannot list resource "trainingjobs"')
    k.ok("create", "role", "r", "--verb=get,list", "--resource=trainingjobs.neap.dev")
    k.ok("create", "rolebinding", "b", "--role=r", "--user=viewer")
    k.ok("get", "trainingjobs", "--as=viewer")
    apply_job(k)
    contains(k.refused("delete", "tj", "mnist", "--as=viewer", "--as-group=dev"), "orbidden")


@row("auth", "`auth reconcile`")
def reconcile(k):
    text = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r, namespace: %s}
rules: [{apiGroups: [neap.dev], resources: [trainingjobs], verbs: [get]}]
"""
    k.ok("auth", "reconcile", "-f", k.write(text % k.ns))
    check(k.object("role", "r")["rules"][0]["verbs"] == ["get"])


@row("auth", "a ServiceAccount's token (`create token`) is let in as that account", since=24)
def create_token(k):
    k.ok("create", "serviceaccount", "robot")
    token = k.ok("create", "token", "robot", "--duration=20m").strip()
    refused = k.refused("get", "trainingjobs", token=token)
    contains(refused, 'User "system:serviceaccount:%s:robot"' % k.ns)
    k.ok("create", "role", "r", "--verb=get,list", "--resource=trainingjobs.neap.dev")
    k.ok("create", "rolebinding", "b", "--role=r", "--serviceaccount=%s:robot" % k.ns)
    k.ok("get", "trainingjobs", token=token)
    k.ok("delete", "serviceaccount", "robot")
    check(k.run("get", "trainingjobs", token=token).code != 0, "a deleted account's token was taken")


# --- typed creates (protobuf bodies from 1.32 on)


def typed(title, words, kind, name, verify=None, since=None):
    @row("create", title, since=since)
    def create_typed(k):
        text = k.ok("create", *[word.format(ns=k.ns) for word in words])
        contains(text, "created")
        found = k.object(kind, name.format(ns=k.ns))
        if verify:
            check(verify(found), json.dumps(found))

    return create_typed


typed("`create namespace`", ["namespace", "{ns}-y"], "namespace", "{ns}-y", lambda o: o["status"]["phase"] == "Active")
typed("`create configmap`", ["configmap", "c", "--from-literal=k=v"], "configmap", "c", lambda o: o["data"] == {"k": "v"})
typed("`create secret generic`", ["secret", "generic", "s", "--from-literal=k=v"], "secret", "s",
      lambda o: o["data"] == {"k": "dg=="} and o["type"] == "Opaque")
typed("`create secret docker-registry`",
      ["secret", "docker-registry", "s", "--docker-server=r.invalid", "--docker-username=u", "--docker-password=p"],
      "secret", "s", lambda o: o["type"] == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in o["data"])
typed("`create serviceaccount`", ["serviceaccount", "robot"], "serviceaccount", "robot")
typed("`create role`", ["role", "r", "--verb=get,list", "--resource=trainingjobs.neap.dev"], "role", "r",
      lambda o: o["rules"][0]["resources"] == ["trainingjobs"])
typed("`create rolebinding`", ["rolebinding", "b", "--clusterrole=view", "--user=u", "--group=g"], "rolebinding", "b",
      lambda o: [s["name"] for s in o["subjects"]] == ["u", "g"])
typed("`create clusterrole`", ["clusterrole", "{ns}-r", "--verb=get", "--non-resource-url=/healthz"], "clusterrole", "{ns}-r",
      lambda o: o["rules"][0]["nonResourceURLs"] == ["/healthz"])
typed("`create clusterrolebinding`", ["clusterrolebinding", "{ns}-b", "--clusterrole=view", "--user=u"], "clusterrolebinding",
      "{ns}-b", lambda o: o["roleRef"]["name"] == "view")
typed("`create quota`", ["quota", "q", "--hard=count/trainingjobs.neap.dev=3,requests.cpu=2"], "resourcequota", "q",
      lambda o: o["spec"]["hard"] == {"count/trainingjobs.neap.dev": "3", "requests.cpu": "2"})
typed("`create deployment`", ["deployment", "d", "--image=registry.invalid/i:1", "--replicas=0"], "deployment", "d",
      lambda o: o["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.invalid/i:1" and o["spec"]["replicas"] == 0)
typed("`create service clusterip`", ["service", "clusterip", "s", "--tcp=80:8080"], "service", "s",
      lambda o: o["spec"]["ports"][0]["targetPort"] == 8080 and o["spec"]["selector"] == {"app": "s"})
typed("`create job`", ["job", "j", "--image=registry.invalid/i:1", "--", "true"], "job", "j",
      lambda o: o["spec"]["template"]["spec"]["containers"][0]["command"] == ["true"])
typed("`create cronjob`", ["cronjob", "cj", "--image=registry.invalid/i:1", "--schedule=0 3 * * *"], "cronjob", "cj",
      lambda o: o["spec"]["schedule"] == "0 3 * * *"
      and o["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["name"] == "cj",
      since=21)  # before, it asks for batch/v1beta1


@row("create", "a ResourceQuota is enforced, with its name and the numbers")
def quota(k):
    k.ok("create", "quota", "q", "--hard=count/trainingjobs.neap.dev=1")
    apply_job(k, "a")
    refused = k.refused("create", "-f", job(k, "b"))
    contains(refused, "exceeded quota: q", "requested: count/trainingjobs.neap.dev=1",
             "used: count/trainingjobs.neap.dev=1", "limited: count/trainingjobs.neap.dev=1")
    k.until(lambda: k.object("resourcequota", "q").get("status", {}).get("used") == {"count/trainingjobs.neap.dev": "1"})
    contains(k.ok("describe", "quota", "q"), "count/trainingjobs.neap.dev")


# --- Pods


@row("pods", "`get pods`: a read-only view of allocations")
def get_pods(k):
    contains(k.ok("get", "pods", "-A").lower() + k.run("get", "pods").err.lower(), "no resources found")
    refused = k.refused("create", "-f", k.write("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
                                               "spec: {containers: [{name: c, image: i}]}\n"), "--validate=false")
    contains(refused, "TrainingJob")
