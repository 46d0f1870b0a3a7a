"""Signals between the controller and Airflow's processes in a scenario: files in one folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "AMPEXP_CHAOS_SIGNALS"  # the environment variable with the folder
_PATIENCE = 60.0
_AWAY, _ASKED = "secrets-away", "secrets-asked"


class Signals:
    """The folder of the signals, for the controller and for a process of Airflow (:meth:`of_this_process`)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    @classmethod
    def of_this_process(cls) -> Signals:
        """Return the folder that the environment names."""
        return cls(Path(os.environ[FOLDER]))

    @property
    def heartbeats(self) -> Path:
        """The folder for the heartbeats of rollouts."""
        return self.folder / "heartbeats"

    def wait_for_outage(self, run_id: str) -> None:
        """Wait, in a guardrail, until the controller has stopped the part that must be away when the check fails."""
        self._file("wanted", run_id).touch()
        until = time.monotonic() + _PATIENCE
        while not self._file("granted", run_id).exists() and time.monotonic() < until:
            time.sleep(0.02)

    def wants_outage(self, run_id: str) -> bool:
        """Return true if a guardrail of this run waits."""
        return self._file("wanted", run_id).exists()

    def grant_outage(self, run_id: str) -> None:
        """Let the guardrail continue."""
        self._file("granted", run_id).touch()

    @contextmanager
    def secrets_away(self, how: str) -> Iterator[None]:
        """Start an outage of the secrets backend: it ``"raises"``, or it ``"returns nothing"``."""
        file = self.folder / _AWAY
        file.write_text(how)
        try:
            yield
        finally:
            file.unlink()

    def how_secrets_are_away(self) -> str | None:
        """Return the kind of the outage, in the secrets backend, and count the look-up; ``None`` without an outage."""
        try:
            how = (self.folder / _AWAY).read_text()
        except FileNotFoundError:
            return None
        with (self.folder / _ASKED).open("a") as file:
            file.write(f"{how}\n")
        return how or "raises"

    def asked_while_away(self) -> int:
        """Return the number of look-ups during an outage."""
        file = self.folder / _ASKED
        return len(file.read_text().splitlines()) if file.exists() else 0

    def _file(self, what: str, run_id: str) -> Path:
        return self.folder / f"{what}-{run_id}"
