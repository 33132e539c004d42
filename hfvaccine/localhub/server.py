"""Running the embedded Hub: in a thread of this process, or in the foreground."""

import contextlib
import json
import logging
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hfvaccine.errors import LocalHubError
from hfvaccine.listening import address, listen
from hfvaccine.packages import install_extra

if TYPE_CHECKING:
    import uvicorn

    from hfvaccine.localhub.hub import Hub


GRACE = 30  # seconds for what is under way when the Hub is told to stop


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
        """Finish what is under way, for at most half a minute, then stop; the state stays in the folder."""
        if self._server and self._thread and self._hub:
            self._server.should_exit = True
            self._thread.join()
            self._hub.close()
        self._server = self._thread = self._hub = None

    @property
    def endpoint(self) -> str:
        """The address for `HF_ENDPOINT`."""
        return address(self._host, self._port)

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

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(
    root: Path,
    host: str = "127.0.0.1",
    port: int = 8009,
    allow_insecure: bool = False,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    grace: int = GRACE,
    for_strangers: int | None = None,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, then finish what is under way.

    What happens is logged to stderr, one JSON object a line.

    Args:
        root: the folder that holds all state.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        allow_insecure: permit an address that other machines can reach, although tokens travel unencrypted.
        tls_cert: certificate chain in PEM; given one, the Hub speaks HTTPS only.
        tls_key: the certificate's key, when it is in a file of its own.
        grace: seconds to wait for what is under way when told to stop; then it is cut off.
        for_strangers: bytes in place of `hub.FOR_STRANGERS`.

    Raises:
        LocalHubError: when the port is taken, the folder is in use, the host is refused, or the certificate unusable.
    """
    listening = _listen(host, port, allow_insecure or tls_cert is not None)
    try:
        hub, server = _prepare(root, grace, tls_cert, tls_key)
        if for_strangers is not None:
            hub.for_strangers = for_strangers
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_JsonLines())
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        scheme = "https" if tls_cert else "http"
        place = address(host, listening.getsockname()[1], scheme)
        print(f"Serving {root} at {place} (Ctrl-C stops)", file=sys.stderr)
        # uvicorn finishes what is under way and then raises the signal again.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with contextlib.suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        finally:
            hub.close()
    finally:
        listening.close()


class _JsonLines(logging.Formatter):
    """One JSON object a line; the access log's records are such objects already."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        if record.name == "hfvaccine.localhub.access":
            return message
        at = self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z")
        return json.dumps({"time": at, "level": record.levelname, "message": message})


def _listen(host: str, port: int, anywhere: bool = False) -> socket.socket:
    return listen(
        host,
        port,
        anywhere=anywhere,
        danger="tokens would travel unencrypted",
        remedy="Use 127.0.0.1, or `--tls-cert` and `--tls-key`, or `--allow-insecure` on a network that you trust.",
        refused=LocalHubError,
        waiting=512,
    )


def _prepare(
    root: Path, grace: int = GRACE, tls_cert: Path | None = None, tls_key: Path | None = None
) -> "tuple[Hub, uvicorn.Server]":
    try:
        import dulwich  # noqa: F401
        import uvicorn

        from hfvaccine.localhub.app import build_app
        from hfvaccine.localhub.hub import Hub
    except ModuleNotFoundError as error:
        raise LocalHubError(
            f"The embedded Hub needs the package {error.name!r}.", install_extra("localhub")
        ) from error
    if tls_key and not tls_cert:
        raise LocalHubError("A key without a certificate encrypts nothing.", "Give `--tls-cert`, too.")
    hub = Hub(Path(root))
    try:
        config = uvicorn.Config(
            build_app(hub),
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=grace,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
        )
        config.load()
    except OSError as error:  # ssl.SSLError is one
        hub.close()
        raise LocalHubError(
            f"The certificate {tls_cert} or its key cannot be used: {error}.",
            "Give a certificate chain and its unencrypted key in PEM.",
        ) from error
    return hub, uvicorn.Server(config)
