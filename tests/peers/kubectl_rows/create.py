"""create of built-in kinds: protobuf bodies from 1.32 on."""

import json
import subprocess

from .case import check, collector, contains
from .documents import apply_job, job

ROWS, row = collector()


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
typed("`create service nodeport`", ["service", "nodeport", "s", "--tcp=80:8080", "--node-port=30123"], "service", "s",
      lambda o: o["spec"]["type"] == "NodePort" and o["spec"]["ports"][0]["nodePort"] == 30123)
typed("`create service loadbalancer`", ["service", "loadbalancer", "s", "--tcp=80:8080"], "service", "s",
      lambda o: o["spec"]["type"] == "LoadBalancer")
typed("`create service externalname`", ["service", "externalname", "s", "--external-name=models.invalid"], "service", "s",
      lambda o: o["spec"]["externalName"] == "models.invalid")
typed("`create priorityclass`", ["priorityclass", "{ns}-p", "--value=7", "--description=d"], "priorityclass", "{ns}-p",
      lambda o: o["value"] == 7 and o["description"] == "d")
typed("`create job`", ["job", "j", "--image=registry.invalid/i:1", "--", "true"], "job", "j",
      lambda o: o["spec"]["template"]["spec"]["containers"][0]["command"] == ["true"])
typed("`create cronjob`", ["cronjob", "cj", "--image=registry.invalid/i:1", "--schedule=0 3 * * *"], "cronjob", "cj",
      lambda o: o["spec"]["schedule"] == "0 3 * * *"
      and o["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["name"] == "cj",
      since=21)  # before, it asks for batch/v1beta1


@row("create", "`create secret tls`")
def create_tls(k):
    key, certificate = str(k.folder / "key.pem"), str(k.folder / "certificate.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=x"],
                   check=True, capture_output=True)
    k.ok("create", "secret", "tls", "s", "--key=" + key, "--cert=" + certificate)
    found = k.object("secret", "s")
    check(found["type"] == "kubernetes.io/tls" and set(found["data"]) == {"tls.crt", "tls.key"}, found)


@row("create", "`create job --from=cronjob`", since=21)
def create_job_from(k):
    k.ok("create", "cronjob", "cj", "--image=registry.invalid/i:1", "--schedule=0 3 * * *", "--", "true")
    k.ok("create", "job", "now", "--from=cronjob/cj")
    found = k.object("job", "now")
    check(found["spec"]["template"]["spec"]["containers"][0]["command"] == ["true"], found)
    check(found["metadata"]["ownerReferences"][0]["kind"] == "CronJob", found)


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
