"""The button on a task's page that opens the flag or experiment in Amplitude."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from airflow_provider_ampexp._keys import URL_XCOM

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

__all__ = ["AmplitudeExperimentLink"]


class AmplitudeExperimentLink(BaseOperatorLink):
    """Open the flag or experiment in Amplitude. Available after the task has read the object, also while it waits."""

    name = "Amplitude"
    # Airflow shows the XCom with this key, so the link appears as soon as a task stores the address (`push_link`).
    xcom_key = URL_XCOM

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address. Airflow calls this on the worker, each time the task ends or begins to wait."""
        known = getattr(operator, URL_XCOM, "")
        if known or not getattr(operator, "deferrable", False):
            return str(known)
        # A deferred task resumes as another object, which does not have the address.
        from airflow.sdk.execution_time.xcom import XCom

        return str(XCom.get_value(ti_key=ti_key, key=URL_XCOM) or "")


def push_link(context: Mapping[str, Any], url: str) -> None:
    """Store the address for the link. Outside of a task this does nothing."""
    if url and (ti := context.get("ti")) is not None:
        setattr(ti.task, URL_XCOM, url)
        ti.xcom_push(key=URL_XCOM, value=url)
