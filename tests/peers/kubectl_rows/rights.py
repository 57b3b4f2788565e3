"""Who may do what, and who somebody is."""

import json

from .case import check, collector, contains
from .documents import apply_job

ROWS, row = collector()


@row("auth", "`auth can-i`, `auth can-i --list`")
def can_i(k):
    check(k.ok("auth", "can-i", "create", "trainingjobs") == "yes\n")
    done = k.run("auth", "can-i", "create", "trainingjobs", as_user="nobody")
    check(done.out.strip().startswith("no"), done.out, done.err)
    contains(k.ok("auth", "can-i", "--list"), "*.*")


@row("auth", "`auth can-i` of subresources, paths, other namespaces; `--list` of somebody with few rights")
def can_i_more(k):
    k.ok("create", "role", "r", "--verb=get,update", "--resource=deployments.apps/scale,configmaps")
    k.ok("create", "rolebinding", "b", "--role=r", "--user=few")

    def answer(*words):
        return k.run("auth", "can-i", *words, as_user="few").out.strip().splitlines()[-1]

    check(answer("update", "deployments.apps", "--subresource=scale") == "yes")
    check(answer("update", "deployments.apps").startswith("no"))
    check(answer("get", "configmaps", "-n", "default").startswith("no"))
    check(answer("get", "configmaps", "-A").startswith("no"))
    check(answer("get", "/version") == "yes")
    check(answer("get", "/metrics").startswith("no"))
    listed = k.ok("auth", "can-i", "--list", as_user="few")
    contains(listed, "deployments.apps/scale", "configmaps", "/healthz")
    check("*.*" not in listed, listed)


@row("auth", "`auth whoami`", since=27)
def whoami(k):
    contains(k.ok("auth", "whoami"), "admin")


@row("auth", "`auth whoami -o json`: groups too", since=27)
def whoami_groups(k):
    user = json.loads(k.ok("auth", "whoami", "-o", "json", as_user="somebody"))["status"]["userInfo"]
    check(user["username"] == "somebody" and "system:authenticated" in user["groups"], user)


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
