"""What must never be shown or stored: which names look secret, and how a value is blanked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

REDACTED = "**********"

# "token" alone may be a credential; in the vocabulary of language models it is a thing that is counted and timed.
_COUNTED = (
    r"[-_](?:ids?|counts?|num|source|gen|times?|timeout|latency|length|len|budget|limit|per|type"
    r"|ms|ns|s)(?![a-z])"
)
_SECRET_NAME = re.compile(
    r"authorization|cookie|api[-_]?key|subscription[-_]key|secret|password|passwd|credential|signature"
    rf"|token$|^token(?!s|i[sz]|{_COUNTED})|[-_]token(?!{_COUNTED})[-_]"
    r"|private[-_]?key|access[-_]?key|^sig$|^key$|[-_]key$|session[-_]?id",
    re.IGNORECASE,
)
# Names that end in "token" or "key" and hold no secret.
_PLAIN_NAME = re.compile(
    r"prompt_cache_key|(stop|eos|bos|pad|unk|sep|cls|mask|first|last)_token|(max|min|\w+_per)_\w*token",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Whether a header, body field or query parameter of this name may hold a secret."""
    return _PLAIN_NAME.fullmatch(name) is None and _SECRET_NAME.search(name) is not None


def redact(value: Any, name: str = "") -> Any:
    """A copy of `value` in which everything under a secret-looking name is blanked."""
    if name and is_secret_name(name) and value is not None and not isinstance(value, bool):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    if isinstance(value, str) and "://" in value:
        return redact_url(value)
    return value


def redact_url(url: str) -> str:
    """The URL without user name and password, and with secret-looking query values blanked."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"//[^/@]*@", f"//{REDACTED}@", url)
    netloc = parts.netloc
    if "@" in netloc:
        netloc = f"{REDACTED}@{netloc.rpartition('@')[2]}"
    query = parts.query
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(is_secret_name(key) for key, _ in pairs):
        query = urlencode(
            [(key, REDACTED if is_secret_name(key) else value) for key, value in pairs], safe="*"
        )
    if netloc == parts.netloc and query == parts.query:
        return url
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def scrub(value: Any, secrets: tuple[str, ...]) -> Any:
    """`value` with every occurrence of one of the secrets blanked: for what quotes a server's answer."""
    if isinstance(value, Mapping):
        return {key: scrub(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item, secrets) for item in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
    return value
