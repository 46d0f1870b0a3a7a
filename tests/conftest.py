"""Set a separate home for Airflow before any import of Airflow, so that no test uses the home of the user.

This is not in `tests/airflow`, because Airflow reads the environment once, and other tests also import Airflow.
"""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings

# No deadline, so that a busy machine does not fail a test.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

_HOME = Path(tempfile.mkdtemp(prefix="ampexp-airflow-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
(_HOME / "dags").mkdir()

for _name in [name for name in os.environ if name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_", "AIRFLOW__"))]:
    del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(_HOME / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
    # One key for all processes. Otherwise each process would create a key, and could not read the data of another one.
    AIRFLOW__CORE__FERNET_KEY=base64.urlsafe_b64encode(os.urandom(32)).decode(),
    AIRFLOW__API_AUTH__JWT_SECRET=os.urandom(32).hex(),
)
