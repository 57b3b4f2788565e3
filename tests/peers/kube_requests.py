"""What kube_differences.py asks: cases of requests (method, path, body, headers), each case in a namespace <ns> of its
own, and the differences that are meant."""

JSON, YAML = "application/json", "application/yaml"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
OPERATIONS, APPLY = "application/json-patch+json", "application/apply-patch+yaml"
NS = "/api/v1/namespaces/<ns>"
MAPS, SECRETS, ACCOUNTS = NS + "/configmaps", NS + "/secrets", NS + "/serviceaccounts"
QUOTAS, EVENTS = NS + "/resourcequotas", NS + "/events"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/<ns>/leases"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES, BINDINGS = RBAC + "/namespaces/<ns>/roles", RBAC + "/namespaces/<ns>/rolebindings"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
AS_BOB = {"Impersonate-User": "bob"}


def typed(content_type):
    return {"Content-Type": content_type}


def named(name, metadata=None, **body):
    return {"metadata": {"name": name, **(metadata or {})}, **body}


def config(name, metadata=None, **body):
    return {"apiVersion": "v1", "kind": "ConfigMap", **named(name, metadata, **body)}


def made(*bodies, path=MAPS):
    return [("POST", path, body) for body in bodies]


def patched(content_type, *bodies, path=MAPS + "/a"):
    return [("PATCH", path, body, typed(content_type)) for body in bodies]


def applied(manager, body, more="", path=MAPS + "/a"):
    return ("PATCH", "%s?fieldManager=%s%s" % (path, manager, more), body, typed(APPLY))


def got(*queries, path=MAPS):
    return [("GET", path + query) for query in queries]


def owner(name, uid, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, **more}


ONE = named("a", data={"a": "1"})
WATCH = "?watch=true&timeoutSeconds=1"
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (c, c, *[c - 1] * 9) for c in b"bcdefgh")


def role_ref(**more):
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a", **more}


CASES = {
    "create, read, delete": [
        *made(ONE, ONE), *got("/a", ""), ("DELETE", MAPS + "/a"), ("DELETE", MAPS + "/a"), *got("/a", "")],
    "names": [
        *made(*(named(name) for name in ("A", "a" * 253, "a" * 254, "a..b", "", "-a"))),
        *made(named("A_b"), named("with.dot"), named("a" * 64), path="/api/v1/namespaces"),
        *made(named("a_b"), path=ACCOUNTS), *made({"metadata": {"generateName": "Gen_"}}, {"metadata": {}})],
    "heads of documents": [
        *made({"kind": "Secret", **ONE}, {"apiVersion": "v2", **ONE}, named("x", {"namespace": "other"}), [], b"", b"{",
              b"null", b'"x"', {"metadata": []}, {"metadata": {"name": 5}}, named("n", data={"a": 1}),
              named("n", data="x"))],
    "content types": [
        *[("POST", MAPS, ONE, typed(one)) for one in ("text/plain", "application/xml")],
        ("POST", MAPS, ONE, typed("application/json; charset=utf-8")), *patched(JSON, {}), *patched("", {}),
        *patched(MERGE + "; charset=utf-8", {"data": {"b": "2"}}), ("PUT", MAPS + "/a", ONE, typed("text/html")),
        ("DELETE", MAPS + "/a", b"x", typed("text/html"))],
    "accept": [
        *made(ONE),
        *[("GET", MAPS, None, {"Accept": one}) for one in (
            "text/html", "application/xml", "*/*", "application/json;as=Table;v=v1;g=meta.k8s.io",
            "application/json;as=Table;v=v2;g=meta.k8s.io", "application/json;as=Foo;v=v1;g=meta.k8s.io",
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json")],
        ("GET", MAPS + "/a", None, {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}),
        ("GET", MAPS + WATCH, None, {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}),
        ("POST", MAPS, named("x"), {"Accept": "text/html"}), *got("/x")],
    "unknown fields": [
        *[("POST", MAPS + "?fieldValidation=" + one, named("a", foo=1)) for one in ("Strict", "Warn", "Ignore")],
        ("POST", MAPS + "?fieldValidation=Strict", named("b", {"bogus": 1})), *got("/a"),
        ("PUT", MAPS + "/a?fieldValidation=Strict", named("a", foo=1)),
        ("PATCH", MAPS + "/a?fieldValidation=Strict", {"foo": 1}, typed(MERGE))],
    "keys twice": [
        ("POST", MAPS + "?fieldValidation=Strict", b'{"metadata":{"name":"a"},"data":{"x":"1","x":"2"}}'),
        ("POST", MAPS + "?fieldValidation=Warn", b'{"metadata":{"name":"a"},"data":{"x":"1","x":"2"}}')],
    "yaml": [
        *[("POST", MAPS, body, typed(YAML)) for body in (
            b"metadata: {name: a}\ndata: {x: '1'}\n", b"metadata: {name: b}\ndata: &d {x: '1'}\nbinaryData: *d\n", BOMB,
            b"\x00\xff\xfe", b"metadata: [\n")]],
    "depth and unicode": [
        *made(b'{"metadata":{"name":"d"},"data":{"x":' + b"[" * 20000 + b"]" * 20000 + b"}}",
              named("a", {"annotations": {"x": "\u00fc\U0001f600"}}, data={"k": "\u4e2d\u0000x"}),
              named("b", {"labels": {"x": "\u00fc"}}), named("c", {"labels": {"\u00fc": "x"}}),
              named("e", data={"\u00fc": "x"}), b'{"metadata":{"name":"f"},"data":{"k":"\\ud800"}}')],
    "labels and annotations": [
        *made(named("a", {"labels": {"a" * 64: "x"}}), named("b", {"labels": {"a": "x" * 64}}),
              named("c", {"annotations": {"a": "x" * 200000}}), named("d", {"annotations": {"a": "x" * 262145}}),
              named("e", {"annotations": {"bad key": "x"}}), named("f", {"labels": {"a/b/c": "x"}}),
              named("g", {"labels": {"q": ""}}))],
    "data of a ConfigMap": [
        *made(named("a", data={"a b": "x"}), named("b", data={"..": "x"}),
              named("c", data={"x": "1"}, binaryData={"x": "MQ=="}), named("d", binaryData={"x": "!!"}),
              named("e", data={"a": "x" * 1048577}), named("f", data={"a": "1"}, immutable=True), named("g", data=None)),
        *patched(MERGE, {"data": {"a": "2"}}, {"immutable": False}, {"metadata": {"labels": {"a": "b"}}},
                 path=MAPS + "/f")],
    "replace": [
        *made(ONE), ("PUT", MAPS + "/a", named("a", data={"b": "2"})),
        *[("PUT", MAPS + "/a", named("a", {"resourceVersion": one}, data={"b": "3"})) for one in ("<rv:0>", "<rv:1>", "0")],
        ("PUT", MAPS + "/a", named("b")), ("PUT", MAPS + "/nope", named("nope")),
        ("PUT", MAPS + "/a", named("a", {"uid": "abc"})), ("PUT", MAPS, ONE), ("PUT", MAPS + "/a", {"data": {}}),
        *patched(MERGE, {"metadata": None})],
    "merge patch": [
        *made(named("a", data={"a": "1", "b": "2"})),
        *patched(MERGE, {"data": {"a": None}}, {"data": None}, {"data": {"x": {"y": None}}}, [], b"null", b"{",
                 {"metadata": {"name": "b"}}, {"metadata": {"resourceVersion": "1"}}, {"metadata": {"namespace": "x"}}, {},
                 {"metadata": {"generateName": "x", "creationTimestamp": None, "selfLink": "x", "generation": 7}}),
        *patched(MERGE, {"data": {"a": "1"}}, path=MAPS + "/none"), *patched(MERGE, {}, path=MAPS)],
    "json patch": [
        *made(named("a", {"labels": {"x/y": "z"}}, data={"a": "1", "b.c": "2"})),
        *patched(OPERATIONS,
                 [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "3"}],
                 [{"op": "test", "path": "/data/a", "value": "1"}], [{"op": "remove", "path": "/data/none"}],
                 [{"op": "add", "path": "/x/y/z", "value": 1}], [{"op": "bogus", "path": "/data"}],
                 [{"op": "move", "from": "/data/a", "path": "/data/z"}],
                 [{"op": "copy", "from": "/data/z", "path": "/data/y"}],
                 [{"op": "replace", "path": "/metadata/name", "value": "zz"}], [],
                 [{"op": "remove", "path": "/metadata/labels/x~1y"}],
                 [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}],
                 [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}])],
    "strategic patch": [
        *made(config("a", {"finalizers": ["x/a"], "labels": {"a": "b"}}, data={"a": "1"})),
        *patched(STRATEGIC, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a"]}},
                 {"metadata": {"finalizers": ["x/b"]}}, {"metadata": {"labels": {"$patch": "replace", "z": "1"}}},
                 {"data": {"k": None, "l": "1"}}, {"data": {"$patch": "delete"}}, {"metadata": {"finalizers": None}})],
    "apply": [
        applied("m1", config("a", data={"x": "1"})), applied("m1", config("a", data={"x": "1"})),
        applied("m2", config("a", data={"x": "2"})), applied("m2", config("a", data={"x": "2", "y": "1"}), "&force=true"),
        applied("m1", config("a", data={"z": "1"})), applied("m2", config("a")), applied("m1", config("b")),
        applied("m1", {"data": {}}), applied("m1", config("a", {"managedFields": [{"manager": "q"}]})),
        applied("m1", config("a", {"resourceVersion": "1"})), applied("m1", b"not: [yaml"),
        applied("m1", config("b"), "&dryRun=All", MAPS + "/b"), *got("/b")],
    "apply of shared lists": [
        *made(config("o")),
        applied("m1", config("a", {"finalizers": ["x/a"], "ownerReferences": [owner("o", "<uid:0>")]}, data={"x": "1"})),
        applied("m2", config("a", {"finalizers": ["x/b"]})), *got("/a"), applied("m1", config("a", data={"x": "1"})),
        applied("m2", config("a")), *got("/a")],
    "lists": [
        *made(*(named("c%d" % i, {"labels": {"n": str(i), "p": "xy"[i % 2]}}) for i in range(5))),
        *got("", "?limit=2", "?limit=2&continue=<continue:6>", "?limit=2&continue=<continue:7>", "?limit=2&continue=bogus",
             "?limit=x", "?limit=0", "?limit=2&labelSelector=p%3Dx", "?limit=1&labelSelector=p%3Dx",
             "?labelSelector=n+in+(1,3),!d", "?labelSelector=n+notin+(1,3)", "?labelSelector=n%3E2", "?labelSelector=%3D",
             "?labelSelector=a+in", "?labelSelector=a%3D%3Db,c!%3Dd", "?labelSelector=n", "?labelSelector=!n",
             "?fieldSelector=metadata.name%3Dc1", "?fieldSelector=metadata.name!%3Dc1",
             "?fieldSelector=metadata.name%3Dc1,metadata.namespace%3D<ns>", "?fieldSelector=data.a%3D1",
             "?fieldSelector=bogus", "?fieldSelector=metadata.name+in+(a)")],
    "versions of lists": [
        *made(named("a"), named("b")),
        *got("?resourceVersion=0", "?resourceVersion=<rv:0>&resourceVersionMatch=Exact",
             "?resourceVersion=<rv:0>&resourceVersionMatch=NotOlderThan", "?resourceVersion=<rv:0>",
             "?resourceVersion=0&resourceVersionMatch=Exact", "?resourceVersion=0&resourceVersionMatch=NotOlderThan",
             "?resourceVersionMatch=Exact", "?resourceVersion=bogus", "?resourceVersion=-1",
             "?resourceVersion=99999999&resourceVersionMatch=Exact",
             "?resourceVersion=99999999&resourceVersionMatch=NotOlderThan", "?resourceVersion=99999999",
             "/a?resourceVersion=0", "?limit=1&resourceVersion=<rv:1>&resourceVersionMatch=Exact",
             "?limit=1&continue=<continue:15>&resourceVersion=<rv:1>")],
    "watch": [
        *made(named("a")),
        *got(*(WATCH + more for more in (
            "", "&resourceVersion=0", "&resourceVersion=<rv:0>", "&sendInitialEvents=true",
            "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
            "&sendInitialEvents=true&resourceVersionMatch=Exact&allowWatchBookmarks=true", "&labelSelector=%3D",
            "&fieldSelector=bogus%3D1", "&limit=1")), "?watch&timeoutSeconds=1", "?watch=1&timeoutSeconds=1")],
    "options of a deletion": [
        *made(named("a", {"finalizers": ["x/f"]})), ("DELETE", MAPS + "/a?dryRun=All"),
        *[("DELETE", MAPS + "/a", body) for body in (
            {"preconditions": {"uid": "bogus"}}, {"preconditions": {"resourceVersion": "1"}}, {"propagationPolicy": "Bogus"},
            {"propagationPolicy": "Foreground", "orphanDependents": True}, {"kind": "Bogus", "apiVersion": "v1"},
            {"dryRun": ["All"]}, {"dryRun": ["Bogus"]}, b"{")],
        ("DELETE", MAPS + "/a?propagationPolicy=Bogus"), *got("/a"),
        ("DELETE", MAPS + "/a", {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}),
        ("DELETE", MAPS + "/a"), *got("/a"),
        *patched(MERGE, {"metadata": {"finalizers": ["x/f", "x/g"]}}, {"metadata": {"finalizers": None}}), *got("/a"),
        *made(named("b")), ("DELETE", MAPS + "/b?propagationPolicy=Orphan")],
    "finalizers and owners": [
        *made(*(named("a", {"finalizers": one}) for one in (["bad finalizer"], ["noslash"], ["orphan", "foregroundDeletion"]))),
        *made(named("e", {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o"}]}),
              named("f", {"ownerReferences": [owner("o", "1", controller=True), owner("p", "2", controller=True)]}))],
    "collections": [
        *made(named("a", {"labels": {"x": "1"}}), named("b")), ("DELETE", MAPS + "?labelSelector=x%3D1"), *got(""),
        ("DELETE", MAPS + "?dryRun=All"), *got(""), ("DELETE", MAPS), *got(""), ("DELETE", "/api/v1/configmaps"),
        ("DELETE", "/api/v1/namespaces")],
    "dry runs": [
        ("POST", MAPS + "?dryRun=All", ONE), *got("/a"), *made(named("b")),
        ("PUT", MAPS + "/b?dryRun=All", named("b", data={"z": "1"})),
        ("PATCH", MAPS + "/b?dryRun=All", {"data": {"z": "2"}}, typed(MERGE)), ("DELETE", MAPS + "/b?dryRun=All"),
        *got("/b"), ("POST", "/api/v1/namespaces?dryRun=All", named("<ns>-x")), ("GET", "/api/v1/namespaces/<ns>-x")],
    "methods and paths": [
        ("POST", MAPS + "/a", ONE), *patched(MERGE, {}, path=MAPS), ("GET", "/api/v1/bogus"), *got("/bogus", path=NS),
        ("GET", "/apis/apps/v9/deployments"), *got("/a/bogus"),
        ("POST", "/api/v1/namespaces/nope-nope/configmaps", ONE), ("GET", "/api/v1/namespaces/nope-nope/configmaps"),
        ("GET", "/healthz"), ("GET", "/livez"), ("GET", "/readyz")],
    "namespaces": [
        *got("", path=NS), *patched(MERGE, {"metadata": {"labels": {"kubernetes.io/metadata.name": "x"}}}, path=NS),
        ("PUT", NS + "/status", {"metadata": {"name": "<ns>"}, "status": {"phase": "Active"}}),
        *made(named("a", {"finalizers": ["x/f"]})), ("DELETE", NS), *made(named("b")),
        ("DELETE", "/api/v1/namespaces/default"), ("DELETE", "/api/v1/namespaces/nope-nope")],
    "secrets": [
        *made(named("a", stringData={"a": "b"}, data={"a": "eA==", "c": "eQ=="}), named("b", data={"a": "!!"}),
              named("c", type="kubernetes.io/tls", data={}),
              named("d", type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": "eA=="}),
              named("e", type="kubernetes.io/basic-auth", data={}), named("f", type="kubernetes.io/ssh-auth", data={}),
              named("g", data={"a b": "eA=="}), named("h", immutable=True, data={"a": "eA=="}), named("i", data={"a": "eA"}),
              path=SECRETS),
        *patched(MERGE, {"data": {"a": "eQ=="}}, path=SECRETS + "/h"),
        *patched(MERGE, {"type": "other"}, {"stringData": {"z": "1"}}, path=SECRETS + "/a"),
        *got("?fieldSelector=type%3DOpaque", path=SECRETS)],
    "leases": [
        *made(named("a", spec={"holderIdentity": "x", "leaseDurationSeconds": 15,
                               "renewTime": "2026-01-01T00:00:00.123456Z", "leaseTransitions": 0}),
              named("b", spec={"leaseDurationSeconds": 0}), named("c", spec={"leaseDurationSeconds": -1}),
              named("d", spec={"leaseTransitions": -1}), named("e", spec={"renewTime": "yesterday"}),
              named("f", spec={"leaseDurationSeconds": "5"}), named("g", spec={"leaseDurationSeconds": 3000000000}),
              named("h", spec={"renewTime": "2026-01-01T00:00:00Z"}), path=LEASES)],
    "tokens of accounts": [
        *made(named("a"), path=ACCOUNTS), *made({"spec": {"expirationSeconds": 600}}, path=ACCOUNTS + "/a/token"),
        *made({"spec": {}}, path=ACCOUNTS + "/none/token"),
        *made({"spec": {"expirationSeconds": 60}},
              {"spec": {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "nope"}}},
              {"spec": {"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "nope"}}},
              path=ACCOUNTS + "/a/token")],
    "roles": [
        *made(*(named("a%d" % i, rules=[rule]) for i, rule in enumerate((
            PODS, {"verbs": ["get"]}, {**PODS, "verbs": []}, {"nonResourceURLs": ["/x"], "verbs": ["get"]},
            {**PODS, "resourceNames": ["x"]}))), named("system:x", rules=[PODS]), named("a%b", rules=[PODS]),
            named("a/b", rules=[PODS]), path=ROLES),
        *made(named("a", roleRef=role_ref(), subjects=[{"kind": "User", "name": "u",
                                                          "apiGroup": "rbac.authorization.k8s.io"}]),
              named("b", roleRef=role_ref(kind="Bogus")), named("c", roleRef=role_ref(apiGroup="x")),
              named("d", roleRef=role_ref(), subjects=[{"kind": "ServiceAccount", "name": "u"}]),
              named("e", roleRef=role_ref(), subjects=[{"kind": "Bogus", "name": "u"}]),
              named("f", roleRef=role_ref(name="")),
              named("g", roleRef={"kind": "Role", "name": "a"}), path=BINDINGS),
        *patched(MERGE, {"roleRef": {"name": "b"}}, path=BINDINGS + "/a"),
        *made(named("<ns>", roleRef=role_ref()), path=RBAC + "/clusterrolebindings")],
    "rights": [
        ("GET", MAPS, None, AS_BOB), ("POST", MAPS, ONE, AS_BOB), ("GET", MAPS + "/a", None, AS_BOB),
        ("GET", "/api/v1/namespaces", None, AS_BOB), ("GET", "/api", None, AS_BOB), ("GET", MAPS + WATCH, None, AS_BOB),
        ("DELETE", MAPS, None, AS_BOB), ("PATCH", MAPS + "/a", {}, {**AS_BOB, **typed(MERGE)}),
        ("POST", ROLES, named("mine", rules=[PODS]), AS_BOB), ("GET", MAPS, None, {"Impersonate-Group": "g"}),
        ("GET", MAPS, None, {"Impersonate-Uid": "g"}), ("GET", MAPS, None, {"Authorization": "Bearer bogus"}),
        ("GET", MAPS, None, {"Authorization": None}), ("GET", "/healthz", None, {"Authorization": None}),
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, AS_BOB),
        *made({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}, {"spec": {}},
              {"spec": {"resourceAttributes": {}, "nonResourceAttributes": {}}},
              path=AUTHORIZATION + "/selfsubjectaccessreviews"),
        *made({"spec": {"user": "bob", "nonResourceAttributes": {"path": "/x", "verb": "get"}}},
              {"spec": {"nonResourceAttributes": {"path": "/x", "verb": "get"}}},
              path=AUTHORIZATION + "/subjectaccessreviews"),
        ("GET", AUTHORIZATION + "/selfsubjectaccessreviews")],
    "quotas": [
        *made(named("q", spec={"hard": {"configmaps": "-1"}}), path=QUOTAS),
        *made(named("r", spec={"hard": {"count/configmaps": "1"}}), path=QUOTAS)],
}

# What Neap's fields are of is checked with its other rules, after decoding: 422 with the field, where Go's decoder fails
# with 400 and without.
VALUE = "a value of the wrong type or form is 422 with its field, not 400"
# (case, request): why the answers differ.
EXPECTED = {
    ("heads of documents", 6): "null is no document (kube-apiserver takes it for an empty one)",
    ("heads of documents", 8): VALUE,
    ("heads of documents", 9): VALUE,
    ("heads of documents", 10): VALUE,
    ("heads of documents", 11): VALUE,
    ("unknown fields", 6): "an unknown field is 400 in a patch, too, as it is in any other write",
    ("keys twice", 1): "a key twice is refused at any level: who wrote it cannot have meant both",
    ("yaml", 1): VALUE,
    ("depth and unicode", 5): "half a surrogate pair is refused (kube-apiserver stores another character)",
    ("data of a ConfigMap", 3): VALUE,
    ("collections", 2): "a Status with the number, not the list of what went: nobody reads it, and it may be large",
    ("collections", 4): "as above",
    ("collections", 6): "as above",
    ("secrets", 1): VALUE,
    ("secrets", 8): VALUE,
    ("leases", 4): VALUE,
    ("leases", 5): VALUE,
    ("leases", 6): VALUE,
    ("leases", 7): "a time without six digits is completed, for clients that do not write Go's form",
    ("tokens of accounts", 3): "a time too short is 400 with the field in the message",
}
