"""create -f, apply of both kinds, diff, dry runs, edit."""

from .case import check, collector, contains
from .documents import CONFIG, DEPLOYMENT, JOB, apply_job, job

ROWS, row = collector()


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


@row("write", "`apply -k`: a kustomization")
def apply_kustomize(k):
    job(k)
    k.write("resources: [mnist.yaml]\nnamePrefix: my-\n", "kustomization.yaml")
    contains(k.ok("apply", "-k", str(k.folder)), "trainingjob.neap.dev/my-mnist created")


@row("write", "`apply view-last-applied`, `set-last-applied`")
def last_applied(k):
    k.ok("create", "-f", job(k))
    k.ok("apply", "set-last-applied", "--create-annotation", "-f", job(k))
    contains(k.ok("apply", "view-last-applied", "trainingjob", "mnist"), "suspend: true")
    without = job(k).replace(".yaml", "-without.yaml")
    k.write(JOB.format(name="mnist", replicas=1).replace("  labels: {team: vision}\n", ""), "mnist-without.yaml")
    k.ok("apply", "-f", without)
    check("labels" not in k.object("trainingjob", "mnist")["metadata"])


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


@row("write", "`diff --server-side`, `apply --server-side --dry-run=server`")
def diff_server_side(k):
    k.ok("apply", "--server-side", "-f", job(k, replicas=2))
    changed = k.run("diff", "--server-side", "-f", job(k, replicas=9))
    check(changed.code == 1, changed.err)
    contains(changed.out, "+  replicas: 9")
    k.ok("apply", "--server-side", "--dry-run=server", "-f", job(k, replicas=9))
    check(k.object("trainingjob", "mnist")["spec"]["replicas"] == 2)


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


@row("write", "`--dry-run=client`")
def dry_run_client(k):
    contains(k.ok("apply", "--dry-run=client", "-f", job(k)), "created (dry run)")
    contains(k.ok("create", "deployment", "d", "--image=i", "--dry-run=client", "-o", "yaml"), "kind: Deployment")
    check(k.ok("get", "trainingjobs,deployments", "-o", "name") == "")


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


@row("write", "`edit` while somebody else changes the object: the editor comes again, with the new state")
def edit_conflict(k):
    apply_job(k)
    # The first time another's change comes between, of the same line; the second time nothing does.
    other = " ".join(k.words(["patch", "tj", "mnist", "--type=merge", "-p", '\'{"spec":{"replicas":4}}\'']))
    editor = k.program("#!/bin/sh\nif [ ! -e %s/seen ]; then touch %s/seen; %s >/dev/null; fi\nsed -i -e 's/  replicas: .*/  replicas: 6/' \"$1\"\n"
                       % (k.folder, k.folder, other))
    done = k.run("edit", "trainingjob", "mnist", env={"KUBE_EDITOR": editor})
    check(done.code == 0 and k.object("trainingjob", "mnist")["spec"]["replicas"] == 6, done.out, done.err)


@row("write", "`edit --subresource=status`", since=24)
def edit_status(k):
    k.ok("apply", "-f", k.write(DEPLOYMENT))
    k.until(lambda: "status" in k.object("deployment", "web"))
    editor = k.program("#!/bin/sh\nprintf '\\nstatus: {replicas: 2}\\n' >\"$1.new\"; sed '/^status:/,$d' \"$1\" >\"$1.old\"; cat \"$1.old\" \"$1.new\" >\"$1\"\n")
    contains(k.ok("edit", "deployment", "web", "--subresource=status", env={"KUBE_EDITOR": editor}), "edited")
    check(k.object("deployment", "web")["status"]["replicas"] == 2)
