"""The metadata that Airflow reads about this provider.

Airflow calls the function by its entry point, before its configuration is loaded. So nothing of Airflow may be imported
here.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_ampexp import __version__

__all__ = ["get_provider_info"]

_OPERATORS = (
    "lifecycle",
    "rollout",
    "decision",
    "version",
    "dependencies",
    "inclusions",
    "variants",
    "deployments",
    "groups",
    "inventory",
    "stale",
    "export",
    "preview",
    "drill",
)
_SENSORS = ("experiment", "rollout")
_TRIGGERS = ("flag_state", "soak", "approval", "flag_changed")
_GUIDES = (
    "first-rollout",
    "first-release",
    "connection",
    "rollout",
    "groups",
    "plans",
    "guardrails",
    "alerts",
    "windows",
    "rollouts-page",
    "assets",
    "history",
    "testing",
)
_OPERATOR_GUIDES = (
    "lifecycle",
    "rollout",
    "decision",
    "version",
    "dependencies",
    "inclusions",
    "variants",
    "deployments",
    "groups",
    "inventory",
    "stale",
    "drill",
    "sensors",
)
_INTEGRATION = "Amplitude Experiment"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as ``provider_info.schema.json`` of Airflow describes it."""
    package = "airflow_provider_ampexp"
    return {
        "package-name": "airflow-provider-ampexp",
        "name": _INTEGRATION,
        "description": "Release features by schedule with Amplitude Experiment.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://amplitude.com/docs/apis/experiment/experiment-management-api",
                "how-to-guide": [
                    *(f"/docs/{name}.md" for name in _GUIDES),
                    *(f"/docs/operators/{name}.md" for name in _OPERATOR_GUIDES),
                ],
                "logo": "/integration-logos/amplitude-experiment.svg",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": [f"{package}.hooks.ampexp"]}],
        "operators": [
            {"integration-name": _INTEGRATION, "python-modules": [f"{package}.operators.{name}" for name in _OPERATORS]}
        ],
        "sensors": [
            {"integration-name": _INTEGRATION, "python-modules": [f"{package}.sensors.{name}" for name in _SENSORS]}
        ],
        "triggers": [
            {"integration-name": _INTEGRATION, "python-modules": [f"{package}.triggers.{name}" for name in _TRIGGERS]}
        ],
        "asset-uris": [{"schemes": ["amplitude-experiment"], "handler": f"{package}.assets.sanitize_uri"}],
        "extra-links": [f"{package}.links.amplitude.AmplitudeExperimentLink"],
        "connection-types": [
            {
                "connection-type": "amplitude_experiment",
                "hook-class-name": f"{package}.hooks.ampexp.AmplitudeExperimentHook",
                "hook-name": _INTEGRATION,
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "login", "port"],
                    "relabeling": {"password": "Management API key"},
                    "placeholders": {"password": "ampex_..."},
                },
                "conn-fields": _connection_fields(),
            }
        ],
    }


def _connection_fields() -> dict[str, Any]:
    def field(label: str, description: str, type_: str | list[str] = "string", **schema: Any) -> dict[str, Any]:
        kinds = [type_, "null"] if isinstance(type_, str) else type_
        return {"label": label, "description": description, "schema": {"type": kinds, **schema}}

    return {
        "region": field("Region", "Where the organisation's data lives: us or eu.", enum=["us", "eu"], default="us"),
        "project_id": field("Project ID", "The project of flags that a task names by key. A task can name its own."),
        "base_url": field("Base URL", "Overrides the region. https only, except on loopback (the local emulator)."),
        "timeout": field("Timeout", "Seconds to wait for one answer. Default 30.", "number"),
        "retry_for": field("Retry for", "Seconds for which a call may be retried. Default 120.", "number"),
    }
