"""serve as a process: sockets, signals, kills, silent clients."""

import os
import resource
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from lib.net import call, wait_until
from lib.process import Process, environment
from lib.slipway import GERRIT_SECRET, SECRET
from lib.web import Nginx

BODY = b'{"n": %d}'


class Load(threading.Thread):
    """Posts unique bodies until told to stop; remembers every answer."""

    def __init__(self, slipway, number):
        super().__init__()
        self.slipway = slipway
        self.number = number
        self.accepted = []
        self.others = {}
        self.done = threading.Event()

    def run(self):
        count = 0
        while not self.done.is_set():
            count += 1
            body = b'{"thread": %d, "n": %d}' % (self.number, count)
            try:
                status = self.slipway.post(body).status
            except OSError as error:
                status = type(error).__name__
            if status == 202:
                self.accepted.append(body)
            else:
                self.others[status] = self.others.get(status, 0) + 1
                time.sleep(0.01)


def start_load(slipway, threads):
    assert slipway.nginx
    load = [Load(slipway, n) for n in range(threads)]
    for one in load:
        one.start()
    return load


def end_load(load):
    """All accepted bodies, and the other answers counted."""
    others = {}
    for one in load:
        one.done.set()
    for one in load:
        one.join()
        for status, count in one.others.items():
            others[status] = others.get(status, 0) + count
    return [body for one in load for body in one.accepted], others


def test_health(slipway):
    for path, text in (("live", "live\n"), ("ready", "ready\n"), ("status", "ready\n")):
        answer = call("GET", f"{slipway.nginx.url}/health/{path}")
        assert (answer.status, answer.text) == (200, text)
    head = call("HEAD", slipway.nginx.url + "/health/live")
    assert (head.status, head.body) == (200, b"")
    assert call("POST", slipway.nginx.url + "/health/live", b"").status == 405


def test_ready_says_when_the_store_cannot_be_written(new_slipway):
    one = new_slipway()
    one.limit_files(one.start_serve(), 0)

    def answer():
        return call("GET", one.nginx.url + "/health/ready")
    wait_until(lambda: answer().status == 503, 10, "not ready")
    said = answer().text
    assert "store" in said and one.folder not in said
    assert call("GET", one.nginx.url + "/health/live").status == 200
    one.limit_files(one.serve, resource.RLIM_INFINITY)
    wait_until(lambda: answer().status == 200, 10, "ready again")


def test_the_socket_is_private_and_goes_away(slipway):
    mode = os.stat(slipway.socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o660
    slipway.stop()
    assert not os.path.exists(slipway.socket)


def refused(slipway, *argv, **popen):
    """serve must end at once with 2; returns what it said."""
    done = subprocess.run([slipway.bin, "serve", "--config", slipway.config_path, *argv],
                          capture_output=True, env=environment(), timeout=30, check=False,
                          **{"stdin": subprocess.DEVNULL, **popen})
    said = done.stderr.decode()
    assert done.returncode == 2, said
    return said


def test_a_second_serve_on_the_same_socket_is_refused(slipway):
    assert "another process listens" in refused(slipway)
    assert slipway.post(BODY % 1).status == 202


def test_a_stale_socket_is_replaced(new_slipway):
    one = new_slipway()
    one.start_serve()
    one.serve.kill()
    assert os.path.exists(one.socket)
    one.start_serve()
    assert one.post(BODY % 1).status == 202


def test_a_file_in_the_way_is_left_alone(new_slipway):
    one = new_slipway()
    with open(one.socket, "w", encoding="utf-8") as file:
        file.write("precious")
    assert "not a socket" in refused(one)
    with open(one.socket, encoding="utf-8") as file:
        assert file.read() == "precious"


def test_socket_path_lengths(new_slipway):
    one = new_slipway()
    fits = os.path.join(one.folder, "x" * (107 - len(one.folder) - 1))
    assert "107" in refused(one, "--listen", fits + "x")
    one.socket = fits
    one.start_serve(["--listen", fits])


def test_nowhere_to_listen_names_the_three_ways(new_slipway):
    one = new_slipway()
    del one.config["listen"]
    one.write_config()
    said = refused(one)
    for way in ("listen", "systemd", "standard input"):
        assert way in said


def listening(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    return server


def test_standard_input_as_socket(new_slipway):
    one = new_slipway()
    with listening(one.socket) as server:
        one.start_serve(stdin=server)
    assert one.post(BODY % 1).status == 202
    one.stop()
    assert os.path.exists(one.socket), "an inherited socket is not ours to remove"


def start_like_systemd(one, server):
    """The socket is fd 3, and LISTEN_PID is the program's own pid."""
    os.close(os.open(one.log("serve"), os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600))
    script = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null'
    one.serve = Process("slipway serve", ["/bin/sh", "-c", script, "sh", one.bin, "serve",
                                          "--config", one.config_path],
                        one.log("serve"), stdin=server)
    wait_until(lambda: "msg=listening" in one.serve.said(), 20, "listening")


def test_systemd_socket_survives_restarts_under_load(new_slipway):
    """With socket activation a restart shows no error to anybody."""
    one = new_slipway()
    with listening(one.socket) as server:
        start_like_systemd(one, server)
        load = start_load(one, 8)
        for _ in range(4):
            time.sleep(0.3)
            assert one.serve.stop() == 0
            start_like_systemd(one, server)
        time.sleep(0.2)
        accepted, others = end_load(load)
        assert others == {}
        assert sorted(one.bodies()) == sorted(accepted) and len(accepted) > 20
        one.stop()


def test_tcp_is_refused(new_slipway):
    one = new_slipway()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert "not a unix socket" in refused(one, stdin=server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_under_load_loses_nothing(new_slipway, number):
    one = new_slipway()
    one.start_serve()
    load = start_load(one, 16)
    for _ in range(3):
        time.sleep(0.4)
        began = time.monotonic()
        assert one.serve.stop(number) == 0
        assert time.monotonic() - began < 5
        one.start_serve()
    accepted, others = end_load(load)
    # 502 only where nobody listened for a moment: nginx could not even connect.
    assert set(others) <= {502}, others
    logs = one.nginx.logs()
    assert "prematurely closed" not in logs and "reset by peer" not in logs
    stored = one.bodies()
    assert len(stored) == len(set(stored))
    assert sorted(stored) == sorted(accepted) and len(accepted) > 20


def test_kill_9_loses_nothing_that_was_accepted(new_slipway):
    one = new_slipway()
    one.start_serve()
    load = start_load(one, 16)
    for _ in range(4):
        time.sleep(0.3)
        one.serve.kill()
        one.start_serve()
    accepted, _ = end_load(load)
    assert one.post(BODY % 1).status == 202
    assert set(accepted) <= set(one.bodies()) and len(accepted) > 20
    assert one.query("PRAGMA integrity_check") == [("ok",)]


def silent(slipway, first=b""):
    client = socket.socket(socket.AF_UNIX)
    client.connect(slipway.socket)
    if first:
        client.sendall(first)
    return client


def test_silent_clients_do_not_stall_others(slipway):
    assert slipway.nginx
    clients = [silent(slipway) for _ in range(20)] + [silent(slipway, b"\1") for _ in range(5)]
    began = time.monotonic()
    for n in range(5):
        assert slipway.post(BODY % n).status == 202
    assert time.monotonic() - began < 2
    for client in clients:
        client.close()


def test_a_half_sent_request_does_not_hold_up_the_end(slipway):
    client = silent(slipway, b"\1")
    time.sleep(0.3)
    began = time.monotonic()
    assert slipway.serve.stop() == 0
    assert time.monotonic() - began < 10
    client.close()


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.0\r\n\r\n", b"\0" * 64, b"\xff" * 5000,
                                   b"\1\1\0\1\0\x08\0\0\0\1\0\0\0\0\0\0" + b"\1\4\0\1\xff\xff\0\0"
                                   + b"\xff" * 65535],
                         ids=["http", "zeros", "ones", "endless parameters"])
def test_noise_on_the_socket(slipway, noise):
    for _ in range(3):
        client = silent(slipway)
        try:
            client.sendall(noise)
            client.shutdown(socket.SHUT_WR)
            client.settimeout(5)
            while client.recv(4096):
                pass
        except OSError:
            pass
        client.close()
    assert slipway.post(BODY % 1).status == 202


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE])
def test_other_signals_are_ignored(slipway, number):
    for n in range(3):
        slipway.serve.send(number)
        assert slipway.post(BODY % n).status == 202
    assert slipway.serve.running


def test_kept_connections_hold_no_thread(new_slipway):
    one = new_slipway()
    one.start_serve()
    one.front = Nginx(os.path.join(one.folder, "n"), one.socket,
                      extra="fastcgi_keep_conn on;")
    for n in range(200):
        assert one.post(BODY % n).status == 202
    assert len(one.bodies()) == 200


def test_no_core_dump_no_debugger(slipway):
    with open(f"/proc/{slipway.serve.pid}/limits", encoding="utf-8") as file:
        [line] = [row for row in file if row.startswith("Max core file size")]
    assert line.split()[4:6] == ["1", "1"]  # with 0 a helper program would still get one


def test_secrets_are_neither_in_argv_nor_environment(slipway):
    for name in ("cmdline", "environ"):
        with open(f"/proc/{slipway.serve.pid}/{name}", "rb") as file:
            data = file.read()
        assert SECRET.encode() not in data and GERRIT_SECRET.encode() not in data


def test_configuration_errors_end_it_with_2(new_slipway):
    one = new_slipway()
    one.config["forges"]["hub"]["hook_secrets"] = ["file:/nonexistent/secret"]
    one.config["nonsense"] = 1
    one.write_config()
    said = refused(one)
    assert "nonsense" in said and "slipway.yaml:" in said


def test_usage(new_slipway):
    one = new_slipway()
    assert "unexpected argument" in refused(one, "extra")
    refused(one, "--nonsense")
    done = one.cli("serve", "--help")
    assert done.returncode == 0 and b"--listen" in done.stdout


def test_a_stop_at_once_is_a_clean_stop(new_slipway):
    """From the moment that somebody can connect, SIGTERM is handled."""
    one = new_slipway()
    for _ in range(30):
        assert one.start_serve(wait=False).running
        wait_until(lambda: os.path.exists(one.socket), 20, "the socket", every=0)
        assert one.serve.stop() == 0
        assert not os.path.exists(one.socket)
