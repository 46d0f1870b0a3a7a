"""Compute a preview: read the flag, stream the rows of the warehouse, and count the users who enter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.bucketing import Audience
from airflow_provider_ampexp.client._optional_fields import segments_of
from airflow_provider_ampexp.ensure._cohorts import included_cohorts
from airflow_provider_ampexp.guardrails._warehouse import stream_rows
from airflow_provider_ampexp.operators._entrants import Entrants, raised_to
from airflow_provider_ampexp.operators._group_share import read_group_share

if TYPE_CHECKING:
    from airflow_provider_ampexp.client import ManagementClient
    from airflow_provider_ampexp.ensure import FlagRef
    from airflow_provider_ampexp.operators.preview import PreviewXCom
    from airflow_provider_ampexp.rollout._preview import RolloutPreview


def begin_preview(
    client: ManagementClient,
    target: FlagRef,
    preview: RolloutPreview,
    percentage: int,
    *,
    segment: str | None = None,
    catch_all: str | None = None,
) -> Entrants:
    """Read the flag, its inclusions, its cohorts and its groups: 1 request, and 2 for each variant.

    If the service does not have cohorts as inclusions: 2 requests, and 1 for each variant. For an experiment, 2 more.

    :raises InvalidInputError: when the segment does not exist
    """
    config, endpoints = target.read(client), target.endpoints(client)
    variants = [listed["key"] for listed in config.get("variants") or endpoints.variants(config["id"])]
    inclusions = {variant: endpoints.inclusions(config["id"], variant) for variant in variants}
    audience = Audience.of(config, inclusions=inclusions, catch_all=catch_all)
    try:
        after = raised_to(audience, percentage, segment)
    except ValueError as error:
        raise InvalidInputError("segment", str(error)) from None
    cohorts = included_cohorts(endpoints, config["id"], variants)
    return Entrants(audience, after, preview, cohorts, read_group_share(client, target.kind, config))


def count_entrants(entrants: Entrants, percentage: int, segment: str | None) -> PreviewXCom:
    """Stream the rows, and count the users who enter.

    :raises InvalidInputError: when the rows are invalid, or when a refused value is in no row
    """
    preview = entrants.preview
    try:
        stream_rows(preview.conn_id, preview.sql, entrants.add)
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError("sql", str(error)) from None
    entrants.check()
    return entrants.as_xcom(_present(entrants.before, segment), percentage)


def refusal_of(result: PreviewXCom) -> str:
    """Return a sentence about the refused users, with the whole result; empty if no user is refused."""
    if not result["refused"]:
        return ""
    enter = "may enter" if result["unknown"] or result["cohorts"] else "enter"
    refused = ", ".join(
        f"{count:,} users {enter} with a refused value of {column!r}" for column, count in result["refused"].items()
    )
    return f"{refused} ({result['text']})"


def _present(audience: Audience, segment: str | None) -> float | None:
    if not audience.is_enabled:
        return None
    if segment is None:
        return audience.config.get("rolloutPercentage")
    return next(target.get("percentage") for target in segments_of(audience.config) if target.get("name") == segment)
