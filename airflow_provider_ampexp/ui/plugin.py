"""The plugin that puts *Rollouts* into Airflow's navigation.

Airflow imports this module by its entry point; do not import it. Airflow does so in every process, also in those that
never show a page. So the first request to the page loads the page itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin

__all__ = ["AmplitudeRolloutsPlugin"]

PATH = "amplitude-rollouts"


@cache
def _page() -> Any:
    from airflow_provider_ampexp.ui._api import make_app

    return make_app()


async def page(scope: Any, receive: Any, send: Any) -> None:
    """The page as an ASGI application."""
    await _page()(scope, receive, send)


class AmplitudeRolloutsPlugin(AirflowPlugin):
    """The page under ``/plugin/rollouts``, in a frame of the same origin."""

    name = "amplitude_rollouts"
    # Paths without a leading slash hold under any base URL.
    fastapi_apps = [{"app": page, "url_prefix": f"/{PATH}", "name": "Amplitude rollouts"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Rollouts",
            "href": f"{PATH}/",
            "destination": "nav",
            "url_route": "rollouts",
            "icon": f"{PATH}/static/icon.svg",
            "icon_dark_mode": f"{PATH}/static/icon-dark.svg",
        }
    ]
