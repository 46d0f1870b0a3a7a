"""``python -m airflow_provider_ampexp.plans``, the commands that check plan files."""

from __future__ import annotations

import sys

from airflow_provider_ampexp.plans._cli import main

sys.exit(main())
