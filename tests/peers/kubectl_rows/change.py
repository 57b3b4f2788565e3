"""patch, scale, label, set, replace."""

import json

from .case import check, collector, contains
from .documents import DEPLOYMENT, apply_job, job

ROWS, row = collector()


@row("write", "`patch --type=merge` and `--type=json`")
def patch(k):
    apply_job(k)
    k.ok("patch", "tj", "mnist", "--type=merge", "-p", '{"spec":{"replicas":7}}')
    k.ok("patch", "tj", "mnist", "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":8}]')
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 8)


@row("write", "`patch --patch-file`; a stale resourceVersion and a failed `test` are refused")
def patch_refused(k):
    apply_job(k)
    k.ok("patch", "tj", "mnist", "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    stale = '{"metadata":{"resourceVersion":"1"},"spec":{"replicas":7}}'
    contains(k.refused("patch", "tj", "mnist", "--type=merge", "-p", stale), "the object has been modified")
    for test in ('[{"op":"test","path":"/spec/replicas","value":9},{"op":"replace","path":"/spec/replicas","value":8}]',
                 '[{"op":"remove","path":"/spec/nothing"}]'):
        k.refused("patch", "tj", "mnist", "--type=json", "-p", test)
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 1)


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


@row("write", "`rollout restart`, `pause`, `resume` of a Deployment")
def rollout(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    k.ok("rollout", "restart", "deployment/web")
    contains(json.dumps(k.object("deployment", "web")["spec"]["template"]["metadata"]), "restartedAt")
    k.ok("rollout", "pause", "deployment/web")
    check(k.object("deployment", "web")["spec"]["paused"] is True)
    k.ok("rollout", "resume", "deployment/web")
    check(not k.object("deployment", "web")["spec"].get("paused"))


@row("write", "`rollout history`, `rollout undo`")
def rollout_history(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    contains(k.refused("rollout", "history", "deployment/web"), "could not find the requested resource")
    k.refused("rollout", "undo", "deployment/web")
    return "a Deployment's versions are those of its InferenceService; there are no ReplicaSets"


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


@row("write", "`set resources`, `set serviceaccount`, `set subject`; `expose`")
def set_others(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    k.ok("set", "resources", "deployment/web", "-c", "main", "--limits=cpu=2")
    k.ok("set", "serviceaccount", "deployment/web", "robot")
    spec = k.object("deployment", "web")["spec"]["template"]["spec"]
    check(spec["containers"][0]["resources"]["limits"] == {"cpu": "2"} and spec["serviceAccountName"] == "robot", spec)
    k.ok("create", "rolebinding", "b", "--clusterrole=view", "--user=u")
    k.ok("set", "subject", "rolebinding", "b", "--group=g")
    check([one["name"] for one in k.object("rolebinding", "b")["subjects"]] == ["u", "g"])
    k.ok("expose", "deployment", "web", "--port=80")
    check(k.object("service", "web")["spec"]["selector"] == {"app": "web"})


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
