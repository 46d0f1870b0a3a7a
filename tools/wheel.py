"""`make wheel`: build the wheel, compare its files, install it into an empty environment, and run the demo there.

The demo's files are copied to a folder without the source of the package, so that the demo can only import the wheel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_ampexp"
CONSTRAINTS = ROOT / "constraints" / os.environ.get("CONSTRAINTS", "airflow-3.3.txt")
_UV = Path(sys.executable).parent / "uv"

# The code that runs in the empty environment after the installation.
_LOOK = """
import importlib.metadata as metadata
import airflow_provider_ampexp
mine = metadata.distribution("airflow-provider-ampexp")
for entry in mine.entry_points:
    entry.load()
    print(f"{entry.group}: {entry.name}")
print(airflow_provider_ampexp.__file__)
"""


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist."""
    subprocess.run([str(_UV), "build", "--quiet", "--out-dir", str(folder), str(ROOT)], check=True)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def in_the_tree() -> set[str]:
    """Return the files of the package, as a wheel names them."""
    found = [path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(ROOT).as_posix() for path in found}


def in_the_wheel(wheel: Path) -> set[str]:
    """Return the files of a wheel, except its metadata."""
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if not name.partition("/")[0].endswith(".dist-info")}


def said_by_the_wheel(wheel: Path, name: str) -> str:
    """Return the text of a metadata file of a wheel, such as ``METADATA``; empty if the wheel does not have it."""
    with zipfile.ZipFile(wheel) as file:
        found = [
            name_in_wheel
            for name_in_wheel in file.namelist()
            if name_in_wheel.partition("/")[0].endswith(".dist-info") and name_in_wheel.endswith(name)
        ]
        return file.read(found[0]).decode() if found else ""


def in_the_sdist(sdist: Path) -> set[str]:
    """Return the files of an sdist, without the folder that contains all of them."""
    with tarfile.open(sdist) as file:
        return {member.name.partition("/")[2] for member in file.getmembers() if member.isfile()}


def _run(*command: str | Path, **more: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{' '.join(str(word) for word in command)} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ampexp-wheel-") as name:
        folder = Path(name)
        sdist, wheel = build(folder / "dist")
        differing = in_the_tree() ^ in_the_wheel(wheel)
        if differing:
            sys.exit(f"The files of the wheel differ from the files of the tree: {sorted(differing)}")
        print(f"{sdist.name}: {len(in_the_sdist(sdist))} files. {wheel.name}: {len(in_the_wheel(wheel))} files.")

        python = folder / "empty" / "bin" / "python"
        _run(sys.executable, "-m", "venv", "--without-pip", folder / "empty")
        print("Installing it into an empty environment ...", flush=True)
        install = (_UV, "pip", "install", "--quiet", "--compile-bytecode", "--python", python)
        _run(*install, "--constraint", CONSTRAINTS, wheel)
        elsewhere = folder / "elsewhere"
        for part in ("tools", "example_dags"):
            shutil.copytree(ROOT / part, elsewhere / part, ignore=shutil.ignore_patterns("__pycache__"))
        env = {**os.environ, "AIRFLOW_HOME": str(folder / "home"), "PYTHONWARNINGS": "ignore"}
        said = _run(python, "-c", _LOOK, cwd=elsewhere, env=env).splitlines()
        if folder not in Path(said[-1]).parents:
            sys.exit(f"Python imported the package from {said[-1]}, expected from the wheel in {folder}")
        print("\n".join(said[:-1]), flush=True)
        env = {**env, "PATH": f"{python.parent}{os.pathsep}{env['PATH']}"}
        return subprocess.run([str(python), "-m", "tools.demo"], cwd=elsewhere, env=env).returncode


if __name__ == "__main__":
    sys.exit(main())
