"""Before anything imports Airflow: a home of its own, so that no test touches that of whoever runs it.

Here and not in `tests/airflow`, since Airflow reads it once, and other tests import Airflow as well.
"""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings

# A machine that is busy makes no test fail.
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
    # Each process would make its own otherwise, and could not read what another one wrote.
    AIRFLOW__CORE__FERNET_KEY=base64.urlsafe_b64encode(os.urandom(32)).decode(),
    AIRFLOW__API_AUTH__JWT_SECRET=os.urandom(32).hex(),
)
