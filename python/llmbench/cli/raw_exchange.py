"""One request and its answer, byte by byte: what `llmbench ping --raw` shows."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING

from llmbench import preflight, secrecy
from llmbench.errors import ServerUnreachableError

if TYPE_CHECKING:
    from llmbench.endpoint import Endpoint
    from llmbench.workloads import Workload

_MOST_BYTES = 1 << 20


def show(
    endpoint: Endpoint, workload: Workload, model: str | None, *, stream: bool, timeout_s: float
) -> None:
    """Sends the workload's first request over a connection of the standard library's and prints what goes and what
    comes, secrets blanked. Times are from the moment it was sent to each read of the answer."""
    preset, endpoint = endpoint.preset, endpoint.authorized()
    if preset.encode is not None:
        print("raw: this backend speaks HTTP/2, whose bytes cannot be shown as text")
        return
    body = workload.bodies(
        preset,
        model=model,
        stream=stream and preset.streams,
        extra_body=endpoint.extra_body,
        deployment=endpoint.deployment,
    )[0]
    headers = {
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        **dict(endpoint.wire_headers()),
    }
    path = endpoint.path_for(stream, model)
    secrets = endpoint.secrets()

    def say(text: str) -> None:
        print(secrecy.scrub(text, secrets))

    say(f"> {preset.method} {path}")
    for name, value in headers.items():
        say(f"> {name}: {secrecy.REDACTED if secrecy.is_secret_name(name) else value}")
    say(f"> {body.decode('ascii')}")
    connection = preflight.open_connection(endpoint, timeout_s)
    try:
        connection.request(preset.method, path, body, headers)
        sent = time.monotonic()
        response = connection.getresponse()
        say(f"< {response.status} {response.reason}")
        for name, value in response.getheaders():
            say(f"< {name}: {value}")
        seen = 0
        while seen < _MOST_BYTES and (part := response.read1(65536)):
            seen += len(part)
            text = json.dumps(part.decode("utf-8", "replace"), ensure_ascii=False)
            say(f"{(time.monotonic() - sent) * 1e3:12.3f} ms  {text}")
    except (OSError, http.client.HTTPException) as error:
        raise ServerUnreachableError(
            f"the raw exchange with {endpoint.display_url} broke off: {error!r}"
        ) from None
    finally:
        connection.close()
