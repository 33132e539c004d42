"""The socket of a server of ours: on this machine alone, unless somebody says otherwise."""

from __future__ import annotations

import ipaddress
import socket

from hfvaccine.errors import HfvaccineError


def listen(
    host: str, port: int, *, anywhere: bool, danger: str, remedy: str, refused: type[HfvaccineError], waiting: int
) -> socket.socket:
    """Listen on an address of this machine.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        anywhere: permit an address that other machines can reach.
        danger: what comes of such an address, and `remedy`, what to do instead.
        refused: the error that is raised.
        waiting: connections that may wait to be taken.

    Raises:
        HfvaccineError: of the kind `refused`, for such an address, and one that cannot be listened on.
    """
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not anywhere:
        raise refused(f"{host} can be reached by other machines, and {danger}.", remedy)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named, asyncio turns Nagle's algorithm off: else small answers wait 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, OverflowError) as error:
        raise refused(f"Cannot listen on {host}: {error}.", "Use 127.0.0.1.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(waiting)
    except (OSError, OverflowError) as error:
        listening.close()
        raise refused(
            f"Cannot listen on {host}, port {port}: {error}.",
            "Choose another port with `--port` (0 takes a free one).",
        ) from error
    return listening


def address(host: str, port: int, scheme: str = "http") -> str:
    """Where a server is reached."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
