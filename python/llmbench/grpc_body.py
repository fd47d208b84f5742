"""Request bodies of the `fastgen-grpc` format: protobuf by hand, in one gRPC frame.

The service has one request message, written here without a protobuf library:

    MultiStringRequest   1 request: repeated string     2 query_kwargs: map<string, Value>
    Value, one of        1 string   2 int64   3 float (32 bits)   4 bool   5 Dictionary
    Dictionary           1 values: map<string, Value>
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from llmbench.errors import ConfigError

# Wire types of protobuf.
_VARINT, _LENGTH, _FIXED32 = 0, 2, 5

MAX_MESSAGE_BYTES = 2**27
"""What a FastGen server takes at most."""


def render(prompts: Sequence[str], kwargs: Mapping[str, object]) -> bytes:
    """The body of a call with these prompts and `query_kwargs`: a frame ready to send.

    Keyword arguments that are None are left out. ConfigError for a value protobuf has no place for.
    """
    text = message(prompts, kwargs)
    if len(text) > MAX_MESSAGE_BYTES:
        raise ConfigError(
            f"a gRPC request of {len(text)} bytes is larger than the server takes ({MAX_MESSAGE_BYTES}); "
            f"use shorter prompts"
        )
    return b"\0" + struct.pack(">I", len(text)) + text


def message(prompts: Sequence[str], kwargs: Mapping[str, object]) -> bytes:
    """The MultiStringRequest alone."""
    if isinstance(prompts, str):
        raise TypeError("prompts is a list of strings, not one string")
    return b"".join(_field(1, prompt.encode()) for prompt in prompts) + _entries(2, kwargs, "")


def _entries(number: int, values: Mapping[str, object], path: str) -> bytes:
    """A map<string, Value>: one entry message {1 key, 2 value} per item."""
    return b"".join(
        _field(number, _field(1, str(key).encode()) + _field(2, _value(value, f"{path}{key}")))
        for key, value in values.items()
        if value is not None
    )


def _value(value: object, name: str) -> bytes:
    """One member of the Value is always written, even where it is 0 or "": that is how the server sees which."""
    if isinstance(value, bool):  # before int, which it is too
        return _tag(4, _VARINT) + _varint(value)
    if isinstance(value, str):
        return _field(1, value.encode())
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ConfigError(f"'{name}' is {value}, which does not fit into the 64 bits of a gRPC integer")
        return _tag(2, _VARINT) + _varint(value & (2**64 - 1))
    if isinstance(value, float):
        return _tag(3, _FIXED32) + _float(value, name)
    if isinstance(value, Mapping):
        return _field(5, _entries(1, value, f"{name}."))
    raise ConfigError(
        f"'{name}' is a {type(value).__name__}; the fastgen-grpc format carries strings, numbers, booleans and "
        f"objects of these"
    )


def _float(value: float, name: str) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        raise ConfigError(f"'{name}' is {value}, which does not fit into a 32-bit float") from None


def _field(number: int, payload: bytes) -> bytes:
    return _tag(number, _LENGTH) + _varint(len(payload)) + payload


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
