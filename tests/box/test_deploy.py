"""Units, users, directories and the installation, as they are shipped."""

import configparser
import os
import re
import subprocess

import pytest

from lib.process import environment, tool
from lib.slipway import binary
from lib.web import ROOT

DEPLOY = os.path.join(ROOT, "deploy")
UNITS = ["slipway-serve.socket", "slipway-serve.service", "slipway-work.service"]
STORE = "/var/lib/slipway"


def unit(name):
    """Sections of a unit; a repeated key keeps all its values, one a line."""
    class Values(dict):
        def __setitem__(self, key, value):
            if key in self and isinstance(value, list):
                value = self[key] + value
            super().__setitem__(key, value)
    parser = configparser.RawConfigParser(strict=False, dict_type=Values)
    parser.optionxform = str
    parser.read(os.path.join(DEPLOY, "systemd", name))
    return parser


def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_units_verify(tmp_path, name):
    for other in UNITS:
        with open(os.path.join(DEPLOY, "systemd", other), encoding="utf-8") as file:
            text = file.read().replace("/usr/bin/slipway", binary())
        (tmp_path / other).write_text(text)
    status, said = run(tool("systemd-analyze"), "verify", "--man=no", str(tmp_path / name))
    assert status == 0 and "slipway" not in said, said


@pytest.mark.parametrize("name,threshold", [("slipway-serve.service", 5),
                                            ("slipway-work.service", 15)])
def test_units_are_hardened(name, threshold):
    status, said = run(tool("systemd-analyze"), "security", "--offline=yes", "--no-pager",
                       f"--threshold={threshold}", os.path.join(DEPLOY, "systemd", name))
    assert status == 0, said.splitlines()[-1]


def test_units_share_only_the_store():
    serve, work = unit("slipway-serve.service"), unit("slipway-work.service")
    assert serve["Service"]["User"] != work["Service"]["User"]
    assert serve["Service"]["Group"] == work["Service"]["Group"] == "slipway"
    for one in (serve, work):
        # systemd would give the directory to one user.
        assert "StateDirectory" not in one["Service"] and "RuntimeDirectory" not in one["Service"]
        assert STORE in one["Service"]["ReadWritePaths"].split()
        assert one["Service"]["UMask"] == "0007"
    assert serve["Service"]["PrivateNetwork"] == "yes"


def test_the_socket_is_for_nginx_only():
    socket = unit("slipway-serve.socket")["Socket"]
    assert socket["ListenStream"] == "/run/slipway/slipway.sock"
    assert (socket["SocketMode"], socket["SocketGroup"]) == ("0660", "www-data")
    with open(os.path.join(DEPLOY, "nginx", "slipway-http.conf"), encoding="utf-8") as file:
        assert f"unix:{socket['ListenStream']};" in file.read()


@pytest.fixture
def machine(tmp_path):
    """An empty root directory with the users and directories made."""
    if os.geteuid() != 0:
        pytest.fail("run as root: users and owners can't be made otherwise")
    for kind in ("sysusers", "tmpfiles"):
        folder = tmp_path / "usr" / "lib" / f"{kind}.d"
        folder.mkdir(parents=True)
        with open(os.path.join(DEPLOY, f"{kind}.conf"), encoding="utf-8") as file:
            (folder / "slipway.conf").write_text(file.read())
    (tmp_path / "etc").mkdir()
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        status, said = run(tool(command[0]), *command[1:], f"--root={tmp_path}")
        assert status == 0, said
    return tmp_path


def table(path):
    with open(path, encoding="utf-8") as file:
        return {row.split(":")[0]: row.rstrip("\n").split(":") for row in file}


def test_users_and_directories(machine):
    users, groups = table(machine / "etc" / "passwd"), table(machine / "etc" / "group")
    gid = int(groups["slipway"][2])
    for name in ("slipway-serve", "slipway-work"):
        assert int(users[name][3]) == gid and users[name][6].endswith("nologin")
        assert unit(f"{name}.service")["Service"]["User"] == name
    store = os.stat(f"{machine}{STORE}")
    assert (store.st_mode & 0o7777, store.st_uid, store.st_gid) == (0o2770, 0, gid)
    cache = os.stat(machine / "var" / "cache" / "slipway")
    assert cache.st_uid == int(users["slipway-work"][2]) and cache.st_mode & 0o007 == 0


def test_install_and_uninstall(tmp_path):
    folder = os.path.dirname(binary())
    make = [tool("make"), "-C", ROOT, f"B={folder}", f"DESTDIR={tmp_path}", "prefix=/usr",
            "-o", os.path.join(folder, "slipway"), "-o", "all"]
    installed = [
        "usr/bin/slipway", "lib/systemd/system/slipway-serve.service",
        "lib/systemd/system/slipway-serve.socket", "lib/systemd/system/slipway-work.service",
        "usr/lib/sysusers.d/slipway.conf", "usr/lib/tmpfiles.d/slipway.conf",
        "etc/nginx/conf.d/slipway-http.conf", "etc/nginx/snippets/slipway-locations.conf",
    ]
    status, said = run(*make, "install")
    assert status == 0, said
    missing = [path for path in installed if not (tmp_path / path).exists()]
    assert not missing, said
    service = (tmp_path / "lib/systemd/system/slipway-serve.service").read_text()
    assert re.search(r"^ExecStart=/usr/bin/slipway serve$", service, re.M)
    snippet = tmp_path / "etc/nginx/snippets/slipway-locations.conf"
    snippet.write_text("# the operator's own\n")
    status, said = run(*make, "install")
    assert status == 0 and snippet.read_text() == "# the operator's own\n", said
    status, said = run(*make, "uninstall")
    assert status == 0, said
    left = [path for path in installed if not path.startswith("etc/")
            and (tmp_path / path).exists()]
    assert not left, said
    assert snippet.exists(), "what the operator changed is the operator's"
