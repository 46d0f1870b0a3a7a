"""Undocumented routes of the live service. They are 404 without the setting ``extra_endpoints``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_ampexp.emulator._api import request_models
from airflow_provider_ampexp.emulator._api.json_io import done_response, json_response
from airflow_provider_ampexp.emulator._api.pagination import page
from airflow_provider_ampexp.emulator._api.path_params import ObjectId, VariantKey
from airflow_provider_ampexp.emulator._api.routes import Caller, RawBody
from airflow_provider_ampexp.emulator._state import inclusions, variants, versions
from airflow_provider_ampexp.emulator._state.clock import parse_iso
from airflow_provider_ampexp.emulator._state.errors import bad_request, not_found
from airflow_provider_ampexp.emulator._state.flags import KINDS, Content, Kind
from airflow_provider_ampexp.emulator._state.service import Service


async def only_if_set(request: Request) -> None:
    """Refuse a request without the setting ``extra_endpoints``."""
    if not request.app.state.service.settings.extra_endpoints:
        raise not_found("There is no such route.")


def extra_routes(service: Service) -> APIRouter:
    """``GET /versions``, and the inclusions of cohorts and their removal by value."""
    router = APIRouter(prefix="/api/1", dependencies=[Depends(only_if_set)])

    @router.get("/versions")
    async def all_versions(request: Request, caller: Caller) -> Response:
        start, end = _moment(request, "start"), _moment(request, "end")
        found = [
            version
            for stored in service.newest_first()
            if stored.project_id in caller.projects
            for version in versions.newest_first(stored, service.settings)
            if (start is None or start <= parse_iso(version["createdAt"]))
            and (end is None or parse_iso(version["createdAt"]) < end)
        ]
        found.sort(key=lambda version: str(version["createdAt"]), reverse=True)
        return json_response(page("versions", found, request.query_params, service.settings))

    for kind in KINDS:
        _add_cohort_reads(router, service, kind)
        for method, route, action, change, body in _INCLUSION_WRITES:
            path = f"/{kind}/{{id}}/variants/{{variantKey}}/{route}"
            router.add_api_route(path, _inclusion_write(service, kind, action, change, body), methods=[method])
    return router


def _add_cohort_reads(router: APIRouter, service: Service, kind: Kind) -> None:
    @router.get(f"/{kind}/{{id}}/variants/{{variantKey}}/cohorts")
    async def get_cohorts(caller: Caller, object_id: ObjectId, key: VariantKey) -> Response:
        return json_response(inclusions.cohorts_of(service.get(caller, kind, object_id).content, key))


InclusionChange = Callable[[Content, str, list[str]], None]
# method, the last part of the path, action, change, body
_INCLUSION_WRITES: list[tuple[str, str, str, InclusionChange, type[request_models.Body]]] = [
    ("DELETE", "bulk-delete-users", "remove inclusions", inclusions.remove_users, request_models.RemoveUsers),
    ("POST", "cohorts", "add cohorts", inclusions.add_cohorts, request_models.AddInclusions),
    ("DELETE", "bulk-delete-cohorts", "remove cohorts", inclusions.remove_cohorts, request_models.RemoveUsers),
]


def _inclusion_write(
    service: Service, kind: Kind, action: str, change: InclusionChange, body: type[request_models.Body]
) -> Callable[..., Awaitable[Response]]:
    async def write(caller: Caller, object_id: ObjectId, key: VariantKey, raw: RawBody) -> Response:
        variants.find(service.get(caller, kind, object_id).content, key)

        def carry_out(content: Content, fields: dict[str, list[str]]) -> None:
            (listed,) = fields.values()
            change(content, key, listed)

        service.write(caller, kind, object_id, action, carry_out, (body, raw))
        return done_response(service.settings)

    return write


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    try:
        return parse_iso(text) if text is not None else None
    except ValueError:
        raise bad_request(f"{name}: must be a moment in ISO 8601.") from None
