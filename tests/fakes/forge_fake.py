"""Strict fakes of GitHub's and Gerrit's REST interfaces, for the calls that Slipway makes.

    with GitHubFake(token="t0ken") as hub:
        hub.commit("team/app", MERGED, files={".slipway.yaml": b"..."}, parents=[BASE])
        hub.pull("team/app", 7, head=HEAD, merge_commit=MERGED, merged_at="2026-11-23T16:40:10Z")
        ... hub.url ...

What is reported is kept: `hub.statuses[sha]` and `hub.comments[number]`, `review.reviews`, each in
the order in which they came.

Requests that the real ones would refuse (or that break the documented form) are refused here too
and listed in `violations`; a test ends with `assert not hub.violations`. Each request is recorded
in `requests`; `inject` makes the next ones fail or wait. State may be changed at any time.
"""

import base64
import hashlib
import http.server
import json
import re
import sys
import threading
import time
import urllib.parse

COMMIT = re.compile(r"[0-9a-f]{40}\Z|[0-9a-f]{64}\Z")


class Answer(Exception):
    """Ends the handling of a request with this answer."""

    def __init__(self, status, body=b"", content_type="text/plain; charset=UTF-8", headers=()):
        super().__init__(status)
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = dict(headers)


class Request:
    def __init__(self, method, target, headers, body=b""):
        self.method = method
        self.body = body
        self.target = target
        path, _, query = target.partition("?")
        self.path = path
        self.parts = [urllib.parse.unquote(part) for part in path.split("/")[1:]]
        self.query = urllib.parse.parse_qs(query, keep_blank_values=True)
        self.headers = headers


class Fault:
    def __init__(self, pattern, status, delay, times, headers, body):
        self.pattern = re.compile(pattern)
        self.status = status
        self.delay = delay
        self.times = times
        self.headers = headers
        self.body = body


class Commit:
    def __init__(self, sha, tree, parents, files):
        self.sha = sha
        self.tree = tree
        self.parents = list(parents)
        self.files = files


class Project:
    def __init__(self, private):
        self.private = private
        self.head = "main"
        self.commits = {}
        self.branches = {}
        self.tags = {}
        self.tag_objects = {}
        self.changes = {}

    def ancestors(self, sha):
        """The commit and all that it descends from."""
        seen, todo = set(), [sha]
        while todo:
            at = todo.pop()
            if at in self.commits and at not in seen:
                seen.add(at)
                todo += self.commits[at].parents
        return seen

    def peel(self, sha):
        while sha in self.tag_objects:
            sha = self.tag_objects[sha]
        return sha


def make_handler(fake):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def answer(self, answer):
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def handle_any(self):
            length = int(self.headers.get("Content-Length") or 0)
            request = Request(self.command, self.path, self.headers, self.rfile.read(length))
            self.answer(fake.respond(request))

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, format, *args):
            pass

    return Handler


class ForgeFake:
    """What both have in common: a server, projects, records, faults."""

    def __init__(self):
        self.lock = threading.RLock()
        self.projects = {}
        self.requests = []
        self.violations = []
        self.faults = []
        self.server = None
        self.thread = None
        self.url = None

    def start(self, port=0):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), make_handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.thread.join()
            self.server = None

    def __enter__(self):
        return self if self.server else self.start()

    def __exit__(self, *error):
        self.stop()

    # --- state ---

    def project(self, name, private=False):
        with self.lock:
            return self.projects.setdefault(name, Project(private))

    def commit(self, project, sha, files=None, parents=(), tree=None):
        """files: path -> bytes, all that the commit holds."""
        if not COMMIT.match(sha):
            raise ValueError(f"no commit: {sha}")
        files = {path: bytes(text) for path, text in (files or {}).items()}
        listing = json.dumps([[p, hashlib.sha1(t).hexdigest()] for p, t in sorted(files.items())])
        tree = tree or hashlib.sha1(listing.encode()).hexdigest()
        with self.lock:
            self.project(project).commits[sha] = Commit(sha, tree, parents, files)

    def branch(self, project, name, sha):
        with self.lock:
            self.project(project).branches[name] = sha

    def tag(self, project, name, sha, objects=()):
        """A tag on a commit; objects: ids of the tag objects between, outermost first."""
        with self.lock:
            state = self.project(project)
            chain = list(objects) + [sha]
            for outer, inner in zip(chain, chain[1:]):
                state.tag_objects[outer] = inner
            state.tags[name] = chain[0]

    def delete_tag(self, project, name):
        with self.lock:
            self.project(project).tags.pop(name, None)

    # --- records and faults ---

    def count(self, pattern=""):
        with self.lock:
            return sum(1 for r in self.requests if re.search(pattern, r.target))

    def inject(self, pattern="", status=None, delay=0.0, times=1, headers=(), body=b""):
        """The next `times` requests whose target matches wait `delay` seconds, and then fail with
        `status` when one is given."""
        with self.lock:
            self.faults.append(Fault(pattern, status, delay, times, headers, body))

    def take_fault(self, request):
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.pattern.search(request.target):
                    fault.times -= 1
                    return fault
        return None

    def violation(self, request, text, answer):
        with self.lock:
            self.violations.append(f"{request.method} {request.target}: {text}")
        raise answer

    def respond(self, request):
        with self.lock:
            self.requests.append(request)
        fault = self.take_fault(request)
        if fault:
            time.sleep(fault.delay)
            if fault.status:
                return Answer(fault.status, fault.body, headers=fault.headers)
        try:
            with self.lock:
                return self.handle(request)
        except Answer as answer:
            return answer

    def json_body(self, request, fields, refusal):
        """The JSON object of a POST, with no other fields than these."""
        kind = request.headers.get("Content-Type", "").replace(" ", "").lower()
        if kind not in ("application/json", "application/json;charset=utf-8"):
            self.violation(request, f"Content-Type {kind}", refusal)
        try:
            value = json.loads(request.body.decode("utf-8"))
        except ValueError:
            self.violation(request, f"no JSON: {request.body!r}", refusal)
        if not isinstance(value, dict) or set(value) - set(fields):
            self.violation(request, f"other fields than {fields}: {value}", refusal)
        return value

    def handle(self, request):
        raise NotImplementedError


class GitHubFake(ForgeFake):
    """https://docs.github.com/en/rest, API version 2022-11-28. `url` is the API's base."""

    ACCEPT = ("application/vnd.github+json", "application/vnd.github.raw+json")
    VERSION = "2022-11-28"

    STATUS = ("state", "target_url", "description", "context")
    RIGHTS = ("statuses", "comments")

    def __init__(self, token=None, rights=RIGHTS):
        super().__init__()
        self.token = token
        self.rights = set(rights)
        self.statuses = {}
        self.comments = {}

    def pull(self, project, number, head, base="main", merged=True, merge_commit=None,
             merged_at=None, state=None, title="A change"):
        """Unmerged ones have a merge_commit as well, as GitHub's do: of a trial merge."""
        with self.lock:
            self.project(project).changes[number] = {
                "number": number, "title": title, "merged": merged,
                "state": state or ("closed" if merged else "open"),
                "merge_commit_sha": merge_commit,
                "merged_at": (merged_at or "2026-11-23T16:40:10Z") if merged else None,
                "merged_by": {"login": "kim"} if merged else None,
                "head": {"ref": "topic", "sha": head}, "base": {"ref": base},
                "html_url": f"https://github.example.org/{project}/pull/{number}",
            }

    @staticmethod
    def json(value, status=200):
        return Answer(status, json.dumps(value).encode(), "application/json; charset=utf-8")

    def error(self, status, message):
        return self.json({"message": message, "documentation_url": "https://docs.github.com/rest",
                          "status": str(status)}, status)

    def check(self, request):
        headers = request.headers
        accept = headers.get("Accept")
        if not headers.get("User-Agent"):
            self.violation(request, "no User-Agent", self.error(403, "User-Agent is required"))
        if accept not in self.ACCEPT:
            self.violation(request, f"Accept: {accept}", self.error(415, "Unsupported 'Accept'"))
        version = headers.get("X-GitHub-Api-Version")
        if version != self.VERSION:
            self.violation(request, f"API version {version}", self.error(400, "no such version"))
        writes = re.fullmatch(r"/repos/[^/]+/[^/]+/(statuses/[^/]+|issues/[^/]+/comments)",
                              request.path)
        if request.method != "GET" and not (request.method == "POST" and writes):
            self.violation(request, "method", self.error(404, "Not Found"))

    def is_proven(self, request):
        given = request.headers.get("Authorization")
        if given is None:
            return False
        if self.token is None or given != f"Bearer {self.token}":
            raise self.error(401, "Bad credentials")
        return True

    def handle(self, request):
        self.check(request)
        proven = self.is_proven(request)
        parts = request.parts
        if len(parts) < 4 or parts[0] != "repos" or "%2F" in request.path.upper():
            self.violation(request, "no such path", self.error(404, "Not Found"))
        state = self.projects.get(f"{parts[1]}/{parts[2]}")
        if not state or (state.private and not proven):
            raise self.error(404, "Not Found")
        rest = parts[3:]
        raw = request.headers.get("Accept") == self.ACCEPT[1]
        if raw and rest[0] != "contents":
            self.violation(request, "raw is for files", self.error(415, "Unsupported 'Accept'"))
        calls = [("contents", self.contents), ("git/commits", self.git_commit),
                 ("git/ref/tags", self.tag_ref), ("git/tags", self.tag_object),
                 ("pulls", self.pulls), ("compare", self.compare),
                 ("statuses", self.set_status), ("issues", self.issue_comments)]
        for prefix, call in calls:
            names = prefix.split("/")
            if rest[:len(names)] == names and len(rest) > len(names):
                return call(request, state, "/".join(rest[len(names):]))
        return self.violation(request, "no such path", self.error(404, "Not Found"))

    def contents(self, request, state, path):
        ref = request.query.get("ref", [None])[0]
        commit = state.commits.get(ref) or state.commits.get(state.branches.get(ref))
        if not commit:
            raise self.error(404, f"No commit found for the ref {ref}")
        below = sorted(p for p in commit.files if p.startswith(path + "/"))
        if below:
            return self.json([{"type": "file", "path": p} for p in below])
        if path not in commit.files:
            raise self.error(404, "Not Found")
        if request.headers.get("Accept") == self.ACCEPT[1]:
            return Answer(200, commit.files[path],
                          "application/vnd.github.raw+json; charset=utf-8")
        text = base64.encodebytes(commit.files[path]).decode()
        return self.json({"type": "file", "encoding": "base64", "content": text, "path": path})

    def git_commit(self, request, state, sha):
        commit = state.commits.get(sha)
        if not commit:
            raise self.error(404, "Not Found")
        return self.json({"sha": sha, "tree": {"sha": commit.tree},
                          "parents": [{"sha": parent} for parent in commit.parents]})

    @staticmethod
    def object(state, sha):
        return {"sha": sha, "type": "tag" if sha in state.tag_objects else "commit"}

    def tag_ref(self, request, state, name):
        if name not in state.tags:
            raise self.error(404, "Not Found")
        return self.json({"ref": f"refs/tags/{name}",
                          "object": self.object(state, state.tags[name])})

    def tag_object(self, request, state, sha):
        if sha not in state.tag_objects:
            raise self.error(404, "Not Found")
        return self.json({"sha": sha, "object": self.object(state, state.tag_objects[sha])})

    def pulls(self, request, state, number):
        if not number.isdigit() or int(number) not in state.changes:
            raise self.error(404, "Not Found")
        return self.json(state.changes[int(number)])

    def want_right(self, request, right):
        if "Authorization" not in request.headers:
            raise self.error(401, "Requires authentication")
        if right not in self.rights:
            raise self.error(403, "Resource not accessible by personal access token")

    def invalid(self, request, text):
        self.violation(request, text, self.error(422, f"Validation Failed: {text}"))

    def set_status(self, request, state, sha):
        if request.method != "POST":
            self.violation(request, "method", self.error(404, "Not Found"))
        self.want_right(request, "statuses")
        value = self.json_body(request, self.STATUS, self.error(400, "Problems parsing JSON"))
        if value.get("state") not in ("error", "failure", "pending", "success"):
            self.invalid(request, f"state {value.get('state')}")
        if len(value.get("description") or "") > 140:
            self.invalid(request, "description is too long (maximum is 140 characters)")
        if not re.match(r"https?://", value.get("target_url") or "https://"):
            self.invalid(request, "target_url must use http(s) scheme")
        if not value.get("context") or len(value["context"]) > 255:
            self.invalid(request, "context")
        if not COMMIT.match(sha) or sha not in state.commits:
            raise self.error(422, f"No commit found for SHA: {sha}")
        self.statuses.setdefault(sha, []).append(value)
        return self.json({"id": len(self.statuses[sha]), **value}, 201)

    def issue_comments(self, request, state, path):
        number, _, rest = path.partition("/")
        if rest != "comments" or not number.isdigit() or int(number) not in state.changes:
            raise self.error(404, "Not Found")
        said = self.comments.setdefault(int(number), [])
        if request.method == "GET":
            since = request.query.get("since", [""])[0]
            size = int(request.query.get("per_page", ["30"])[0])
            if since and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", since):
                self.invalid(request, f"since {since}")
            if not 1 <= size <= 100:
                self.invalid(request, f"per_page {size}")
            return self.json([c for c in said if c["updated_at"] >= since][:size])
        self.want_right(request, "comments")
        value = self.json_body(request, ("body",), self.error(400, "Problems parsing JSON"))
        if not value.get("body") or len(value["body"]) > 65536:
            self.invalid(request, "body")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        said.append({"id": len(said) + 1, "body": value["body"], "created_at": now,
                     "updated_at": now, "user": {"login": "slipway-bot"}})
        return self.json(said[-1], 201)

    def compare(self, request, state, pair):
        base, dots, head = pair.partition("...")
        if not dots or base not in state.commits or head not in state.commits:
            raise self.error(404, "Not Found")
        before, after = state.ancestors(base), state.ancestors(head)
        if not before & after:
            raise self.error(404, f"No common ancestor between {base} and {head}.")
        status = ("identical" if base == head else "ahead" if base in after
                  else "behind" if head in before else "diverged")
        return self.json({"status": status, "ahead_by": len(after - before),
                          "behind_by": len(before - after), "commits": []})


class GerritFake(ForgeFake):
    """https://gerrit-review.googlesource.com/Documentation/rest-api.html. `url` is the web base."""

    NOTIFY = ("NONE", "OWNER", "OWNER_REVIEWERS", "ALL")

    def __init__(self, username=None, password=None, labels=None):
        """labels: name -> the highest vote that our user may give, up or down; 0: none."""
        super().__init__()
        self.username = username
        self.password = password
        self.labels = {"Code-Review": 0, "Verified": 1} if labels is None else labels
        self.reviews = []

    def change(self, project, number, revisions, branch="main", status="MERGED",
               submitted="2026-11-23 16:40:10.000000000"):
        """revisions: (commit, kind, created), oldest first."""
        known = {sha: {"_number": i, "kind": kind, "created": created}
                 for i, (sha, kind, created) in enumerate(revisions, 1)}
        with self.lock:
            self.project(project).changes[number] = {
                "id": f"{project}~{number}", "project": project, "branch": branch,
                "_number": number, "status": status, "subject": "A change",
                "current_revision": revisions[-1][0], "revisions": known,
                **({"submitted": submitted} if status == "MERGED" else {}),
            }

    @staticmethod
    def json(value):
        return Answer(200, b")]}'\n" + json.dumps(value).encode(),
                      "application/json; charset=UTF-8")

    @staticmethod
    def missing(what):
        return Answer(404, f"Not found: {what}".encode())

    def is_proven(self, request):
        """Below /a/ credentials are asked for; elsewhere they are not looked at."""
        given = request.headers.get("Authorization")
        if request.parts[0] != "a":
            if given:
                self.violation(request, "credentials outside /a/", Answer(400, b"Bad Request"))
            return False
        pair = f"{self.username}:{self.password}".encode()
        if self.username is None or given != "Basic " + base64.b64encode(pair).decode():
            raise Answer(401, b"Unauthorized", headers={
                "WWW-Authenticate": 'Basic realm="Gerrit Code Review"'})
        request.parts = request.parts[1:]
        return True

    def handle(self, request):
        proven = self.is_proven(request)
        parts = request.parts
        if len(parts) == 5 and (parts[0], parts[2], parts[4]) == ("changes", "revisions", "review"):
            return self.post_review(request, parts[1], parts[3], proven)
        if request.method != "GET":
            self.violation(request, "method", Answer(405, b"Method Not Allowed"))
        if len(parts) == 2 and parts[0] == "changes":
            return self.get_change(request, parts[1], proven)
        if len(parts) >= 3 and parts[0] == "projects":
            state = self.visible(parts[1], proven)
            if parts[2] == "tags" and len(parts) == 4:
                return self.get_tag(state, parts[3])
            if parts[2:] == ["HEAD"]:
                return self.json("refs/heads/" + state.head)
            if parts[2] == "commits" and len(parts) > 3:
                return self.get_commit(request, state, parts[3], parts[4:])
        return self.violation(request, "no such path", Answer(404, b"Not Found"))

    def visible(self, name, proven):
        state = self.projects.get(name)
        if not state or (state.private and not proven):
            raise self.missing(name)
        return state

    def find_change(self, request, identifier, proven):
        project, tilde, number = identifier.rpartition("~")
        if not tilde or not number.isdigit():
            self.violation(request, "change id", self.missing(identifier))
        state = self.visible(project, proven)
        if int(number) not in state.changes:
            raise self.missing(identifier)
        return dict(state.changes[int(number)])

    def post_review(self, request, identifier, revision, proven):
        if request.method != "POST":
            self.violation(request, "method", Answer(405, b"Method Not Allowed"))
        if not proven:
            raise Answer(403, b"Authentication required")
        change = self.find_change(request, identifier, proven)
        if revision not in change["revisions"]:
            raise self.missing(revision)
        bad = Answer(400, b"bad request")
        value = self.json_body(request, ("message", "tag", "labels", "notify"), bad)
        if not value.get("tag", "").startswith("autogenerated:"):
            self.violation(request, f"tag {value.get('tag')}", bad)
        if value.get("notify", "ALL") not in self.NOTIFY:
            self.violation(request, f"notify {value['notify']}", bad)
        if len(value.get("message", "").encode()) > 16384:
            self.violation(request, "the message is too long", bad)
        for label, vote in value.get("labels", {}).items():
            if label not in self.labels:
                raise Answer(400, f'label "{label}" is not a configured label'.encode())
            if vote not in (-2, -1, 0, 1, 2):
                self.violation(request, f"vote {vote}", bad)
            if abs(vote) > self.labels[label]:
                raise Answer(403, f'Applying label "{label}": {vote} is restricted'.encode())
            if change["status"] != "NEW":
                raise Answer(409, b"change is closed")
        self.reviews.append({"change": identifier, "revision": revision, **value})
        return self.json({"labels": value["labels"]} if "labels" in value else {})

    def get_change(self, request, identifier, proven):
        options = set(request.query.get("o", []))
        change = self.find_change(request, identifier, proven)
        unknown = options - {"ALL_REVISIONS", "CURRENT_REVISION"}
        if unknown:
            self.violation(request, f"options {unknown}", Answer(400, b"unrecognized option"))
        if not options:
            del change["revisions"], change["current_revision"]
        elif "ALL_REVISIONS" not in options:
            current = change["current_revision"]
            change["revisions"] = {current: change["revisions"][current]}
        return self.json(change)

    def get_tag(self, state, name):
        if name not in state.tags:
            raise self.missing(name)
        sha = state.tags[name]
        answer = {"ref": f"refs/tags/{name}", "revision": sha}
        if sha in state.tag_objects:
            answer["object"] = state.tag_objects[sha]
        return self.json(answer)

    def get_commit(self, request, state, sha, rest):
        commit = state.commits.get(sha)
        if not commit:
            raise self.missing(sha)
        if not rest:
            return self.json({"commit": sha, "parents": [{"commit": p} for p in commit.parents]})
        if rest == ["in"]:
            return self.json({
                "branches": sorted(name for name, head in state.branches.items()
                                   if sha in state.ancestors(head)),
                "tags": sorted(name for name, head in state.tags.items()
                               if sha in state.ancestors(state.peel(head)))})
        if len(rest) == 3 and rest[0] == "files" and rest[2] == "content":
            if rest[1] not in commit.files:
                raise self.missing(rest[1])
            return Answer(200, base64.b64encode(commit.files[rest[1]]), headers={
                "X-FYI-Content-Encoding": "base64", "X-FYI-Content-Type": "text/plain"})
        return self.violation(request, "no such path", Answer(404, b"Not Found"))


def main():
    """For tests in C: `forge_fake.py github|gerrit`. Project team/app has the commits aaa... and
    bbb..., the latter of change 7. Prints the port, and each request with its body as a line of
    JSON; a PUT of /_ctl/fault with {"pattern", "status", "times", "delay"} makes a fault."""
    kind = sys.argv[1]
    fake = (GitHubFake if kind == "github" else GerritFake)(*sys.argv[2:])
    fake.commit("team/app", "a" * 40)
    fake.commit("team/app", "b" * 40, parents=["a" * 40])
    if kind == "github":
        fake.pull("team/app", 7, head="b" * 40, merged=False)
    else:
        fake.change("team/app", 7, [("b" * 40, "REWORK", "2026-11-23 16:40:10.000000000")],
                    status="NEW")
    respond = fake.respond

    def told(request):
        if request.path == "/_ctl/fault":
            fault = json.loads(request.body)
            fake.inject(**fault)
            return Answer(200)
        seen = len(fake.violations)
        answer = respond(request)
        print(json.dumps({"method": request.method, "target": request.target,
                          "body": request.body.decode("utf-8"), "status": answer.status,
                          "violations": fake.violations[seen:]}), flush=True)
        return answer

    fake.respond = told
    fake.start()
    print(f"port={fake.url.rpartition(':')[2]}", flush=True)
    fake.thread.join()


if __name__ == "__main__":
    main()
