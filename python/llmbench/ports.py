"""Ports for servers that are about to start."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

from llmbench.errors import ServerStartError

_LOWEST_PORT = 10_000


def free_ports(n: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nothing listens on at the moment, chosen by the kernel, all different."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in taken:
            each.bind((host, 0))
        return [each.getsockname()[1] for each in taken]


def free_port_block(n: int, host: str = "127.0.0.1") -> int:
    """The first of `n` consecutive ports that nothing listens on at the moment, below those that connections get."""
    chance = random.SystemRandom()
    for _ in range(256):
        first = chance.randrange(_LOWEST_PORT, _first_ephemeral_port() - n)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + n):
                taken = stack.enter_context(socket.socket())
                # As servers do it: connections of the past that still linger there are no hindrance.
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind((host, port))
            return first
    raise ServerStartError(f"found no {n} free ports in a row on {host}: name the first in --server_port")


def _first_ephemeral_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 0
    # A machine may give out nearly all: then there is no better place than any.
    return first if first > 2 * _LOWEST_PORT else 65536
