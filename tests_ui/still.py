"""Serve the page's files and prepared responses over HTTP, without Airflow, for states that take weeks to reach."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

_STATIC = files("airflow_provider_ampexp.ui") / "static"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@contextmanager
def still_page(answers: Mapping[str, Any]) -> Iterator[str]:
    """Serve the page with these responses by path, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = "index.html" if path == "/" else path.removeprefix("/static/")
            if path in answers:
                self._answer("application/json", json.dumps(answers[path]).encode())
            elif name in _TYPES or (_STATIC / name).is_file():
                self._answer(_TYPES[name.rpartition(".")[2]], (_STATIC / name).read_bytes())
            else:
                self.send_error(404)

        def _answer(self, type_: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", type_)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
