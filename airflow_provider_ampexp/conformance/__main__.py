"""``python -m airflow_provider_ampexp.conformance``."""

from __future__ import annotations

import sys

from airflow_provider_ampexp.conformance._cli import main

sys.exit(main())
