"""How the controller and Airflow's processes tell each other something in a scenario: by files in one folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "AMPEXP_CHAOS_SIGNALS"  # the variable of the environment that names it
_PATIENCE = 60.0
_AWAY, _ASKED = "secrets-away", "secrets-asked"


class Signals:
    """The folder, as the controller sees it and as a process of Airflow does (:meth:`of_this_process`)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    @classmethod
    def of_this_process(cls) -> Signals:
        """The folder that the environment names."""
        return cls(Path(os.environ[FOLDER]))

    @property
    def heartbeats(self) -> Path:
        """The folder for the heartbeats of rollouts."""
        return self.folder / "heartbeats"

    def wait_for_outage(self, run_id: str) -> None:
        """In a guardrail: return when the controller has taken away what is to be gone when the check fails."""
        self._file("wanted", run_id).touch()
        until = time.monotonic() + _PATIENCE
        while not self._file("granted", run_id).exists() and time.monotonic() < until:
            time.sleep(0.02)

    def wants_outage(self, run_id: str) -> bool:
        """Whether a guardrail of this run waits."""
        return self._file("wanted", run_id).exists()

    def grant_outage(self, run_id: str) -> None:
        """Let the guardrail go on."""
        self._file("granted", run_id).touch()

    @contextmanager
    def secrets_away(self, how: str) -> Iterator[None]:
        """Take the secrets backend away: it ``"raises"``, or it ``"returns nothing"``."""
        file = self.folder / _AWAY
        file.write_text(how)
        try:
            yield
        finally:
            file.unlink()

    def how_secrets_are_away(self) -> str | None:
        """In the secrets backend, when it is asked: how it is away, if it is. That it was asked is counted."""
        try:
            how = (self.folder / _AWAY).read_text()
        except FileNotFoundError:
            return None
        with (self.folder / _ASKED).open("a") as file:
            file.write(f"{how}\n")
        return how or "raises"

    def asked_while_away(self) -> int:
        """How often the secrets backend was asked while it was away."""
        file = self.folder / _ASKED
        return len(file.read_text().splitlines()) if file.exists() else 0

    def _file(self, what: str, run_id: str) -> Path:
        return self.folder / f"{what}-{run_id}"
