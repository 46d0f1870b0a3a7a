"""Uses of the public types. ``test_typing.py`` runs mypy on this file, which is never imported."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import requests
from typing_extensions import assert_type

from airflow_provider_ampexp.client import ManagementApiError, ManagementClient, RateLimitError, UncertainWriteError
from airflow_provider_ampexp.client.types import Created, Deployment, FlagConfig, VariantFields, Version

with ManagementClient("ampex_x", region="eu", timeout=5, retry_for=0, session=requests.Session()) as client:
    assert_type(client, ManagementClient)
assert_type(client.base_url, str)
assert_type(client.date, datetime | None)

for many in (client.flags, client.experiments):
    assert_type(many.list(key="k", project_id="1", include_archived=True), Iterator[FlagConfig])
    assert_type(many.find("k"), FlagConfig | None)
    assert_type(many.get("1"), FlagConfig)
    assert_type(
        many.create({"projectId": "1", "key": "k", "variants": [{"key": "on", "payload": {"a": [1]}}]}), Created
    )
    assert_type(many.versions("1"), list[Version])
    assert_type(many.version("1", 2), Version)
    assert_type(many.variants("1"), list[VariantFields])
    assert_type(many.variant("1", "on"), VariantFields)
    assert_type(many.inclusions("1", "on"), list[str])
    assert_type(many.deployments("1"), list[Deployment])
    many.edit("1", {"rolloutPercentage": 10, "enabled": True, "endDate": None})
    many.create_variant("1", {"key": "on"})
    many.edit_variant("1", "on", {"rolloutWeight": 2})
    many.remove_variant("1", "on")
    many.add_inclusions("1", "on", ("ann", "ben"))
    many.remove_inclusion("1", "on", 0)
    many.remove_all_inclusions("1", "on")
    many.add_deployments("1", {"2", "3"})
    many.remove_deployment("1", "2")

assert_type(client.deployments.list(), Iterator[Deployment])
assert_type(client.deployments.create({"projectId": "1", "label": "a", "type": "client"}), str)
client.deployments.edit("1", {"archive": True})

flag = client.flags.get("1")
assert_type(flag["rolloutPercentage"], float)
assert_type(flag.get("createdBy"), Any | None)
assert_type(flag["variants"][0]["key"], str)

# mypy must report each of these mistakes. It also reports an `ignore` that is not necessary.
client.flags.edit("1", {"rolloutPercentag": 10})  # type: ignore[typeddict-unknown-key]
client.flags.edit("1", {"enabled": "yes"})  # type: ignore[typeddict-item]
client.flags.add_inclusions("1", "on", 5)  # type: ignore[arg-type]
client.flags.get(5)  # type: ignore[arg-type]
client.deployments.create({"projectId": "1"})  # type: ignore[typeddict-item]
ManagementClient("ampex_x", "eu")  # type: ignore[call-arg]

try:
    client.flags.get("1")
except RateLimitError as limit:
    assert_type(limit.retry_after, float | None)
except UncertainWriteError as uncertain:
    assert_type(uncertain.maybe_in_flight, bool)
except ManagementApiError as error:
    assert_type((error.method, error.path, error.detail, error.status), tuple[str, str, str, int | None])
