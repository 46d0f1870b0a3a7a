from __future__ import annotations

from airflow_provider_ampexp.emulator.fixture import amplitude_emulator  # noqa: F401
