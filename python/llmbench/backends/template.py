"""A preset made from a description of any HTTP server, in JSON:

    {
      "path": "/api/infer",
      "headers": {"X-Key": "${env:INFER_KEY}"},
      "body": {"input": "${prompt}", "limit": "${max_tokens}", "stream": "${stream}"},
      "framing": "sse", "done": "[DONE]",
      "text": "/delta", "finish_reason": "/why", "output_tokens": "/usage/out"
    }

What says how an answer is read goes to the core as it is (docs/wire-formats.md); the rest is here.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmbench.backends.body import SAMPLING, placeholders
from llmbench.errors import ConfigError

UNDESCRIBED: dict[str, Any] = {
    "name": "template",
    "path": "/",
    "wire_format": "template",
    "models_at": "/data/-/id",
    "description": "any HTTP server, described in a file",
    "reports": "a JSON pointer",
    "cached_tokens": True,
    "forces_length": "${ignore_eos} in the body",
    "seeded": True,
    "key_env": None,
    "quirks": ("--template FILE.json describes the server.",),
}
"""The fields of the preset as long as nothing describes the server."""

WIRE_RULES = (
    "framing",
    "done",
    "text",
    "reasoning",
    "tool",
    "finish_reason",
    "error",
    "prompt_tokens",
    "prompt_tokens_more",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "token_ids",
    "index",
    "expect",
    "document",
    "text_mode",
    "count_mode",
    "strip_prompt",
    "strip_until",
    "skip_if",
    "always_streams",
)
"""The keys that are the core's."""
_NAMES = (
    "prompt",
    "messages",
    "token_ids",
    "model",
    "deployment",
    "max_tokens",
    "max_tokens_field",
    "max_length",
    "stream",
    "streamed",
    "input",
    "stream_options",
    "ignore_eos",
    "request_id",
    "sampling",
    *SAMPLING,
)


def preset_fields(template: Mapping[str, Any] | str) -> dict[str, Any]:
    """The fields of the `Backend` that `template` describes: an object, or the name of a JSON file that holds one."""
    described = _read(template) if isinstance(template, str) else dict(template)
    keys = _Keys(described)
    body = keys.take("body", dict, None)
    if body is None:
        raise ConfigError("a template needs a body: the request's JSON with placeholders such as ${prompt}")
    places = set(_checked_placeholders(body))
    takes = tuple(
        kind
        for kind, place in (("text", "prompt"), ("messages", "messages"), ("token ids", "token_ids"))
        if place in places or ("input" in places and kind != "token ids")
    )
    if not takes:
        raise ConfigError(
            "the template's body has no place for the prompt: ${prompt}, ${messages} or ${token_ids}"
        )
    rules = {key: described[key] for key in WIRE_RULES if key in described}
    if not {"text", "token_ids", "document"} & rules.keys():
        raise ConfigError(
            'a template needs to say where the text is: "text": "/path/to/text", a JSON pointer into an event'
        )
    streams = keys.take("streams", bool, rules.get("framing", "sse") != "none")
    base, path = _address(keys.take("url", str, None), keys.take("path", str, None))
    health = _Keys(keys.take("health", dict, {}), "health")
    models = _Keys(keys.take("models", dict, {}), "models")
    metrics = _Keys(keys.take("metrics", dict, {}), "metrics")
    headers = {name: str(value) for name, value in keys.take("headers", dict, {}).items()}
    document = rules.get("document") if isinstance(rules.get("document"), Mapping) else {}
    fields = {
        **UNDESCRIBED,
        "name": keys.take("name", str, "template"),
        "description": keys.take("description", str, UNDESCRIBED["description"]),
        "path": path,
        "whole_path": keys.take("whole_path", str, None),
        "method": keys.take("method", str, "POST").upper(),
        "body": body,
        "takes": takes,
        "streams": streams,
        "whole": not rules.get("always_streams", False),
        "rules": rules,
        "repeats_prompt": bool(rules.get("strip_prompt")),
        "headers": headers,
        "models_path": models.take("path", str, None),
        "models_at": models.take("at", str, UNDESCRIBED["models_at"]),
        "health_path": health.take("path", str, None),
        "health_status": health.take("status", int, 200),
        "metrics_path": metrics.take("path", str, None),
        "metrics_port": metrics.take("port", int, None),
        "metrics_names": metrics.take("names", dict, {}),
        "default_url": base,
        "reports": next(
            (key for key in ("output_tokens", "token_ids") if rules.get(key) or (document or {}).get(key)),
            "tokenizer",
        ),
        "finish_reasons": bool(rules.get("finish_reason") or (document or {}).get("finish_reason")),
        "cached_tokens": bool(rules.get("cached_tokens") or (document or {}).get("cached_tokens")),
        "forces_length": "${ignore_eos} in the body" if "ignore_eos" in places else "",
    }
    for group in (keys, health, models, metrics):
        group.check_all_known(WIRE_RULES if group is keys else ())
    return fields


def _read(name: str) -> dict[str, Any]:
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the template {name} cannot be read: {reason}") from None
    try:
        described = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"the template {name} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    if not isinstance(described, dict):
        raise ConfigError(f"the template {name} must be a JSON object")
    return described


class _Keys:
    """The keys of one object, taken one by one; what is left over was misspelt."""

    def __init__(self, given: Mapping[str, Any], name: str = "") -> None:
        self._given = given
        self._name = name
        self._known: list[str] = []

    def take(self, key: str, kind: type, default: Any) -> Any:
        self._known.append(key)
        value = self._given.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            wanted = {dict: "an object", str: "a string", bool: "true or false", int: "a whole number"}[kind]
            raise ConfigError(
                f"the template's {self._path(key)} must be {wanted}, not {json.dumps(value)[:80]}"
            )
        return value

    def check_all_known(self, others: tuple[str, ...]) -> None:
        known = [*self._known, *others]
        for key in self._given:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                raise ConfigError(f"the template has an unknown key {self._path(key)}: {hint}")

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key


def _checked_placeholders(body: Mapping[str, Any]) -> list[str]:
    names = list(placeholders(body))
    for name in names:
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, n=1)
            hint = f"did you mean ${{{near[0]}}}?" if near else f"there are {', '.join(_NAMES)}"
            raise ConfigError(f"the template's body has an unknown placeholder ${{{name}}}: {hint}")
    return names


def _address(url: str | None, path: str | None) -> tuple[str | None, str]:
    """The base URL, where one is named, and the path of requests."""
    if url is None:
        return None, path or "/"
    parts = urlsplit(url)
    if path is not None:
        return url, path
    full = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}", full
