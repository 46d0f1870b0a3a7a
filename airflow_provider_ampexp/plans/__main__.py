"""``python -m airflow_provider_ampexp.plans``, which is in ``plans/``: this room itself reads no files."""

from __future__ import annotations

import sys

from airflow_provider_ampexp.plans._cli import main

sys.exit(main())
