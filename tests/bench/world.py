"""What the benchmarks run in: a registry, a stand-in for GitHub's API (static answers from nginx),
a bare git repository, nginx in front of Slipway, `serve` and `work`."""

import base64
import os
import re
import secrets
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEPLOY = os.path.join(HERE, "..", "..", "deploy")
sys.path.insert(0, os.path.join(DEPLOY, "demo"))

import images
import raw
import service

TREE = "ab" * 20
ACCESS = re.compile(r'^\S+ - .*?"(\w+) (\S+) HTTP/[\d.]+" (\d+) \d+ ".*?" "(.*?)"$', re.M)
MANY = 20
MANY_TAGS = ("latest", "stable", "edge")


def image_list(host, names, tags):
    rows = []
    for name in names:
        rows.append(f"  - context: {name.rpartition('/')[2]}\n    registry: {host}\n"
                    f"    repository: {host}/{name}\n    tags: [{', '.join(tags)}]\n")
    return "container_images:\n" + "".join(rows)


class World:
    def __init__(self, slipway, programs, folder):
        self.slipway = os.path.abspath(slipway)
        self.programs = os.path.abspath(programs)
        self.folder = service.Folder(folder)
        self.change = 0

    def start(self):
        folder = self.folder
        folder.open()
        _, self.host = service.start_registry(folder)
        _, self.staging = service.start_registry(folder, "staging")
        self.registry = images.Registry(self.host, "slipway-bench")
        self.many = [f"bench/many{i:02d}" for i in range(1, MANY + 1)]
        folder.write("api/app.yaml", image_list(self.host, ["bench/app"], ["latest"]))
        folder.write("api/many.yaml", image_list(self.host, self.many, MANY_TAGS))
        _, self.api = service.start_nginx(folder, f"""
        default_type application/vnd.github.raw+json;
        location ~ ^/repos/bench/(app|many)/contents/ {{
            alias {folder.file('api')}/$1.yaml;
        }}
        location ~ ^/repos/[^/]+/[^/]+/git/commits/(.+)$ {{
            default_type application/json;
            return 200 '{{"sha":"$1","tree":{{"sha":"{TREE}"}}}}';
        }}
        location ~ ^/repos/[^/]+/[^/]+/compare/ {{
            default_type application/json;
            return 200 '{{"status":"ahead"}}';
        }}
""", name="api")
        self.floor_socket = os.path.join(folder.sockets, "floor.sock")
        self.socket = os.path.join(folder.sockets, "slipway.sock")
        self.nginx, self.port = self.start_front()
        self.hub_secret = secrets.token_hex(20).encode()
        self.plain_key = secrets.token_bytes(32)
        folder.write("secrets/hub", self.hub_secret.decode() + "\n", 0o600)
        self.plain_text = "whsec_" + base64.b64encode(self.plain_key).decode()
        folder.write("secrets/plain", self.plain_text + "\n", 0o600)
        for name in ("cache", "builds", "scratch"):
            os.makedirs(folder.file(name))
        self.config = folder.write("slipway.yaml", self.settings())
        self.start_git()
        self.serve = self.start_role("serve")
        self.work = self.start_role("work")

    def start_front(self):
        """The shipped nginx files, twice: for Slipway, and for the floor program."""
        parts = []
        for name in ("slipway-http.conf", "slipway-locations.conf"):
            with open(os.path.join(DEPLOY, "nginx", name), encoding="utf-8") as file:
                parts.append(file.read().replace("/var/log/nginx/slipway.log",
                                                 self.folder.log("nginx-access")))
        http = parts[0].replace("/run/slipway/slipway.sock", self.socket)
        floor = parts[1].partition("location ^~ /health/")[0]
        floor = floor.replace("/hooks/", "/floor/").replace(
            "fastcgi_pass slipway;", f"fastcgi_pass unix:{self.floor_socket};")
        http = "keepalive_requests 10000000;\n" + http
        return service.start_nginx(self.folder, parts[1] + floor, http, workers="2")

    def settings(self):
        folder = self.folder
        return f"""store: "sqlite:{folder.sockets}/slipway.db"
listen: "{self.socket}"
public_url: http://127.0.0.1:{self.port}
cache: "{folder.file('cache')}"
builder: {{dir: "{folder.file('builds')}", scratch: "{folder.file('scratch')}"}}
forges:
  hub:
    type: github
    url: http://127.0.0.1:{self.api}
    api: http://127.0.0.1:{self.api}
    hook_secrets: ["file:{folder.file('secrets', 'hub')}", "file:{folder.file('secrets', 'plain')}"]
  plain:
    type: git
    git: "file://{folder.file('git')}/{{project}}.git"
    hook_secrets: ["file:{folder.file('secrets', 'plain')}"]
registries:
  "{self.host}": {{plain_http: true}}
  "{self.staging}": {{plain_http: true}}
projects:
  - match: ways/**
    forge: plain
    may_publish: ["{self.host}/ways/*"]
    may_build: [gate, post]
    intermediate: {self.staging}/gate
  - match: bench/**
    forge: hub
    may_publish: ["{self.host}/bench/*"]
  - match: plain/**
    forge: plain
    may_publish: ["{self.host}/plain/*"]
"""

    def start_role(self, role):
        folder = self.folder
        process = folder.spawn(role, [self.slipway, role, "--config", self.config])
        if role == "serve":
            folder.wait_until("it was ready", process,
                              lambda: service.answers(self.port, "/health/ready") == 200)
        return process

    # --- plain git ---

    def start_git(self):
        self.env = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1")
        for who in ("AUTHOR", "COMMITTER"):
            self.env[f"GIT_{who}_NAME"] = "Bench"
            self.env[f"GIT_{who}_EMAIL"] = "bench@example.org"
        self.bare, self.clone = self.folder.file("git/plain/app.git"), self.folder.file("clone")
        self.git("init", "-q", "--bare", "-b", "main", self.bare)
        for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            self.git("-C", self.bare, "config", key, "true")
        self.git("init", "-q", "-b", "main", self.clone)
        self.folder.write("clone/.slipway.yaml", image_list(self.host, ["plain/app"], ["latest"]))

    def git(self, *args):
        return subprocess.run(["git", *args], env=self.env, check=True, capture_output=True,
                              text=True).stdout.strip()

    def commit(self):
        self.folder.write("clone/change", str(self.change))
        self.git("-C", self.clone, "add", "-A")
        self.git("-C", self.clone, "commit", "-q", "-m", f"Change {self.change}")
        self.git("-C", self.clone, "push", "-q", self.bare, "HEAD:refs/heads/main")
        return (self.git("-C", self.clone, "rev-parse", "HEAD"),
                self.git("-C", self.clone, "rev-parse", "HEAD^{tree}"))

    # --- events ---

    def staged(self, source, project, commit, tree, rows):
        body = raw.encode({
            "kind": "image.staged", "project": project, "change": self.change, "branch": "main",
            "commit": commit, "tree": tree, "run_id": secrets.token_hex(4),
            "images": [{"repository": f"{self.host}/{name}", "tag": tag, "digest": digest}
                       for name, tag, digest in rows]})
        return body, raw.standard_headers(self.plain_text, self.plain_key, body)

    def merged(self, source, project, commit):
        if source == "plain":
            body = raw.encode({"kind": "change.merged", "project": project, "branch": "main",
                               "change": self.change, "commit": commit,
                               "merged_at": int(time.time())})
            return body, raw.standard_headers(self.plain_text, self.plain_key, body)
        body = raw.encode({
            "action": "closed", "number": self.change,
            "pull_request": {
                "number": self.change, "state": "closed", "merged": True, "title": "Bench",
                "merged_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "merge_commit_sha": commit, "base": {"ref": "main"}, "head": {"sha": commit},
                "merged_by": {"login": "bench"},
                "html_url": f"http://127.0.0.1:{self.api}/{project}/pull/{self.change}"},
            "repository": {"full_name": project, "default_branch": "main"}})
        return body, raw.github_headers(self.hub_secret, body)

    def post(self, connection, source, event):
        body, headers = event
        status, answer = connection.call("POST", f"/hooks/{source}", headers, body)
        if status != 202:
            raise service.Trouble(f"/hooks/{source}: {status} {answer[:200]!r}",
                                  self.folder.log("serve"))

    # --- what is seen ---

    def link(self, name, tag):
        """The file in which docker-registry keeps what a tag shows: written just before its 201."""
        return self.folder.file("registry-data", "docker", "registry", "v2", "repositories", name,
                                "_manifests", "tags", tag, "current", "link")

    def wait_live(self, rows, seconds=30):
        """Until every (name, tag, digest) is what the registry shows; returns when."""
        until = time.monotonic() + seconds
        left = [(self.link(name, tag), digest) for name, tag, digest in rows]
        while left:
            path, digest = left[-1]
            try:
                with open(path, encoding="ascii") as file:
                    if file.read().strip() == digest:
                        left.pop()
                        continue
            except OSError:
                pass
            if time.monotonic() > until:
                raise service.Trouble(f"{path} does not show {digest}", self.folder.log("work"))
            if self.work.poll() is not None:
                raise service.Trouble("work ended", self.folder.log("work"))
            time.sleep(0.0001)
        return time.monotonic()

    def wait_gone(self, rows, seconds=30):
        until = time.monotonic() + seconds
        for name, tag, _ in rows:
            while os.path.exists(self.link(name, tag)) and self.registry.digest(name, tag):
                if time.monotonic() > until:
                    raise service.Trouble(f"{name}:{tag} is still there", self.folder.log("work"))
                time.sleep(0.002)

    def requests(self):
        """Slipway's own requests so far: (method, path, status)."""
        return [row[:3] for row in ACCESS.findall(self.folder.log_text("registry"))
                if row[3].startswith("slipway") and "bench" not in row[3]]

    def new_image(self):
        return images.from_files({"data": secrets.token_bytes(2000)})
