"""Where a task, or the trigger that ends in its place, puts the address of what it saw in Amplitude."""

from __future__ import annotations

URL_XCOM_KEY = "amplitude_url"
