"""Work through the page of a first release, as a reader who types each file and each command."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.emulator.server import EmulatorServer

PAGE = (Path(__file__).parents[2] / "docs" / "first-release.md").read_text()
CHANGING = re.compile(r"\d{4}-\d\d-\d\d( [\d:]+Z)?|\d{6}")


class Reader:
    """A reader with a separate Airflow and emulator, who works through the page from its beginning."""

    def __init__(self, home: Path, emulator: Emulator) -> None:
        self.emulator = emulator
        self._home = home
        self._unread = re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
        (home / "dags").mkdir()
        (home / "exports").touch()
        migrated = Path(os.environ["AIRFLOW_HOME"]) / "airflow.db"
        with closing(sqlite3.connect(migrated)) as source, closing(sqlite3.connect(home / "airflow.db")) as own:
            source.backup(own)
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_CONN_")} | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self.after: dict[str, dict[str, Any]] = {}

    def read(self, section: str) -> dict[str, Any]:
        """Work through the page up to the end of a section; return the experiment as it was then, ``{}`` if none."""
        while section not in self.after:
            title, text = self._unread.pop(0)
            self._work_through(text)
            self.after[title] = next(iter(self.emulator.dump()["experiments"]), {})
        return self.after[section]

    def _work_through(self, text: str) -> None:
        printed: list[str] = []
        for language, block in re.findall(r"^```(python|bash|text)\n(.+?)^```$", text, re.DOTALL | re.MULTILINE):
            here = block.replace("http://127.0.0.1:8765", self.emulator.base_url).replace("/tmp/", f"{self._home}/")
            if language == "python":
                (self._home / block.partition("\n")[0].removeprefix("# ")).write_text(here)
            elif language == "bash":
                printed = lines(self._type(here))
            else:
                assert [line for line in lines(block) if line not in printed] == [], printed

    def _type(self, command: str) -> str:
        """Run a command in the reader's shell, which keeps exported variables."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f". ./exports\n{command}\nexport -p > exports"],
            cwd=self._home,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}{done.stdout}{done.stderr}"
        return done.stdout


def lines(text: str) -> list[str]:
    """Return the lines of an output, without the parts that differ in each run."""
    return [CHANGING.sub("...", line).rstrip() for line in text.splitlines()]


@pytest.fixture(scope="module")
def reader(airflow_database: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with EmulatorServer() as server:
        emulator = Emulator(server.base_url)
        emulator.run_clock(10)  # a soak of 10 seconds takes one
        yield Reader(tmp_path_factory.mktemp("reader"), emulator)


def test_the_connection_works_and_nothing_is_there_yet(reader: Reader) -> None:
    assert reader.read("1. Connect") == {}


def test_the_experiment_is_ramped_with_qa_in_it(reader: Reader) -> None:
    started = reader.read("2. Start")
    assert (started["enabled"], started["rolloutPercentage"], started["state"]) == (True, 20, "running")
    assert started["inclusions"] == {"treatment": ["qa@example.com"]}
    [shop] = [stored["id"] for stored in reader.emulator.dump()["deployments"] if stored["label"] == "shop"]
    assert started["deployments"] == [shop]
    versions = reversed(reader.emulator.versions("experiments", started["id"]))
    percentages = dict.fromkeys(version["flagConfig"]["rolloutPercentage"] for version in versions)
    assert list(percentages)[:3] == [0, 5, 20]


def test_the_winner_is_rolled_out(reader: Reader) -> None:
    decided = reader.read("3. Decide")
    assert (decided["decision"], decided["decisionReason"]) == ("rollout", "2 % more orders.")
    assert (decided["rolloutPercentage"], decided["rolloutWeights"]) == (100, {"control": 0, "treatment": 1})
    assert decided["deleted"] is False


def test_the_experiment_is_archived(reader: Reader) -> None:
    assert reader.read("4. Clean up")["deleted"] is True


def test_each_block_of_the_page_is_one_that_the_reader_types() -> None:
    blocks = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert {language for language, _ in blocks} == {"python", "bash", "text"}
    assert all(text.strip() for _, text in blocks)
    assert "```" not in PAGE.partition("\n## ")[0]
