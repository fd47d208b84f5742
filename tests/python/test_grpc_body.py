"""Bodies of gRPC calls against bytes that a protobuf library wrote."""

from __future__ import annotations

import pytest

from llmbench import grpc_body
from llmbench.errors import ConfigError

# request=["Hi there"], ignore_eos=true, max_new_tokens=4, top_p=0.5.
HI_THERE = bytes.fromhex(
    "0a 08 48 69 20 74 68 65 72 65 12 10 0a 0a 69 67 6e 6f 72 65 5f 65 6f 73 12 02 20 01 12 14 0a 0e 6d 61 78 5f 6e 65"
    "77 5f 74 6f 6b 65 6e 73 12 02 10 04 12 0e 0a 05 74 6f 70 5f 70 12 05 1d 00 00 00 3f"
)
HI_KWARGS: dict[str, object] = {"ignore_eos": True, "max_new_tokens": 4, "top_p": 0.5}


def value(kwarg: object) -> str:
    """What stands for `kwarg` in the map's entry for the key "k", in hex."""
    entry = grpc_body.message([], {"k": kwarg})
    head = b"\x12" + bytes([len(entry) - 2]) + b"\x0a\x01k\x12"
    assert entry.startswith(head)
    rest = entry[len(head) :]
    assert rest[0] == len(rest) - 1
    return rest[1:].hex()


def test_a_request_is_what_a_protobuf_library_writes() -> None:
    assert grpc_body.message(["Hi there"], HI_KWARGS) == HI_THERE


def test_a_body_is_one_uncompressed_frame() -> None:
    assert grpc_body.render(["Hi there"], HI_KWARGS) == b"\0\0\0\0" + bytes([len(HI_THERE)]) + HI_THERE


@pytest.mark.parametrize(
    ("kwarg", "expected"),
    [
        ("", "0a00"),
        ("é", "0a02c3a9"),
        (0, "1000"),
        (127, "107f"),
        (300, "10ac02"),
        (-1, "10ffffffffffffffffff01"),
        (2**63 - 1, "10ffffffffffffffff7f"),
        (0.0, "1d00000000"),
        (1.0, "1d0000803f"),
        (False, "2000"),
        (True, "2001"),
        ({}, "2a00"),
        ({"a": 1}, "2a090a070a0161120210" + "01"),
    ],
)
def test_values(kwarg: object, expected: str) -> None:
    assert value(kwarg) == expected


def test_lengths_over_127_bytes_and_several_prompts() -> None:
    assert grpc_body.message(["a" * 200, "b"], {}) == b"\x0a\xc8\x01" + b"a" * 200 + b"\x0a\x01b"


def test_arguments_that_are_none_are_left_out() -> None:
    assert grpc_body.message(["x"], {"top_k": None}) == b"\x0a\x01x"


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"stop": ["a", "b"]}, "'stop' is a list"),
        ({"outer": {"inner": b"x"}}, "'outer.inner' is a bytes"),
        ({"seed": 2**63}, "'seed' is 9223372036854775808"),
        ({"temperature": 1e39}, "'temperature' is 1e.39"),
    ],
)
def test_values_without_a_place(kwargs: dict[str, object], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        grpc_body.message(["x"], kwargs)


def test_one_string_for_the_prompts_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="list of strings"):
        grpc_body.render("x", {})


def test_a_message_over_the_servers_limit() -> None:
    with pytest.raises(ConfigError, match="larger than the server takes"):
        grpc_body.render(["x" * (grpc_body.MAX_MESSAGE_BYTES)], {})
