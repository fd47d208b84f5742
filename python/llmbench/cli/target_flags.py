"""Flags that say which server is asked, how it is spoken to and with what key."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from llmbench.backends import Backend, get
from llmbench.backends.body import placeholders
from llmbench.cli.parser import json_object, pair, port
from llmbench.errors import ConfigError

if TYPE_CHECKING:
    from llmbench.endpoint import Endpoint


class BaseUrls(argparse.Action):
    """The first is `base_url`, the others are `replica_urls`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        namespace.base_url, *others = cast("list[str]", values)
        namespace.replica_urls = tuple(others)


def add_target(parser: argparse.ArgumentParser, *, default_backend: str = "openai") -> None:
    """--base-url … --unix-socket: which server, and how it is spoken to."""
    group = parser.add_argument_group("target")
    group.add_argument(
        "--base-url",
        nargs="+",
        action=BaseUrls,
        metavar="URL",
        help="the server, as http://host:port; instead of --host and --port. Several are replicas: "
        "--balancing shares the requests out",
    )
    parser.set_defaults(replica_urls=())
    group.add_argument("--host", help="the server's name or address (default 127.0.0.1)")
    group.add_argument("--port", type=port, help="the server's port (default: the backend's, mostly 8000)")
    group.add_argument(
        "--endpoint", metavar="PATH", help="path of the requests, with its query (default: the backend's)"
    )
    group.add_argument(
        "--backend",
        default=default_backend,
        metavar="NAME",
        help="which server it is; `llmbench backends` lists them (default %(default)s)",
    )
    group.add_argument(
        "--template", metavar="FILE", help="JSON that describes a server no backend fits; docs/backends.md"
    )
    group.add_argument("--model", metavar="NAME", help="model name (default: the first the server lists)")
    group.add_argument(
        "--deployment",
        metavar="NAME",
        help="deployment to use, where the server has several (fastgen-rest, aml)",
    )
    group.add_argument(
        "--header",
        nargs="+",
        action="extend",
        type=pair,
        default=[],
        metavar="KEY=VALUE",
        help="extra request header; ${env:NAME} in it stands for an environment variable",
    )
    group.add_argument(
        "--api-key-env",
        metavar="NAME",
        help="environment variable that holds the API key (default: the backend's, mostly OPENAI_API_KEY)",
    )
    group.add_argument("--api-key-file", metavar="FILE", help="file that holds the API key and nothing else")
    group.add_argument(
        "--api-key-header",
        metavar="NAME[=SCHEME]",
        help="header that carries the key (default: the backend's, mostly Authorization=Bearer)",
    )
    group.add_argument(
        "--auth-command",
        metavar="COMMAND",
        help="program that prints the key, run before each measurement, such as 'gcloud auth print-access-token'",
    )
    group.add_argument(
        "--extra-body",
        type=json_object,
        default={},
        metavar="JSON",
        help="fields for every request's body; null removes one",
    )
    group.add_argument(
        "--wire-rules",
        type=json_object,
        default={},
        metavar="JSON",
        help="rules for reading this server's answers that differ from the backend's, such as "
        '\'{"text_mode": "cumulative"}\'; docs/wire-formats.md',
    )
    group.add_argument(
        "--max-tokens-field",
        metavar="NAME",
        help="the body's field for the output length, where servers differ",
    )
    group.add_argument("--ca-file", metavar="FILE", help="PEM file of certificates to trust")
    group.add_argument(
        "--insecure", action="store_true", help="do not verify the server's certificate; the result says so"
    )
    group.add_argument(
        "--http2",
        action="store_true",
        help="use HTTP/2, many requests to a connection (gRPC always does)",
    )
    group.add_argument(
        "--streams-per-connection",
        type=int,
        default=100,
        metavar="N",
        help="requests in flight on one HTTP/2 connection, at most",
    )
    group.add_argument("--proxy", metavar="URL", help="HTTP proxy; those of the environment are ignored")
    group.add_argument(
        "--unix-socket", metavar="PATH", help="connect to this socket instead of host and port"
    )


def endpoint_from(args: argparse.Namespace) -> Endpoint:
    """The server of a command that takes one."""
    if args.replica_urls:
        raise ConfigError("give one --base-url: llmbench run is what shares requests out among several")
    return _endpoint(args)


def endpoints_from(args: argparse.Namespace) -> list[Endpoint]:
    """One for each URL that was given."""
    first = _endpoint(args)
    if args.replica_urls and args.unix_socket:
        raise ConfigError("--unix-socket is one server: give one --base-url with it")
    return [first, *(replace(first, url=url) for url in args.replica_urls)]


def _endpoint(args: argparse.Namespace) -> Endpoint:
    from llmbench.endpoint import Endpoint

    preset = _preset(args)
    key, source = _key(args, preset)
    if args.ca_file and not Path(args.ca_file).is_file():
        raise ConfigError(f"--ca-file {args.ca_file}: no such file")
    return Endpoint(
        _url(args, preset),
        backend=preset,
        model=args.model,
        api_key=key,
        headers=dict(args.header),
        extra_body=args.extra_body,
        path=args.endpoint,
        deployment=args.deployment,
        api_key_header=args.api_key_header,
        wire_rules=args.wire_rules,
        ca_file=args.ca_file,
        insecure=args.insecure,
        http2=args.http2,
        streams_per_connection=args.streams_per_connection,
        proxy=args.proxy,
        unix_socket=args.unix_socket,
        api_key_name=source,
        auth_command=args.auth_command,
    )


def _preset(args: argparse.Namespace) -> Backend:
    if args.template:
        if args.backend not in (None, "openai", "template"):
            raise ConfigError(f"--template describes a server of its own: leave --backend {args.backend} out")
        return Backend.from_template(args.template)
    preset = get(args.backend)
    if args.max_tokens_field:
        if "max_tokens_field" not in set(placeholders(preset.body)):
            raise ConfigError(
                f"--max-tokens-field: the backend {preset.name} has one name for the asked length; "
                "it is for the OpenAI family"
            )
        preset = replace(preset, max_tokens_field=args.max_tokens_field)
    return preset


def _url(args: argparse.Namespace, preset: Backend) -> str:
    if args.base_url:
        return str(args.base_url)
    if preset.default_url and args.host is None and args.port is None:
        return preset.default_url
    host, number = args.host or "127.0.0.1", args.port or preset.default_port
    scheme = "https" if number == 443 else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{number}"


def _key(args: argparse.Namespace, preset: Backend) -> tuple[str | None, str | None]:
    """The key and where it came from."""
    given = [name for name in ("api_key_env", "api_key_file", "auth_command") if getattr(args, name)]
    if len(given) > 1:
        flags = " and ".join("--" + name.replace("_", "-") for name in given)
        raise ConfigError(f"{flags} both give the key: choose one")
    if args.auth_command:
        return None, None
    if args.api_key_file:
        return _key_of_file(args.api_key_file), args.api_key_file
    name = args.api_key_env or preset.key_env
    key = os.environ.get(name) if name else None
    if args.api_key_env and not key:
        raise ConfigError(f"--api-key-env {name}: this environment variable is not set or empty")
    return (key, name) if key else (None, None)


def _key_of_file(name: str) -> str:
    try:
        key = Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"--api-key-file {name}: {reason}") from None
    if not key or len(key.splitlines()) > 1:
        raise ConfigError(f"--api-key-file {name}: one line with the key is wanted")
    return key
