"""wait and rollout status."""

import json
import time

from .case import check, collector, contains
from .documents import CONFIG, DEPLOYMENT, apply_job

ROWS, row = collector()


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


@row("wait", "`wait` of several objects; one that is late, and one that is not there")
def wait_several(k):
    for name in ("a", "b"):
        k.ok("create", "configmap", name)
    waiting = k.start("wait", "configmap/a", "configmap/b", "--for=delete", "--timeout=30s")
    time.sleep(0.7)
    k.ok("delete", "configmap", "a", "b")
    check(waiting.wait(timeout=40) == 0, k.err_of(waiting))
    apply_job(k)
    contains(k.refused("wait", "tj/mnist", "--for=condition=Never", "--timeout=1s"), "timed out")
    contains(k.refused("wait", "tj/nobody", "--for=condition=Never", "--timeout=1s"), "not found")


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
