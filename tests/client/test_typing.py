from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("typing_api.py")


def test_the_public_types_are_what_a_reader_expects(tmp_path: Path):
    # Only this file is checked. With the settings of this repository, mypy would check the package instead.
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file=",
            "--no-error-summary",
            f"--cache-dir={tmp_path}",
            FILE,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.stdout, checked.returncode) == ("", 0)
