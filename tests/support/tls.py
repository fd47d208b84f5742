"""Certificates made for one test: a server that a client can trust by its CA file, and one it must refuse."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme


def server_context(
    ca_file: Path, *names: str, expired: bool = False, client_certificate: bool = False
) -> ssl.SSLContext:
    """A server's context for these names (default localhost and 127.0.0.1); writes its CA's certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    now = datetime.now(timezone.utc)
    certificate = authority.issue_cert(
        *(names or ("localhost", "127.0.0.1")),
        not_before=now - timedelta(days=20) if expired else None,
        not_after=now - timedelta(days=10) if expired else None,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context
