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
UNITS = ["slipway-serve.socket", "slipway-serve.service", "slipway-work.service",
         "slipway-builder.socket", "slipway-builder@.service"]
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
                                            ("slipway-work.service", 15),
                                            ("slipway-builder@.service", 65)])
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


def test_the_builder_is_apart():
    """It shares folders of builds with the worker, and nothing else with anybody."""
    socket = unit("slipway-builder.socket")["Socket"]
    builder = unit("slipway-builder@.service")["Service"]
    work = unit("slipway-work.service")["Service"]
    assert (socket["SocketUser"], socket["SocketMode"]) == (work["User"], "0600")
    assert socket["Accept"] == "yes" and socket["MaxConnections"] == "1"
    assert builder["Group"] not in (work["Group"], "slipway") and builder["User"] != work["User"]
    # The store is not even there; systemd would not bind what is missing.
    assert builder["TemporaryFileSystem"].split(":")[0] == STORE
    assert builder["BindPaths"] == STORE + "/builds"
    assert "LoadCredential" not in builder and "-/etc/slipway" in builder["InaccessiblePaths"]
    assert builder["PrivateTmp"] == "yes" and "--scratch /var/tmp" in builder["ExecStart"]
    # Longer than a build that the configuration can ask for, and its grace.
    assert int(builder["RuntimeMaxSec"]) > 86400 + 120
    assert builder["MemoryMax"] and int(builder["TasksMax"]) <= 4096


# Each implies NoNewPrivileges in a service with a user of its own (systemd 252), and newuidmap,
# which is set-user-id, gives no subordinate ids then.
SECCOMP = ["SystemCallFilter", "SystemCallArchitectures", "SystemCallLog", "RestrictNamespaces",
           "RestrictAddressFamilies", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
           "MemoryDenyWriteExecute", "PrivateDevices", "ProtectClock", "ProtectHostname",
           "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"]


def test_the_builder_may_have_subordinate_ids():
    builder = unit("slipway-builder@.service")["Service"]
    assert builder["NoNewPrivileges"] == "no" and "PrivateUsers" not in builder
    assert not [key for key in SECCOMP if key in builder]
    assert set(builder["CapabilityBoundingSet"].split()) == {
        "CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"}


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
    own = int(groups["slipway-builder"][2])
    assert int(users["slipway-builder"][3]) == own != gid
    assert users["slipway-builder"][6].endswith("nologin")
    # In the store's group is nobody else, in the builder's the worker is.
    assert groups["slipway"][3] == "" and groups["slipway-builder"][3] == "slipway-work"
    builds = os.stat(f"{machine}{STORE}/builds")
    assert (builds.st_mode & 0o7777, builds.st_uid, builds.st_gid) == (
        0o2750, int(users["slipway-work"][2]), own)
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
        "lib/systemd/system/slipway-builder.socket", "lib/systemd/system/slipway-builder@.service",
        "usr/lib/sysusers.d/slipway.conf", "usr/lib/tmpfiles.d/slipway.conf",
        "etc/nginx/conf.d/slipway-http.conf", "etc/nginx/snippets/slipway-locations.conf",
    ]
    status, said = run(*make, "install")
    assert status == 0, said
    missing = [path for path in installed if not (tmp_path / path).exists()]
    assert not missing, said
    service = (tmp_path / "lib/systemd/system/slipway-serve.service").read_text()
    assert re.search(r"^ExecStart=/usr/bin/slipway serve$", service, re.M)
    service = (tmp_path / "lib/systemd/system/slipway-builder@.service").read_text()
    assert re.search(r"^ExecStart=/usr/bin/slipway builder ", service, re.M)
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
