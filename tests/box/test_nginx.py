"""The nginx files that are shipped, in a real nginx."""

import os
import socket
import subprocess
import time

from lib import signing
from lib.net import call
from lib.process import tool
from lib.slipway import GERRIT_SECRET, SECRET
from lib.web import Nginx, shipped

JSON = {"Content-Type": "application/json"}


def test_the_secret_is_in_no_log_of_nginx(slipway):
    paths = [f"/hooks/review/{GERRIT_SECRET}", f"/hooks/review?secret={GERRIT_SECRET}",
             f"/hooks/review/{GERRIT_SECRET}?token={GERRIT_SECRET}"]
    for n, path in enumerate(paths):
        assert slipway.post(b'{"n": %d}' % n, path, JSON).status == 202
    assert slipway.post(b"x" * 300_000, paths[0], JSON).status == 202     # goes through a file
    assert slipway.post(b"x" * (27 * 2**20), paths[0], JSON).status == 413
    # The upstream is away: nginx would like to tell which request failed.
    slipway.serve.stop()
    for path in paths:
        assert slipway.post(b"{}", path, JSON).status == 502
    slipway.front.stop()
    logs = slipway.front.logs()
    assert GERRIT_SECRET not in logs
    assert logs.count('"POST /hooks/review" 202') == 4
    assert logs.count('"POST /hooks/review" 502') == 3
    slipway.front = None


def test_httpoxy(slipway):
    headers = dict(signing.github_headers(SECRET, b"{}"), Proxy="http://192.0.2.1:3128")
    assert slipway.post(b"{}", headers=headers).status == 202


def test_below_another_path(new_slipway):
    one = new_slipway()
    one.config["public_url"] = "https://ci.example.org/slipway"
    one.write_config()
    one.start_serve()
    one.front = Nginx(os.path.join(one.folder, "n"), one.socket, base="/slipway")
    assert one.post(b'{"n": 1}').status == 202
    assert call("GET", one.nginx.url + "/health/ready").status == 200
    headers = {"Content-Type": "application/json"}
    assert one.post(b'{"n": 2}', f"/hooks/review/{GERRIT_SECRET}", headers).status == 202
    one.front.stop()
    assert GERRIT_SECRET not in one.front.logs()
    assert '"POST /slipway/hooks/review" 202' in one.front.logs()
    one.front = None


def test_slow_senders_hold_no_thread(slipway):
    """A hundred half-sent bodies wait in nginx, not in us."""
    assert slipway.nginx
    slow = []
    for _ in range(100):
        client = socket.create_connection(("127.0.0.1", slipway.nginx.port))
        client.sendall(b"POST /hooks/hub HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        slow.append(client)
    began = time.monotonic()
    assert slipway.post(b'{"n": 1}').status == 202
    assert time.monotonic() - began < 2
    for client in slow:
        client.close()


EXAMPLE = """
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{}}
http {{
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    include {dir}/slipway-http.conf;
    include {dir}/example.conf;
}}
"""


def test_the_example_passes_nginx_t(tmp_path):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    subprocess.run([tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=ci.example.org", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    example = shipped("example.conf")
    for old, new in (("/etc/ssl/certs/ci.example.org.pem", certificate),
                     ("/etc/ssl/private/ci.example.org.key", key),
                     ("/etc/nginx/snippets/", f"{tmp_path}/")):
        assert old in example
        example = example.replace(old, new)
    (tmp_path / "example.conf").write_text(example)
    (tmp_path / "slipway-http.conf").write_text(shipped("slipway-http.conf"))
    (tmp_path / "slipway-locations.conf").write_text(
        shipped("slipway-locations.conf", log=f"{tmp_path}/"))
    (tmp_path / "nginx.conf").write_text(EXAMPLE.format(dir=tmp_path))
    done = subprocess.run([tool("nginx"), "-t", "-p", str(tmp_path), "-c",
                           str(tmp_path / "nginx.conf")], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr and "[emerg]" not in done.stderr
