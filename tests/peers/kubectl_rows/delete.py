"""delete, with what depends on the object."""

import time

from .case import check, collector, contains
from .documents import CONFIG, apply_job, job

ROWS, row = collector()


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


@row("delete", "`delete --wait=false`, `--grace-period`, `--raw`, `--field-selector`")
def delete_ways(k):
    for name in ("a", "b", "c", "d"):
        apply_job(k, name)
    k.ok("delete", "tj", "a", "--wait=false")
    k.ok("delete", "tj", "b", "--grace-period=5")
    k.ok("delete", "tj", "--field-selector=metadata.name=c")
    k.ok("delete", "--raw", "/apis/neap.dev/v1/namespaces/%s/trainingjobs/d" % k.ns)
    k.until(lambda: k.ok("get", "tj", "-o", "name") == "")


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
