"""Request bodies as data: JSON with placeholders, which a request's values fill in.

    {"inputs": "${prompt}", "parameters": {"max_new_tokens": "${max_tokens}", "stop": ["${stop}"]}}

A string that is nothing but a placeholder becomes the value with its type; in a longer string the value becomes
text. A placeholder without a value takes its key or list item with it, and an object or list that is left with
nothing goes too. The key `**` spreads an object over the one it stands in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_MISSING: Any = object()
SPREAD = "**"

SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "length_penalty",
    "seed",
    "stop",
    "min_tokens",
)
"""Our names of the sampling fields, which a body has places for as far as its server knows them."""


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """`template` with `values` in place; None when nothing of it is left."""
    filled = _fill(template, values)
    return None if filled is _MISSING else filled


def placeholders(template: Any) -> Iterator[str]:
    """Every name that `template` has a place for, in order."""
    if isinstance(template, str):
        yield from _PLACEHOLDER.findall(template)
    elif isinstance(template, Mapping):
        for key, value in template.items():
            yield from placeholders(key)
            yield from placeholders(value)
    elif isinstance(template, list | tuple):
        for item in template:
            yield from placeholders(item)


def substitute(text: str, value_of: Callable[[str], str]) -> str:
    """The text with each `${NAME}` replaced by `value_of(NAME)`."""
    return _PLACEHOLDER.sub(lambda match: value_of(match[1]), text)


def merge(body: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Lays `extra` over `body`, objects merged one level deep; null removes a field."""
    for key, value in extra.items():
        if value is None:
            body.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(body.get(key), dict):
            body[key] = {**body[key], **value}
        else:
            body[key] = value


def _fill(template: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, Mapping):
        return _fill_object(template, values)
    if isinstance(template, list | tuple):
        filled = [item for item in (_fill(each, values) for each in template) if item is not _MISSING]
        return filled if filled or not template else _MISSING
    return template


def _fill_object(template: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    result: dict[str, Any] = {}
    for key, each in template.items():
        value = _fill(each, values)
        if value is _MISSING:
            continue
        if key == SPREAD:
            result.update(value)
        else:
            result[_fill_text(key, values) if "$" in key else key] = value
    return result if result or not template else _MISSING


def _fill_text(text: str, values: Mapping[str, Any]) -> Any:
    whole = _PLACEHOLDER.fullmatch(text)
    if whole is not None:
        return values.get(whole[1], _MISSING)
    names = _PLACEHOLDER.findall(text)
    if any(name not in values for name in names):
        return _MISSING
    return substitute(text, lambda name: _as_text(values[name])) if names else text


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
