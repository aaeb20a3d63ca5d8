"""Keys and certificates of a test, made by the openssl command in the test's folder."""

import os
import subprocess

from .process import tool


def openssl(*argv, given=None):
    done = subprocess.run([tool("openssl"), *argv], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    return path


class PrivateCA:
    """A CA in `folder`: `ca` is the path of its certificate."""

    def __init__(self, folder, name="Box Test CA"):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.key = self.path("ca.key")
        self.ca = self.path("ca.crt")
        self.new_key(self.key)
        openssl("req", "-x509", "-new", "-key", self.key, "-sha256", "-days", "30", "-out", self.ca,
                "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def new_key(path):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)

    def issue(self, name, usage, alt_names="", days=30):
        key, cert, request = (self.path(f"{name}.{kind}") for kind in ("key", "crt", "csr"))
        self.new_key(key)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        extensions = f"extendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n"
        if alt_names:
            extensions += f"subjectAltName={alt_names}\n"
        write(self.path(f"{name}.ext"), extensions.encode())
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-out", cert,
                "-CAcreateserial", "-sha256", "-days", str(days), "-extfile",
                self.path(f"{name}.ext"))
        return cert, key

    def server(self, name="server", alt_names="IP:127.0.0.1,DNS:localhost", days=30):
        """(certificate, key) for 127.0.0.1 and localhost."""
        return self.issue(name, "serverAuth", alt_names, days)

    def client(self, name="client"):
        """(certificate, key) that a server with client_ca=ca.ca takes."""
        return self.issue(name, "clientAuth")


def token_key(folder):
    """(key, certificate) for TokenServer: RSA, for RS256."""
    os.makedirs(folder, exist_ok=True)
    key, cert = os.path.join(folder, "token.key"), os.path.join(folder, "token.crt")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert,
            "-sha256", "-days", "30", "-subj", "/CN=box token service")
    return key, cert


def signing_key(folder, name="cosign"):
    """(private, public) of a P-256 key, as cosign's key pair without its password."""
    os.makedirs(folder, exist_ok=True)
    key, public = os.path.join(folder, f"{name}.key"), os.path.join(folder, f"{name}.pub")
    PrivateCA.new_key(key)
    openssl("ec", "-in", key, "-pubout", "-out", public)
    return key, public


def sign(key, data):
    """DER of an ECDSA signature over the SHA-256 of data."""
    return openssl("dgst", "-sha256", "-sign", key, given=data)
