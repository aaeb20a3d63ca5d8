"""nginx in front of one slipway, with the very files that are shipped in deploy/nginx."""

import os

from .net import free_port, is_open
from .process import Process, tool

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
SHIPPED = os.path.join(ROOT, "deploy", "nginx")
MAIN = """
daemon off;
{user}
pid {dir}/nginx.pid;
error_log {dir}/error.log info;
worker_processes 2;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    access_log {dir}/access.log;
    include {dir}/slipway-http.conf;
    server {{
        listen 127.0.0.1:{port};
        include {dir}/slipway-locations.conf;
    }}
}}
"""


def shipped(name, **replaced):
    """A shipped file's text; each path that is replaced must be in it."""
    with open(os.path.join(SHIPPED, name), encoding="utf-8") as file:
        text = file.read()
    for old, new in replaced.items():
        old = {"socket": "/run/slipway/slipway.sock", "log": "/var/log/nginx/"}[old]
        assert old in text, f"{old} is not in {name}"
        text = text.replace(old, new)
    return text


class Nginx:
    def __init__(self, folder, socket, base="", extra=""):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{base}"
        locations = shipped("slipway-locations.conf", log=folder + "/")
        locations = locations.replace("location ^~ /", f"location ^~ {base}/").replace(
            "fastcgi_pass slipway;", f"fastcgi_pass slipway; {extra}")
        self.write("slipway-http.conf", shipped("slipway-http.conf", socket=socket))
        self.write("slipway-locations.conf", locations)
        user = "user root;" if os.geteuid() == 0 else ""
        self.write("nginx.conf", MAIN.format(dir=folder, port=self.port, user=user))
        self.argv = [tool("nginx"), "-p", folder, "-c", os.path.join(folder, "nginx.conf")]
        self.process = Process("nginx", self.argv, os.path.join(folder, "output"),
                               ready=lambda: is_open(("127.0.0.1", self.port)))

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(text)

    def logs(self):
        """All that nginx wrote, as one text."""
        text = ""
        for name in ("access.log", "error.log", "slipway.log", "output"):
            path = os.path.join(self.folder, name)
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    text += file.read()
        return text

    def stop(self):
        self.process.stop()
