"""The server: the application in uvicorn, in a thread or in the foreground."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

import uvicorn

from airflow_provider_ampexp.emulator._app import create_app
from airflow_provider_ampexp.emulator._faults.tcp_connections import TcpConnections
from airflow_provider_ampexp.emulator._state.service import Service
from airflow_provider_ampexp.emulator._state.snapshots import DEMO_KEY, reset

__all__ = ["EmulatorServer"]


def make_server(service: Service) -> uvicorn.Server:
    """Create a uvicorn server of the emulator."""
    connections = TcpConnections()
    config = uvicorn.Config(
        create_app(service, connections),
        # Cutting a connection needs this protocol, and a loop that all platforms have.
        http=connections.protocol(),
        loop="asyncio",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        # The application sets the Date header from the emulator's clock.
        date_header=False,
        server_header=False,
        # The peer's real address identifies its connection.
        proxy_headers=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket, so that its port is known before the server runs."""
    # Name the protocol: asyncio disables Nagle's algorithm (40 ms a request) only for sockets that name it.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except BaseException:
        found.close()
        raise
    return found


class EmulatorServer:
    """The emulator in a background thread, on 127.0.0.1. A context manager."""

    def __init__(self, port: int = 0) -> None:
        self.service = Service()
        reset(self.service)
        self.api_key = DEMO_KEY
        self._wanted_port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.base_url = ""

    def start(self) -> EmulatorServer:
        """Start, and return when the server accepts requests."""
        bound = listen("127.0.0.1", self._wanted_port)
        self.base_url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        self.service.stopping = False
        server = self._server = make_server(self.service)
        self._thread = threading.Thread(target=server.run, args=([bound],), name="amplitude-emulator", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 30
        while not server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("The emulator did not start.")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Stop, and return when the port is free."""
        if self._server is not None and self._thread is not None:
            # Slow requests must not delay the stop of the server.
            self.service.stopping = True
            self._server.should_exit = True
            self._thread.join(timeout=10)
        self._server = self._thread = None

    def __enter__(self) -> EmulatorServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
