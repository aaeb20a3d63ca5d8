"""A plain client of registries, for tests: independent of the program, and of any tool.

    client = Client("http://127.0.0.1:5000", auth=("ci", "geheim"), ca=path, cert=(cert, key))
    client.call("GET", "/v2/team/app/manifests/latest", headers={"Accept": ACCEPT})

Signs in where asked (Basic, Bearer), keeps its connection. Not for use by several threads.
"""

import base64
import http.client
import json
import re
import ssl
import urllib.parse

from .net import Answer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
ACCEPT = ", ".join([MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST])


class Client:
    def __init__(self, base_url, auth=None, ca=None, cert=None, timeout=30):
        self.base = base_url.rstrip("/")
        self.auth = auth
        self.ca = ca
        self.cert = cert
        self.timeout = timeout
        self.tokens = {}  # scope -> token
        self.basic = False
        self.connections = {}

    def close(self):
        for connection in self.connections.values():
            connection.close()
        self.connections.clear()

    def connection(self, parts):
        key = (parts.scheme, parts.hostname, parts.port)
        if key in self.connections:
            return self.connections[key]
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(*self.cert)
            made = http.client.HTTPSConnection(parts.hostname, parts.port, context=context,
                                               timeout=self.timeout)
        else:
            made = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.timeout)
        self.connections[key] = made
        return made

    def send(self, method, url, body=None, headers=None):
        """One request, nothing followed, signed in or not as the headers say."""
        parts = urllib.parse.urlsplit(url)
        connection = self.connection(parts)
        path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        for attempt in (1, 2):
            fresh = connection.sock is None
            try:
                connection.request(method, path, body, headers or {})
                response = connection.getresponse()
                return Answer(response.status, response.headers, response.read())
            except (http.client.RemoteDisconnected, ConnectionError):
                # A kept connection that the server closed meanwhile.
                connection.close()
                if fresh or attempt == 2:
                    raise
            except Exception:
                connection.close()
                raise
        return None

    def basic_header(self):
        return "Basic " + base64.b64encode(":".join(self.auth).encode()).decode()

    def scope_of(self, method, path):
        name = re.match(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/", path)
        rights = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(method, "pull,push")
        return f"repository:{name.group(1)}:{rights}" if name else ""

    def token(self, challenge, scopes):
        """A new token of the service that a challenge names."""
        values = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        query = [("scope", scope) for scope in scopes]
        if "service" in values:
            query.append(("service", values["service"]))
        headers = {"Authorization": self.basic_header()} if self.auth else {}
        url = values["realm"] + ("&" if "?" in values["realm"] else "?")
        answer = self.send("GET", url + urllib.parse.urlencode(query), headers=headers)
        assert answer.status == 200, answer
        value = json.loads(answer.body)
        return value.get("token") or value["access_token"]

    def call(self, method, path, body=None, headers=None, also=()):
        """A request of the registry's; `also` are more scopes for the same token."""
        headers = dict(headers or {})
        url = path if "://" in path else self.base + path
        scopes = (self.scope_of(method, path), *also)
        if scopes in self.tokens:
            headers["Authorization"] = "Bearer " + self.tokens[scopes]
        elif self.basic and self.auth:
            headers["Authorization"] = self.basic_header()
        answer = self.send(method, url, body, headers)
        challenge = answer.headers.get("WWW-Authenticate") or ""
        if answer.status != 401 or not challenge:
            return answer
        if challenge.lower().startswith("bearer"):
            self.tokens[scopes] = self.token(challenge, scopes)
            headers["Authorization"] = "Bearer " + self.tokens[scopes]
        elif self.auth and not self.basic:
            self.basic = True
            headers["Authorization"] = self.basic_header()
        else:
            return answer
        return self.send(method, url, body, headers)

    def expect(self, status, method, path, body=None, headers=None, also=()):
        answer = self.call(method, path, body, headers, also)
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.text[:500]}"
        return answer


def client_of(where, auth=None, ca=None, cert=None):
    """A Client as it is, or one for a base URL."""
    return where if isinstance(where, Client) else Client(where, auth, ca, cert)
