"""PostgreSQL and Redis from Debian's packages, each with scratch data on a free port of the loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

_PATIENCE = 60.0


def free_port() -> int:
    """Return a free port of the loopback."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Service:
    """A server in the foreground, as a child of this process. A context manager."""

    package = ""
    user = ""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.data = Path()

    def __enter__(self) -> Service:
        if self.program() is None:
            _install(self.package)
        self.data = Path(tempfile.mkdtemp(prefix=f"ampexp-chaos-{self.package}-"))
        if self._identity:
            shutil.chown(self.data, self.user)
        with self._log.open("ab") as log:
            self.prepare(log)
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.data, **self._identity
            )
        self._until_it_answers()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def _identity(self) -> dict[str, Any]:
        """The user and the group of the server if this process runs as root, because a server does not run as root."""
        if os.geteuid() != 0:
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def program(self) -> str | None:
        """Return the path of the server; ``None`` if it is not installed."""
        raise NotImplementedError

    def prepare(self, log: IO[bytes]) -> None:
        """Prepare the data, once before the start."""

    def command(self) -> list[str]:
        """Return the command line of the server."""
        raise NotImplementedError

    def _until_it_answers(self) -> None:
        assert self._process is not None
        limit = time.monotonic() + _PATIENCE
        while time.monotonic() < limit and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        sys.exit(f"{self.package} did not start:\n{self._log.read_text()[-2000:]}")


class Postgres(Service):
    """A separate cluster, with a database for Airflow. Debian's own cluster is not used."""

    package = "postgresql"
    user = "postgres"

    def program(self) -> str | None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda value: int(value.parts[4]))
        return str(found[-1].parent) if found else None

    def prepare(self, log: IO[bytes]) -> None:
        command = [f"{self.program()}/initdb", "-D", str(self.data / "cluster"), "-U", "postgres"]
        command += ["--auth=trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(command, check=True, stdout=log, stderr=log, cwd=self.data, **self._identity)

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.data),
            "max_connections": "200",
            "fsync": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [f"{self.program()}/postgres", "-D", str(self.data / "cluster"), "-p", str(self.port), *options]

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database, for libpq."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def make_database(self, name: str) -> None:
        """Create a database, when the server accepts connections."""
        limit = time.monotonic() + _PATIENCE
        command = [f"{self.program()}/createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name]
        while (done := subprocess.run(command, capture_output=True, text=True)).returncode:
            if time.monotonic() > limit:
                sys.exit(f"The database could not be made: {done.stderr}")
            time.sleep(0.2)


class Redis(Service):
    """A Redis without storage."""

    package = "redis-server"
    user = "redis"

    def program(self) -> str | None:
        return shutil.which("redis-server")

    def command(self) -> list[str]:
        return [
            str(self.program()),
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--save",
            "",
            "--appendonly",
            "no",
        ]

    @property
    def url(self) -> str:
        """Return the address of the broker."""
        return f"redis://127.0.0.1:{self.port}/0"


def _install(package: str) -> None:
    if os.geteuid() != 0:
        sys.exit(f"{package} is not installed. Install it first: apt-get install {package}")
    print(f"Installing {package} from Debian's packages ...", flush=True)
    # In run level 1 a package does not start its service, because the tests use a separate server.
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", package]):
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)!r} failed:\n{done.stdout}{done.stderr}")
