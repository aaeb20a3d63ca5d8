"""Servers that a demo or a benchmark starts: on loopback, in one folder, as the calling user, and
none outlives it. What a killed run left is found by its pid files and ended by the next run."""

import ctypes
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SOCKET_MAX = 90  # of the 108 bytes of a socket's path: room for a file's name
STOP_SECONDS = 10


class Trouble(Exception):
    """Something went wrong; `log` names the file whose end tells more."""

    def __init__(self, text, log=None):
        super().__init__(text)
        self.log = log


def start_time(pid):
    """When a process was started, in ticks since boot: with the pid it names it for good."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port, path, host="127.0.0.1"):
    """The status of a GET, or None when nobody answers."""
    try:
        connection = http.client.HTTPConnection(host, port, timeout=2)
        connection.request("GET", path, headers={"User-Agent": "slipway-demo"})
        status = connection.getresponse().status
        connection.close()
        return status
    except (OSError, http.client.HTTPException):
        return None


def end_process(pid, started):
    """TERM, then KILL; only while it is the process that we mean."""
    for sign, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5)):
        if start_time(pid) != started:
            return
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            return
        until = time.monotonic() + seconds
        while time.monotonic() < until and start_time(pid) == started:
            time.sleep(0.02)


class Folder:
    """A folder that is ours alone, with logs/, run/ (pid files) and a place for sockets."""

    MARK = ".slipway-demo"

    def __init__(self, path):
        self.path = os.path.abspath(path)
        self.processes = []

    def file(self, *names):
        return os.path.join(self.path, *names)

    def write(self, name, text, mode=0o644):
        path = self.file(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            file.write(text)
        return path

    def log(self, name):
        return self.file("logs", name + ".log")

    def log_text(self, name):
        try:
            with open(self.log(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def open(self):
        """Ends what an earlier run left, empties the folder, lays it out."""
        if os.path.isdir(self.path) and os.listdir(self.path):
            if not os.path.exists(self.file(self.MARK)):
                raise Trouble(f"{self.path} is there already and is not a demo's: name another")
            self.end_leftovers()
            self.remove()
        os.makedirs(self.path, exist_ok=True)
        self.write(self.MARK, "A demo's folder: the next run empties it.\n")
        for name in ("logs", "run"):
            os.makedirs(self.file(name), exist_ok=True)
        if len(self.file("run")) <= SOCKET_MAX:
            self.sockets = self.file("run")
        else:
            self.sockets = tempfile.mkdtemp(prefix="slipway-")
            self.write("sockets-elsewhere", self.sockets)

    def end_leftovers(self):
        for name in sorted(os.listdir(self.file("run"))) if os.path.isdir(self.file("run")) else ():
            if not name.endswith(".pid"):
                continue
            with open(self.file("run", name), encoding="ascii") as file:
                words = file.read().split()
            if len(words) == 2 and words[0].isdigit():
                end_process(int(words[0]), words[1])

    def remove(self):
        """The folder and what belongs to it; buildah's files may need its own user namespace."""
        try:
            with open(self.file("sockets-elsewhere"), encoding="utf-8") as file:
                elsewhere = file.read()
            if os.path.basename(elsewhere).startswith("slipway-"):
                shutil.rmtree(elsewhere, ignore_errors=True)
        except OSError:
            pass
        shutil.rmtree(self.path, ignore_errors=True)
        if os.path.isdir(self.file("storage")) and os.getuid() != 0:
            subprocess.run(["buildah", "unshare", "rm", "-rf", self.path], check=False,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if os.path.isdir(self.path):
            shutil.rmtree(self.path)

    def spawn(self, name, argv, env=None):
        """Starts a server of ours; its output goes to logs/<name>.log."""
        with open(self.log(name), "ab") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.path,
                env=env, start_new_session=True, preexec_fn=die_with_parent)
        self.write(f"run/{name}.pid", f"{process.pid} {start_time(process.pid)}\n")
        process.name = name
        self.processes.append(process)
        return process

    def wait_until(self, what, process, check, seconds=15):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if check():
                return
            if process.poll() is not None:
                raise Trouble(f"{process.name} ended with {process.returncode} before {what}",
                              self.log(process.name))
            time.sleep(0.02)
        raise Trouble(f"{process.name}: {what} did not happen in {seconds} s",
                      self.log(process.name))

    def stop(self, process):
        end = process.poll() is None
        if end:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.remove(process)
        try:
            os.unlink(self.file("run", process.name + ".pid"))
        except OSError:
            pass

    def stop_all(self):
        for process in reversed(list(self.processes)):
            self.stop(process)
        try:
            with open(self.file("sockets-elsewhere"), encoding="utf-8") as file:
                shutil.rmtree(file.read(), ignore_errors=True)
        except OSError:
            pass


def on_free_port(folder, name, start, path):
    """start(port) spawns a server; tried again with another port when somebody was faster."""
    for _ in range(5):
        port = free_port()
        process = start(port)
        try:
            folder.wait_until(f"it answered on port {port}", process,
                              lambda p=port: answers(p, path) is not None)
            time.sleep(0.02)
            if process.poll() is None:
                return process, port
        except Trouble:
            if "address already in use" not in folder.log_text(name).lower():
                raise
        folder.stop(process)
    raise Trouble(f"{name}: no free port in five tries", folder.log(name))


def start_registry(folder, name="registry", env=None):
    def start(port):
        config = folder.write(f"{name}.yml", f"""version: 0.1
log: {{level: warn, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {folder.file(name + "-data")}}}
  delete: {{enabled: true}}
  cache: {{blobdescriptor: inmemory}}
http:
  addr: 127.0.0.1:{port}
  secret: {random.getrandbits(128):032x}
""")
        return folder.spawn(name, ["docker-registry", "serve", config], env)

    process, port = on_free_port(folder, name, start, "/v2/")
    return process, f"127.0.0.1:{port}"


def find_nginx():
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.access(nginx, os.X_OK):
        raise Trouble("nginx is not installed: deploy/bootstrap demo installs it")
    return nginx


def start_nginx(folder, server, http="", name="nginx", workers="1"):
    """An nginx of our own around the given server block's content; returns process and port."""
    nginx = find_nginx()
    temp = "\n".join(f"    {kind}_temp_path {folder.file('run', name + '-' + kind)};"
                     for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))

    def start(port):
        config = folder.write(f"{name}.conf", f"""{'user root;' if os.getuid() == 0 else ''}
worker_processes {workers};
daemon off;
pid {folder.file('run', name + '-master')};
error_log {folder.log(name)} warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
{temp}
{http}
    server {{
        listen 127.0.0.1:{port};
{server}
    }}
}}
""")
        return folder.spawn(name, [nginx, "-p", folder.path, "-e", folder.log(name), "-c", config])

    return on_free_port(folder, name, start, "/")


def slipway_nginx(folder, socket_path, deploy):
    """The shipped nginx files, with the paths of this folder in the place of the system's."""
    parts = []
    for name in ("slipway-http.conf", "slipway-locations.conf"):
        with open(os.path.join(deploy, "nginx", name), encoding="utf-8") as file:
            text = file.read()
        for theirs, ours in (("/run/slipway/slipway.sock", socket_path),
                             ("/var/log/nginx/slipway.log", folder.log("nginx-access"))):
            text = text.replace(theirs, ours)
        parts.append(text)
    return start_nginx(folder, parts[1], parts[0])
