"""``python -m airflow_provider_ampexp.watchdog``."""

from __future__ import annotations

import sys

from airflow_provider_ampexp.watchdog._cli import main

sys.exit(main())
