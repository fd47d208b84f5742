"""Ports for servers that are about to start."""

from __future__ import annotations

import socket

from llmbench import ports


def test_free_ports_are_distinct() -> None:
    assert len(set(ports.free_ports(8))) == 8


def test_a_block_of_free_ports() -> None:
    first = ports.free_port_block(5)
    for port in range(first, first + 5):
        with socket.socket() as each:
            each.bind(("127.0.0.1", port))
