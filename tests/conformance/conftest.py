from __future__ import annotations

from airflow_provider_ampexp.emulator.pytest_plugin import amplitude_emulator  # noqa: F401
