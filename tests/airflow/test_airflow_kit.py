"""Run the test of docs/testing.md, which uses the testing kit, in a separate pytest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def blocks() -> list[str]:
    """Return the blocks of Python of the page."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def files() -> dict[str, str]:
    """Return the blocks that are whole files, by file name."""
    return {name: text for text in blocks() if (name := text.partition("\n")[0].removeprefix("# ")).endswith(".py")}


def test_the_page_shows_a_dag_a_conftest_and_a_test_of_twenty_lines() -> None:
    found = files()
    assert set(found) == {"dags/release.py", "tests/conftest.py", "tests/test_release.py"}
    code = [line for line in found["tests/test_release.py"].splitlines()[1:] if line.strip()]
    assert len(code) <= 20


def test_they_run_as_they_stand(tmp_path: Path) -> None:
    for name, text in files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "2 passed" in done.stdout
