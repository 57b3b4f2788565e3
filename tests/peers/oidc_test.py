"""Sign-in through a real OpenID Connect provider (npm's oidc-provider): command line, kubectl, console; its keys change, it goes away."""

from __future__ import annotations

import http.cookiejar
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from neap_process import PROGRAM, Server  # noqa: E402

DEPENDENCIES = pathlib.Path(os.environ.get("NEAP_DEPENDENCIES", HERE.parents[1] / "build/deps"))
KUBECTL = DEPENDENCIES / "kubectl-newest/kubectl"
TOKEN_SECONDS = 30  # below the minute that neap wants of a token: each command renews


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Provider:
    """oidc-provider; start() waits until it answers. The port stays over restarts, the signing keys do not."""

    def __init__(self, folder: pathlib.Path, callbacks: list[str]) -> None:
        folder.mkdir()
        self.folder, self.callbacks = folder, callbacks
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=provider",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
            check=True, capture_output=True)
        place = DEPENDENCIES / "oidc"
        shutil.copy(HERE / "oidc/provider.mjs", place / "provider.mjs")
        self.program = ["node", str(place / "provider.mjs"), str(folder), *callbacks]
        self.ca = folder / "cert.pem"

    def start(self) -> None:
        (self.folder / "issuer").unlink(missing_ok=True)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(self.program, stdout=log, stderr=log, env={**os.environ, "NEAP_OIDC_TOKEN_SECONDS": str(TOKEN_SECONDS)})
        until = time.monotonic() + 60
        while not (self.folder / "issuer").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError("the provider did not start: " + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)
        self.issuer = (self.folder / "issuer").read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)


class Browser:
    """As much of one as signing in takes: cookies, redirects, forms."""

    def __init__(self, *roots: pathlib.Path) -> None:
        context = ssl.create_default_context(cafile=str(roots[0]))
        for root in roots[1:]:
            context.load_verify_locations(str(root))
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, url: str, headers: dict[str, str] | None = None) -> tuple[str, str]:
        return self.send(urllib.request.Request(url, headers=headers or {}))

    def send(self, request: urllib.request.Request) -> tuple[str, str]:
        try:
            with self.opener.open(request, timeout=30) as reply:
                return reply.geturl(), reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.geturl(), f"{error.code} {error.read().decode()}"

    def submit(self, url: str, page: str, **fields: str) -> tuple[str, str]:
        """Sends the page's first form with its hidden fields and `fields`."""
        action = re.search(r'<form[^>]*action="([^"]*)"', page)
        assert action, page[:2000]
        form = re.search(r"<form.*?</form>", page, re.S).group(0)
        hidden = {}
        for tag in re.findall(r"<input[^>]*>", form):
            name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
            if name and value and "hidden" in tag:
                hidden[name.group(1)] = value.group(1)
        data = urllib.parse.urlencode({**hidden, **fields}).encode()
        return self.send(urllib.request.Request(urllib.parse.urljoin(url, action.group(1)), data=data))

    def sign_in(self, url: str, page: str, user: str) -> tuple[str, str]:
        """Answers the provider's questions until it has no more."""
        for _ in range(6):
            if 'name="login"' in page:
                url, page = self.submit(url, page, login=user, password="any")
            elif "/interaction/" in url and "<form" in page:
                url, page = self.submit(url, page)
            else:
                break
        return url, page


class OidcTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        if not (DEPENDENCIES / "oidc/node_modules/oidc-provider").exists():
            raise unittest.SkipTest("no oidc-provider in build/deps/oidc; run tools/bootstrap_oidc.sh")
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="neap-oidc-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.server = Server(cls.folder / "server")
        cls.server.port, cls.cli_port = free_port(), free_port()
        cls.provider = Provider(cls.folder / "provider", [f"http://127.0.0.1:{cls.cli_port}/callback", f"https://127.0.0.1:{cls.server.port}/console/oidc/callback"])
        cls.provider.start()
        cls.addClassCleanup(lambda: cls.provider.end())
        cls.partner = Provider(cls.folder / "partner", [f"http://127.0.0.1:{cls.cli_port}/callback"])
        cls.partner.start()
        cls.addClassCleanup(lambda: cls.partner.end())
        config = cls.folder / "authentication.json"
        config.write_text(cls.configuration(cls.provider, cls.partner, ("oidc:", ""), ("partner:", "partner:")))
        cls.server.ARGUMENTS = ["--authentication-config", str(config), "--oidc-scope", "openid", "--oidc-scope", "offline_access", "--oidc-scope", "groups"]
        cls.addClassCleanup(cls.server.end)
        cls.server.start()
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
        meta = {"name": "dev"}
        for kind, body in (("clusterroles", {"kind": "ClusterRole", "metadata": meta, "rules": rules}),
                           ("clusterrolebindings", {"kind": "ClusterRoleBinding", "metadata": meta, "subjects": [{"kind": "Group", "name": "dev", "apiGroup": "rbac.authorization.k8s.io"}],
                                                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "dev"}})):
            reply = cls.server.ask("POST", f"/apis/rbac.authorization.k8s.io/v1/{kind}", {"apiVersion": "rbac.authorization.k8s.io/v1", **body})
            assert reply.status == 201, reply.text

    @staticmethod
    def configuration(first: Provider, second: Provider, *prefixes: tuple[str, str]) -> str:
        return json.dumps({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [{"issuer": {"url": one.issuer, "audiences": ["neap"], "certificateAuthority": one.ca.read_text()},
                     "claimMappings": {"username": {"claim": "sub", "prefix": user}, "groups": {"claim": "groups", "prefix": group}}}
                    for one, (user, group) in zip((first, second), prefixes)]})

    def home(self, name: str) -> pathlib.Path:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def environment(self, home: pathlib.Path) -> dict[str, str]:
        return {**{k: v for k, v in os.environ.items() if "KUBECONFIG" not in k}, "HOME": str(home), "KUBECONFIG": str(home / "config")}

    def neap(self, home: pathlib.Path, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, timeout=60, check=False, env=self.environment(home))

    def login(self, home: pathlib.Path, user: str, *flags: str) -> str:
        """Runs `neap login` and is its browser; what it printed at the end."""
        login = subprocess.Popen(
            [str(PROGRAM), "login", "--server", "https://" + self.server.address, "--certificate-authority", str(self.server.state / "ca.pem"),
             "--listen", f"127.0.0.1:{self.cli_port}", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment(home))
        self.addCleanup(lambda: (login.poll() is None and login.kill(), login.wait(), login.stdout.close(), login.stderr.close()))
        lines = [login.stderr.readline() for _ in range(4)]
        browser = Browser(self.provider.ca)
        if "--device" in flags:
            address, code = re.search(r"Open (\S+) ", lines[0]).group(1), lines[2].strip()
            url, page = browser.get(address)
            url, page = browser.submit(url, page, user_code=code)
            url, page = browser.submit(url, page)  # "yes, that is the code on my device"
            browser.sign_in(url, page, user)
        else:
            url, page = browser.get(lines[2].strip())
            _, page = browser.sign_in(url, page, user)
            self.assertIn("Signed in", page)
        out, err = login.communicate(timeout=60)
        self.assertEqual(login.returncode, 0, "".join(lines) + err)
        return out

    def test_login_by_loopback_gives_kubectl_and_neap_a_user_with_groups(self) -> None:
        home = self.home("loopback")
        self.assertIn("signed in as oidc:alice", self.login(home, "alice"))
        self.assertEqual((home / "login-neap.json").stat().st_mode & 0o777, 0o600)
        self.assertEqual((home / "config").stat().st_mode & 0o777, 0o600)
        who = self.neap(home, "whoami", "-o", "json")
        self.assertEqual(who.returncode, 0, who.stderr)
        self.assertEqual(json.loads(who.stdout)["username"], "oidc:alice")
        self.assertEqual(json.loads(who.stdout)["groups"], ["dev", "system:authenticated"], "a provider cannot make masters")
        listed = subprocess.run([str(KUBECTL), "get", "configmaps"], capture_output=True, text=True, timeout=60, check=False, env=self.environment(home))
        self.assertEqual(listed.returncode, 0, listed.stderr)
        refused = subprocess.run([str(KUBECTL), "get", "secrets"], capture_output=True, text=True, timeout=60, check=False, env=self.environment(home))
        self.assertIn("forbidden", refused.stderr.lower())
        self.assertIn("oidc:alice", refused.stderr)

    def test_tokens_are_renewed_and_the_file_is_all_that_is_needed(self) -> None:
        home = self.home("renewal")
        self.login(home, "alice")
        first = json.loads((home / "login-neap.json").read_text())
        self.assertTrue(first["refreshToken"])
        for _ in range(2):
            time.sleep(1.1)  # tokens count in seconds
            self.assertEqual(self.neap(home, "get", "configmaps").returncode, 0)
        second = json.loads((home / "login-neap.json").read_text())
        self.assertNotEqual(first["idToken"], second["idToken"])
        self.assertNotEqual(first["refreshToken"], second["refreshToken"], "good once, and kept anew")
        second["refreshToken"] = "wrong"
        (home / "login-neap.json").write_text(json.dumps(second))
        ended = self.neap(home, "get", "configmaps")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("run `neap login`", ended.stderr)

    def test_login_by_device_needs_no_browser_on_the_machine(self) -> None:
        home = self.home("device")
        self.assertIn("signed in as oidc:bob", self.login(home, "bob", "--device"))
        refused = self.neap(home, "get", "configmaps")
        self.assertEqual(refused.returncode, 1, "bob is in no group")
        self.assertIn("forbidden", refused.stderr.lower())

    def token(self, name: str) -> str:
        home = self.home(name)
        self.login(home, "alice")
        return json.loads((home / "login-neap.json").read_text())["idToken"]

    def partner_token(self, user: str, client: str = "neap") -> str:
        """An ID token of the second provider, by its device flow (RFC 8628)."""
        browser = Browser(self.partner.ca)

        def post(path: str, **form: str) -> dict:
            return json.loads(browser.send(urllib.request.Request(self.partner.issuer + path, data=urllib.parse.urlencode(form).encode()))[1])

        asked = post("/device/auth", client_id=client, scope="openid groups")
        url, page = browser.get(asked["verification_uri"])
        url, page = browser.submit(url, page, user_code=asked["user_code"])
        url, page = browser.submit(url, page)
        browser.sign_in(url, page, user)
        return post("/token", client_id=client, grant_type="urn:ietf:params:oauth:grant-type:device_code", device_code=asked["device_code"])["id_token"]

    def review(self, token: str, audiences: list[str] | None = None) -> dict:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": audiences or []}}
        reply = self.server.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)
        self.assertEqual(reply.status, 201, reply.text)
        return reply.json["status"]

    def test_two_providers_each_speak_of_their_own_people_only(self) -> None:
        first, second = self.token("two"), self.partner_token("alice")
        self.assertEqual(self.review(first)["user"]["username"], "oidc:alice")
        partner = self.review(second)
        self.assertEqual(partner["user"]["username"], "partner:alice")
        self.assertEqual(set(partner["user"]["groups"]), {"partner:dev", "partner:system:masters", "system:authenticated"}, "prefixed, so nobody's masters")
        self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=first).status, 200)
        self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=second).status, 403, "another alice, of another group")
        # Signed by one, said to be of the other; and made for another client.
        one, other = first.split("."), second.split(".")
        for wrong in (f"{one[0]}.{other[1]}.{one[2]}", f"{other[0]}.{one[1]}.{other[2]}", self.partner_token("alice", "elsewhere")):
            self.assertFalse(self.review(wrong)["authenticated"])
            self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=wrong).status, 401)
        self.assertFalse(self.review(second, ["vault"])["authenticated"], "it is for this server only")

    def test_providers_that_share_a_prefix_are_refused_at_the_start(self) -> None:
        config = self.folder / "shared.json"
        config.write_text(self.configuration(self.provider, self.partner, ("", "a:"), ("", "b:")))
        done = subprocess.run([str(PROGRAM), "server", "--state", str(self.folder / "shared"), "--listen", "127.0.0.1:0", "--authentication-config", str(config)],
                              capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("same prefix", done.stderr)

    def test_a_token_that_was_tampered_with_is_nobody(self) -> None:
        token = self.token("tampered")
        self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=token).status, 200)
        head, body, signature = token.split(".")
        for wrong in (f"{head}.{body}.", f"{head}.{body[:-4]}AAAA.{signature}", f"eyJhbGciOiJub25lIn0.{body}.", f"{head}.{body}.{'A' * len(signature)}"):
            self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=wrong).status, 401, wrong[:40])

    def test_the_console_is_entered_through_the_provider(self) -> None:
        base = "https://" + self.server.address
        browser = Browser(self.provider.ca, self.server.state / "ca.pem")
        _, nobody = browser.get(base + "/console/session")
        self.assertIn('"signIn":"/console/oidc"', nobody.replace(" ", ""))
        url, page = browser.get(base + "/console/oidc")
        url, page = browser.sign_in(url, page, "alice")
        self.assertEqual(urllib.parse.urlparse(url).path, "/console/", page[:500])
        session = json.loads(browser.get(base + "/console/session")[1])
        self.assertEqual(session["user"], "oidc:alice")
        cookie = next(c for c in browser.cookies if c.has_nonstandard_attr("HttpOnly") and c.path == "/" and c.port is None and "neap" in c.name.lower())
        self.assertTrue(cookie.secure)
        review = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
        where = base + "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        head = {"Content-Type": "application/json"}
        _, without = browser.send(urllib.request.Request(where, data=review, headers=head))
        self.assertNotIn("oidc:alice", without, "a write without the CSRF header has no session")
        _, answer = browser.send(urllib.request.Request(where, data=review, headers={**head, "X-Neap-CSRF": session["csrf"]}))
        self.assertEqual(json.loads(answer)["status"]["userInfo"]["username"], "oidc:alice")
        # A callback that this browser did not begin ends nowhere.
        stranger = Browser(self.provider.ca, self.server.state / "ca.pem")
        url, _ = stranger.get(base + "/console/oidc/callback?code=x&state=y")
        self.assertIn("login=refused", url)

    def test_z_keys_change_and_the_provider_goes_away(self) -> None:
        old = self.token("before")
        self.provider.end()
        self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=old).status, 200, "the last keys go on judging")
        self.server.stop()
        self.server.start()
        self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=old).status, 200, "after a restart, too")
        time.sleep(10)  # the server asks for unknown keys once in ten seconds
        self.provider.start()
        new = self.token("after")
        self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=new).status, 200, "the new key is fetched")
        self.assertEqual(self.server.ask("GET", "/api/v1/configmaps", token=old).status, 401, "and the old one is gone")


if __name__ == "__main__":
    unittest.main(verbosity=2)
