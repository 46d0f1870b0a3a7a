"""The button that opens the flag or experiment in Amplitude, on the page of every task of this provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from airflow_provider_ampexp.links._url_xcom import URL_XCOM_KEY

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class AmplitudeExperimentLink(BaseOperatorLink):
    """Opens the flag or experiment in Amplitude. There from the moment the task has read it, also while it waits."""

    name = "Amplitude"
    # Airflow shows what lies under this key, so what a task puts there shows at once (`push_link`).
    xcom_key = URL_XCOM_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address. Airflow asks on the worker, each time the task ends or begins to wait."""
        known = getattr(operator, URL_XCOM_KEY, "")
        if known or not getattr(operator, "deferrable", False):
            return str(known)
        # A task that was deferred goes on as another object, which has not seen the address.
        from airflow.sdk.execution_time.xcom import XCom

        return str(XCom.get_value(ti_key=ti_key, key=URL_XCOM_KEY) or "")


def push_link(context: Mapping[str, Any], url: str) -> None:
    """Put the address where the link finds it. Outside of a task there is nowhere to put it, and nothing happens."""
    if url and (ti := context.get("ti")) is not None:
        setattr(ti.task, URL_XCOM_KEY, url)
        ti.xcom_push(key=URL_XCOM_KEY, value=url)
