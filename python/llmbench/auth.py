"""Keys that a command prints, as cloud tools hand them out: `gcloud auth print-access-token` and the like."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import SecretStr

from llmbench.errors import ConfigError

TIMEOUT_S = 60.0
"""Tools of this kind ask a server; one that asks a person would never end."""
_SPARE_S = 60.0
"""A key that lives no longer than this beyond what is planned is asked for anew."""
_TOKENS = ("token", "access_token", "accessToken", "authorizationToken", "id_token")
_EXPIRIES = ("expiration", "expires_on", "expiresOn", "expirationTimestamp", "expiry", "token_expiry")
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):\s+(\S.*)")


@dataclass(frozen=True)
class Credential:
    """What a command printed. Nothing of it is ever shown."""

    token: SecretStr | None
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    expires_at: float | None = None
    """Unix time, where the command said it."""

    def lasts(self, seconds: float) -> bool | None:
        """Whether it is still good in so many seconds; None when nobody said."""
        return None if self.expires_at is None else time.time() + seconds < self.expires_at


_kept: dict[tuple[str, ...], Credential] = {}


def credential_from(command: str, needed_s: float = 0.0, timeout_s: float = TIMEOUT_S) -> Credential:
    """Runs `command`, split as a shell would but without one, and reads the key it prints.

    A key that is known to last `needed_s` more is used again. Raises ConfigError when there is none.
    """
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        raise ConfigError(f"--auth-command cannot be split into words: {error}") from None
    if not argv:
        raise ConfigError("--auth-command is empty: give the program that prints the key")
    kept = _kept.get(argv)
    if kept is not None and kept.lasts(needed_s + _SPARE_S):
        return kept
    _kept[argv] = credential = parse(_printed(argv, timeout_s), argv[0])
    return credential


def parse(text: str, program: str = "the command") -> Credential:
    """A bare token, `Header: value` lines, or JSON with a token and perhaps its end."""
    text = text.strip()
    if not text:
        raise ConfigError(f"--auth-command: {program} printed nothing; a token is wanted")
    if text[0] == "{":
        return _of_json(text, program)
    lines = text.splitlines()
    headers = [_HEADER.fullmatch(line.strip()) for line in lines if line.strip()]
    if all(headers):
        return Credential(None, {match[1]: SecretStr(match[2]) for match in headers if match is not None})
    if len(lines) > 1 or " " in text or not text.isprintable():
        raise ConfigError(
            f"--auth-command: {program} printed neither one token, nor `Header: value` lines, nor a JSON object"
        )
    return Credential(SecretStr(text))


def _of_json(text: str, program: str) -> Credential:
    try:
        answer = json.loads(text)
    except ValueError:
        raise ConfigError(f"--auth-command: {program} printed what looks like JSON and is none") from None
    if isinstance(answer.get("status"), dict):  # Kubernetes' ExecCredential
        answer = answer["status"]
    token = next((answer[name] for name in _TOKENS if isinstance(answer.get(name), str)), None)
    if not token:
        raise ConfigError(f"--auth-command: {program} printed JSON without one of {', '.join(_TOKENS)}")
    expires_at = None
    lives = answer.get("expires_in", answer.get("expiresIn"))
    if _is_number(lives):
        expires_at = time.time() + float(lives)
    else:
        said = (_moment(answer[name]) for name in _EXPIRIES if name in answer)
        expires_at = next((each for each in said if each is not None), None)
    return Credential(SecretStr(token), expires_at=expires_at)


def _moment(value: Any) -> float | None:
    """Unix time from a number or from ISO 8601; without a zone it is local, as az writes it."""
    if _is_number(value):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", value.strip())).timestamp()
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _printed(argv: tuple[str, ...], timeout_s: float) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise ConfigError(f"--auth-command: there is no program {argv[0]}") from None
    except OSError as error:
        raise ConfigError(f"--auth-command: {argv[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"--auth-command: {argv[0]} did not end within {timeout_s:g} s; it must not wait for a person"
        ) from None
    if done.returncode != 0:
        # What it printed may hold the key; what it said about the failure is for the user's eyes.
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        printed = set(done.stdout.decode("utf-8", "replace").split())
        last = " ".join(word for word in (said[-1].split() if said else []) if word not in printed)
        last = "".join(each for each in last if each.isprintable())[:200]
        raise ConfigError(
            f"--auth-command: {argv[0]} ended with exit code {done.returncode}{': ' + last if last else ''}"
        )
    return done.stdout.decode("utf-8", "replace")
