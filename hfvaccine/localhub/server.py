"""Running the embedded Hub: in a thread of this process, or in the foreground."""

import contextlib
import ipaddress
import logging
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from hfvaccine.errors import LocalHubError

if TYPE_CHECKING:
    import uvicorn

    from hfvaccine.localhub.hub import Hub


class LocalHub:
    """A Hub on loopback, served by a thread of this process.

    Args:
        root: the folder that holds all of its state; made when absent.
        host: the address to listen on; only loopback.
        port: the port; 0 takes a free one.

    Raises:
        LocalHubError: when the port is taken, the folder is in use, or the host is not loopback.

    Example:
        with LocalHub(tmp_path) as hub:
            api = HfApi(endpoint=hub.endpoint, token=hub.add_user("alice"))
    """

    def __init__(self, root: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.root = Path(root)
        self._host, self._port = host, port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._hub: Hub | None = None

    def start(self) -> "LocalHub":
        """Serve; returns when the Hub answers."""
        listening = _listen(self._host, self._port)
        self._port = listening.getsockname()[1]
        try:
            self._hub, self._server = _prepare(self.root)
        except BaseException:
            listening.close()
            raise
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="localhub", daemon=True
        )
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise LocalHubError(f"The embedded Hub did not start on port {self._port}.", "See the messages above.")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Finish what is under way, then stop; the state stays in the folder."""
        if self._server and self._thread and self._hub:
            self._server.should_exit = True
            self._thread.join()
            self._hub.close()
        self._server = self._thread = self._hub = None

    @property
    def endpoint(self) -> str:
        """The address for `HF_ENDPOINT`."""
        return _address(self._host, self._port)

    def add_user(self, name: str, role: str = "write") -> str:
        """Make an account if there is none of this name, and a fresh token for it.

        Args:
            name: the user.
            role: what the token may do, "write" or "read".

        Returns:
            The token.
        """
        if self._hub is None:
            raise LocalHubError("The embedded Hub is not running.", "Call `start()` first.")
        self._hub.accounts.add_user(name)
        return self._hub.accounts.add_token(name, role)

    def __enter__(self) -> "LocalHub":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(root: Path, host: str = "127.0.0.1", port: int = 8009, allow_insecure: bool = False) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, then finish what is under way.

    Args:
        root: the folder that holds all state.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        allow_insecure: permit an address that other machines can reach, although tokens travel unencrypted.

    Raises:
        LocalHubError: when the port is taken, the folder is in use, or the host is refused.
    """
    listening = _listen(host, port, allow_insecure)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        hub, server = _prepare(root)
        print(f"Serving {root} at {_address(host, listening.getsockname()[1])} (Ctrl-C stops)", file=sys.stderr)
        # uvicorn finishes what is under way and then raises the signal again.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        finally:
            hub.close()
    finally:
        listening.close()


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _listen(host: str, port: int, allow_insecure: bool = False) -> socket.socket:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not allow_insecure:
        raise LocalHubError(
            f"{host} can be reached by other machines, and tokens would travel unencrypted.",
            "Use 127.0.0.1, or `--allow-insecure` on a network that you trust.",
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named, asyncio turns Nagle's algorithm off: else small answers wait 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, OverflowError) as error:
        raise LocalHubError(f"Cannot listen on {host}: {error}.", "Use 127.0.0.1.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
        return listening
    except (OSError, OverflowError) as error:
        listening.close()
        raise LocalHubError(
            f"Cannot listen on {host}, port {port}: {error}.",
            "Choose another port with `--port` (0 takes a free one).",
        ) from error


def _prepare(root: Path) -> "tuple[Hub, uvicorn.Server]":
    try:
        import dulwich  # noqa: F401
        import uvicorn

        from hfvaccine.localhub.app import build_app
        from hfvaccine.localhub.hub import Hub
    except ModuleNotFoundError as error:
        raise LocalHubError(
            f"The embedded Hub needs the package {error.name!r}.", 'Install it: `pip install "hfvaccine[localhub]"`.'
        ) from error
    hub = Hub(Path(root))
    config = uvicorn.Config(
        build_app(hub), log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=75
    )
    return hub, uvicorn.Server(config)
