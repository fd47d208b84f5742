"""Where requests go: a server's address, how it is spoken to, and the key it wants."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import SecretStr

from llmbench import auth, secrecy
from llmbench.backends import Backend, get
from llmbench.backends.body import placeholders, substitute
from llmbench.errors import ConfigError

_BY_COMMAND = "--auth-command"


@dataclass(frozen=True, repr=False)
class Endpoint:
    """A server as a client sees it: `Endpoint("http://127.0.0.1:8000", backend="vllm", model="m")`.

    `url` may end in /v1, as OpenAI's clients have it. A model of None means the first one the server
    lists. The key goes into the header that the backend has for it; it, headers with secret-looking names and
    `${env:NAME}` in a header, which stands for an environment variable, are blanked wherever the endpoint is shown
    or stored.
    """

    url: str
    backend: str | Backend = "openai"
    model: str | None = None
    api_key: SecretStr | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    """Instead of the preset's path; it may have a query, such as ?api-version=2024-05-01-preview."""
    deployment: str | None = None
    """Of a server that has several: part of the path (fastgen-rest) or a header (aml)."""
    api_key_header: str | None = None
    """Instead of the preset's: `NAME` carries the bare key, `NAME=SCHEME` the scheme's name before it."""
    wire_rules: Mapping[str, Any] = field(default_factory=dict)
    """Laid over how the preset reads answers, such as {"text_mode": "cumulative"}; docs/wire-formats.md."""
    ca_file: str | None = None
    insecure: bool = False
    proxy: str | None = None
    """None: no proxy, whatever the environment says."""
    unix_socket: str | None = None
    http2: bool = False
    """HTTP/2, many requests to a connection; over TLS the server has to agree. gRPC never has it otherwise."""
    streams_per_connection: int = 100
    """Of HTTP/2, at most."""
    api_key_name: str | None = None
    """Where the key came from, for messages: the name of an environment variable or a file."""
    auth_command: str | None = None
    """A command that prints the key, such as `gcloud auth print-access-token`; it is run before each measurement."""
    secret_headers: Mapping[str, SecretStr] = field(default_factory=dict)
    """Headers whose values are blanked whatever their names."""
    expires_at: float | None = None
    """Unix time at which the key ends, where that is known."""

    def __post_init__(self) -> None:
        if isinstance(self.api_key, str):
            object.__setattr__(self, "api_key", SecretStr(self.api_key) if self.api_key else None)
        url: Any = self.url
        if not isinstance(url, str):
            raise ConfigError(f"the URL must be a string such as http://127.0.0.1:8000, not {url!r}")
        if get(self.backend).name == "template" and not self.preset.body:
            raise ConfigError(
                "the backend template needs a description of the server: --template FILE.json, or "
                "Backend.from_template"
            )
        if self.streams_per_connection < 1:
            raise ConfigError(
                f"streams per connection is {self.streams_per_connection}; it must be at least 1 "
                f"(--streams-per-connection)"
            )
        parts = _split(self.url)
        shown = secrecy.redact_url(self.url)
        if parts.scheme not in ("http", "https"):
            raise ConfigError(f"the URL {shown} must start with http:// or https://")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                f"the URL {shown} holds a user name or password: give an Authorization header instead"
            )
        if not parts.hostname:
            raise ConfigError(f"the URL {self.url!r} names no host")
        if parts.query or parts.fragment:
            raise ConfigError(f"the URL {shown} has a query or fragment: put it into the path (--endpoint)")
        try:
            port = parts.port
        except ValueError:
            raise ConfigError(
                f"the URL {self.url} has no valid port: it must be a number from 1 to 65535"
            ) from None
        if port == 0:
            raise ConfigError(f"the URL {self.url} has port 0: it must be a number from 1 to 65535")
        if self.path is not None and not self.path.startswith("/"):
            raise ConfigError(f"the path {self.path!r} must start with /")
        if re.search(r"[^\x21-\x7e]", self.request_path):
            raise ConfigError(
                f"the path {self.request_path!r} holds a space or a character outside ASCII: write it %-encoded"
            )
        for name, value in self._all_headers():
            if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name):
                raise ConfigError(f"the header name {name!r} is not allowed in HTTP")
            if re.search(r"[\r\n\x00]", value) or not _latin1(value):
                raise ConfigError(
                    f"the value of the header {name} holds a line break or a character outside Latin-1"
                )

    @property
    def preset(self) -> Backend:
        return get(self.backend)

    @property
    def speaks_http2(self) -> bool:
        """Whether requests go over HTTP/2."""
        return self.http2 or self.preset.wire_format == "fastgen-grpc"

    @property
    def scheme(self) -> str:
        return _split(self.url).scheme

    @property
    def host(self) -> str:
        """A name or an address, IPv6 without brackets."""
        return _split(self.url).hostname or ""

    @property
    def port(self) -> int:
        return _split(self.url).port or (443 if self.scheme == "https" else 80)

    @property
    def origin(self) -> str:
        """scheme://host:port."""
        return self._origin(self.port)

    def _origin(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{port}"

    @property
    def request_path(self) -> str:
        """The path of streamed requests, with what the URL has before it."""
        try:
            return self.path_for()
        except ConfigError:  # a name that is not known yet
            return self.full_path(self.path or self.preset.path)

    def path_for(self, stream: bool = True, model: str | None = None) -> str:
        """The path of requests for this model, streamed or not."""
        return self.full_path(self.named(self.path or self.preset.path_of(stream), model))

    def named(self, path: str, model: str | None = None) -> str:
        """`path` with the names of model and deployment in place."""
        return self.preset.with_names(path, model=model or self.model, deployment=self.deployment)

    def full_path(self, path: str) -> str:
        """`path` below the URL's own. What both have is written once: a /v1, or the whole path of requests."""
        base = _split(self.url).path.rstrip("/")
        for own in (self.path, self.preset.path, self.preset.whole_path):
            route = (own or "").partition("?")[0]
            if len(route) > 1 and base.endswith(route):
                base = base[: -len(route)]
                break
        if base.endswith("/v1") and path.startswith("/v1/"):
            base = base[: -len("/v1")]
        return base + path

    @property
    def answer_rules(self) -> dict[str, Any]:
        """What is laid over the rules of the wire format: the preset's, and then ours."""
        return {**self.preset.rules, **self.wire_rules}

    def page_path(self, path: str) -> str:
        """Where a page of the server's own is, such as /health: beside the /v1 of a URL that ends in one."""
        full = self.full_path(path)
        beside = full.removesuffix("/v1" + path)
        return full if beside == full or path.startswith("/v1/") else beside + path

    @property
    def metrics_url(self) -> str | None:
        """Where the server tells its metrics, as far as its kind is known to."""
        preset = self.preset
        if preset.metrics_path is None:
            return None
        origin = self.origin if preset.metrics_port is None else self._origin(preset.metrics_port)
        return origin + self.page_path(preset.metrics_path)

    @property
    def names_model(self) -> bool:
        """Whether requests say which model they are for."""
        return self.preset.names_model or "${model}" in (self.path or "")

    @property
    def display_url(self) -> str:
        """What requests are sent to, safe to show."""
        return secrecy.redact_url(self.origin + self.request_path)

    def wire_headers(self) -> list[tuple[str, str]]:
        """The headers every request carries besides HTTP's own, secrets in clear: for the wire only."""
        return self._all_headers()

    def secrets(self) -> tuple[str, ...]:
        """Every secret value this endpoint knows, to scrub them from what others say."""
        found = [_resolved(value) for name, value in self._headers().items() if secrecy.is_secret_name(name)]
        found += [_variable(name) for value in self._headers().values() for name in placeholders(value)]
        query = parse_qsl(self.request_path.partition("?")[2])
        found += [value for name, value in query if secrecy.is_secret_name(name)]
        found += [value.get_secret_value() for value in self.secret_headers.values()]
        if self.api_key is not None:
            found.append(self.key() or "")
        found += [
            value.split(" ", 1)[1] for value in found if value.lower().startswith(("bearer ", "basic "))
        ]
        found += _secret_values(self.extra_body)
        if self.proxy and (password := _split(self.proxy).password):
            found += [password, unquote(password)]
        # A secret of a few letters is none, and blanking it everywhere would garble what others say.
        return tuple(sorted({value for value in found if len(value) >= 4}, key=len, reverse=True))

    def authorized(self, needed_s: float = 0.0) -> Endpoint:
        """This endpoint with the key that its `auth_command` prints, one that lasts as long as needed where the
        command can give such a one. Raises ConfigError when it prints none."""
        if self.auth_command is None or self.api_key_name == _BY_COMMAND:
            return self
        found = auth.credential_from(self.auth_command, needed_s)
        return replace(
            self,
            api_key=found.token or self.api_key,
            api_key_name=_BY_COMMAND,
            secret_headers={**self.secret_headers, **found.headers},
            expires_at=found.expires_at,
        )

    def expiry_warning(self, planned_s: float | None) -> str | None:
        """One line when the key ends before a run of `planned_s` seconds that starts now would."""
        if self.expires_at is None or planned_s is None:
            return None
        left = self.expires_at - time.time()
        if left >= planned_s:
            return None
        return (
            f"the key of --auth-command ends in {max(0.0, left):.0f} s, before the run's planned end in "
            f"{planned_s:.0f} s: requests after that will be refused"
        )

    def key(self) -> str | None:
        """The key in clear."""
        return self.api_key.get_secret_value() if isinstance(self.api_key, SecretStr) else None

    def to_dict(self) -> dict[str, Any]:
        """What a result stores: everything but the secrets."""
        return {
            "url": secrecy.redact_url(self.url),
            "path": secrecy.redact_url("x:" + self.request_path)[2:],
            "backend": self.preset.name,
            "model": self.model,
            "deployment": self.deployment,
            "api_key": secrecy.REDACTED if self.api_key is not None else None,
            "auth_command": shlex.split(self.auth_command)[:1] if self.auth_command else None,
            "headers": secrecy.redact(dict(self.headers))
            | dict.fromkeys(self.secret_headers, secrecy.REDACTED),
            "extra_body": secrecy.redact(dict(self.extra_body)),
            "ca_file": self.ca_file,
            "insecure": self.insecure,
            "proxy": secrecy.redact_url(self.proxy) if self.proxy else None,
            "unix_socket": self.unix_socket,
            "http2": self.speaks_http2,
            "streams_per_connection": self.streams_per_connection if self.speaks_http2 else None,
            "wire_rules": secrecy.redact(dict(self.wire_rules)),
        }

    def __repr__(self) -> str:
        stored = self.to_dict()
        shown = [
            f"{name}={stored[name]!r}" for name in stored if name not in ("url", "path") and stored[name]
        ]
        if self.path is not None:
            shown.insert(0, f"path={secrecy.redact_url('x:' + self.path)[2:]!r}")
        return f"Endpoint({', '.join([repr(stored['url']), *shown])})"

    def _headers(self) -> dict[str, str]:
        """The preset's and then ours, which win; environment variables still by their names."""
        headers = {str(name): str(value) for name, value in self.headers.items()}
        given = {name.lower() for name in headers}
        preset = {name: value for name, value in self.preset.headers.items() if name.lower() not in given}
        if self.deployment is not None and self.preset.deployment_header:
            preset[self.preset.deployment_header] = self.deployment
        return {**preset, **headers}

    def _all_headers(self) -> list[tuple[str, str]]:
        headers = [(name, _resolved(value)) for name, value in self._headers().items()]
        headers += [(name, value.get_secret_value()) for name, value in self.secret_headers.items()]
        if self.api_key is not None:
            header, scheme = self._key_header()
            if not any(name.lower() == header.lower() for name, _ in headers):
                headers.append((header, f"{scheme} {self.key()}" if scheme else self.key() or ""))
        return headers

    def _key_header(self) -> tuple[str, str]:
        """Which header carries the key, and what stands before it."""
        if self.api_key_header is not None:
            name, _, scheme = self.api_key_header.partition("=")
            return name.strip(), scheme.strip()
        name = self.preset.key_header
        return name, "Bearer" if name == "Authorization" else ""


def _split(url: str) -> SplitResult:
    text = url.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        return urlsplit(text)
    except ValueError:
        raise ConfigError(
            f"the URL {secrecy.redact_url(url)} cannot be read: write it as http://host:port"
        ) from None


def _resolved(value: str) -> str:
    """A header's value with its environment variables in place."""
    return substitute(value, _variable)


def _variable(name: str) -> str:
    kind, _, variable = name.partition(":")
    if kind != "env" or not variable:
        raise ConfigError(f"${{{name}}} in a header: ${{env:NAME}} is wanted, an environment variable")
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(f"a header wants the environment variable {variable}, which is not set or empty")
    return value


def _latin1(value: str) -> bool:
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _secret_values(value: Any, name: str = "") -> list[str]:
    if isinstance(value, Mapping):
        return [found for key, item in value.items() for found in _secret_values(item, str(key))]
    if isinstance(value, list | tuple):
        return [found for item in value for found in _secret_values(item, name)]
    return [value] if name and secrecy.is_secret_name(name) and isinstance(value, str) else []
