"""The plugin that adds *Rollouts* to Airflow's navigation.

Airflow imports this module by its entry point; do not import it. Every process of Airflow imports it, also a process
that never shows a page. So the first request to the page imports the page itself.
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
    """Serve the page as an ASGI application."""
    await _page()(scope, receive, send)


class AmplitudeRolloutsPlugin(AirflowPlugin):
    """Add the page under ``/plugin/rollouts``, in a frame of the same origin."""

    name = "amplitude_rollouts"
    # A path without a leading slash is valid under each base URL.
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
