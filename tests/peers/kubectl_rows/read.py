"""Discovery, get, describe, explain."""

import json
import pathlib
import re
import urllib.request

from .case import check, collector, contains
from .documents import CONFIG, DEPLOYMENT, apply_job

ROWS, row = collector()


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


@row("read", "`get -o wide` of our kinds")
def get_wide_own(k):
    apply_job(k)
    plain, wide = k.ok("get", "trainingjobs").splitlines()[0], k.ok("get", "trainingjobs", "-o", "wide").splitlines()[0]
    check(len(wide.split()) > len(plain.split()) and wide.split()[0] == "NAME", plain, wide)


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


@row("read", "`get -w --watch-only`, `--output-watch-events`")
def get_watch_only(k):
    apply_job(k, "before")
    watching = k.start("get", "trainingjobs", "--watch-only", "--output-watch-events")
    # Nothing says that a watch has begun: a change is made again until it is seen.
    count = [0]

    def seen():
        count[0] += 1
        k.ok("annotate", "tj", "before", "count=%d" % count[0], "--overwrite")
        return "MODIFIED" in pathlib.Path(watching.files[0]).read_text()

    k.until(seen)
    apply_job(k, "later")
    k.until_output(watching, "later")
    k.ok("delete", "trainingjob", "later")
    k.until_output(watching, "DELETED")
    lines = [line.split()[:2] for line in pathlib.Path(watching.files[0]).read_text().splitlines()]
    check(lines[0] == ["EVENT", "NAME"] and ["ADDED", "before"] not in lines and ["ADDED", "later"] in lines, lines)


@row("read", "`get -w` of one object")
def get_watch_one(k):
    apply_job(k, "one")
    apply_job(k, "two")
    watching = k.start("get", "trainingjob", "one", "-w", "-o", "jsonpath={.metadata.name}={.spec.replicas};")
    k.until_output(watching, "one=1;")
    for name in ("two", "one"):
        k.ok("patch", "tj", name, "--type=merge", "-p", '{"spec":{"replicas":3}}')
    k.until_output(watching, "one=3;")
    check("two" not in pathlib.Path(watching.files[0]).read_text())


@row("read", "`get --raw`, `proxy`")
def get_raw(k):
    check(json.loads(k.ok("get", "--raw", "/apis/neap.dev/v1"))["kind"] == "APIResourceList")
    contains(k.refused("get", "--raw", "/apis/nothing.invalid/v1"), "NotFound")
    proxy = k.start("proxy", "--port=0")
    k.until_output(proxy, "Starting to serve on 127.0.0.1:")
    port = re.search(r":(\d+)", pathlib.Path(proxy.files[0]).read_text()).group(1)
    with urllib.request.urlopen("http://127.0.0.1:%s/api/v1/namespaces/%s" % (port, k.ns), timeout=30) as reply:
        check(json.load(reply)["metadata"]["name"] == k.ns)


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
    k.ok("events", "--for", "trainingjob.neap.dev/mnist" if k.minor >= 31 else "trainingjob/mnist")


@row("read", "`explain`, also with `--recursive`")
def explain(k):
    contains(k.ok("explain", "trainingjob.spec.replicas"), "Members of the gang.")
    contains(k.ok("explain", "trainingjob.spec", "--recursive"), "checkpoint")
    contains(k.ok("explain", "deployment.spec.template.spec.containers.image"), "OCI image.")


@row("read", "`explain --api-version`; a field that is not there")
def explain_version(k):
    contains(k.ok("explain", "deploymentstrategies.spec", "--api-version=neap.dev/v1"), "DeploymentStrategy")
    contains(k.ok("explain", "cronjob.spec.schedule", "--api-version=batch/v1"), "CronJob")
    contains(k.refused("explain", "trainingjob.spec.nothing"), "nothing")
