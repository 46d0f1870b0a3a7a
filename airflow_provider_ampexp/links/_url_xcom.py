"""The XCom in which a task, or a trigger that ends the task, stores the address in Amplitude."""

from __future__ import annotations

URL_XCOM_KEY = "amplitude_url"
