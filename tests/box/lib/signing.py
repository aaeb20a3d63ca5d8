"""Proofs, as the senders make them."""

import base64
import hashlib
import hmac


def github(secret, body):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard(secret, ident, timestamp, body):
    """Standard Webhooks 1.0.0; secret is "whsec_" and base64."""
    key = base64.b64decode(secret.split("_", 1)[1])
    signed = f"{ident}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def github_headers(secret, body, event="push", delivery=None):
    headers = {"Content-Type": "application/json", "X-GitHub-Event": event,
               "X-Hub-Signature-256": github(secret, body)}
    if delivery:
        headers["X-GitHub-Delivery"] = delivery
    return headers
