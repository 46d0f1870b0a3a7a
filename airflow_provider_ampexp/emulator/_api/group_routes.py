"""The routes of mutual exclusion groups and holdout groups. They are 404 without the setting ``extra_endpoints``."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_ampexp.emulator._api import request_models
from airflow_provider_ampexp.emulator._api.json_io import done_response, json_response, with_ids
from airflow_provider_ampexp.emulator._api.pagination import page
from airflow_provider_ampexp.emulator._api.path_params import ObjectId, SlotIndex
from airflow_provider_ampexp.emulator._api.routes import Caller, RawBody
from airflow_provider_ampexp.emulator._api.undocumented_routes import only_if_set
from airflow_provider_ampexp.emulator._state import groups
from airflow_provider_ampexp.emulator._state.groups import GroupKind
from airflow_provider_ampexp.emulator._state.service import Service


def group_routes(service: Service) -> APIRouter:
    """``/api/1/mutexes...`` and ``/api/1/holdouts...``."""
    router = APIRouter(prefix="/api/1", dependencies=[Depends(only_if_set)])
    for kind in get_args(GroupKind):
        _add_routes(router, service, kind)

    @router.patch("/mutexes/{id}/slots/{slotIndex}")
    async def edit_slot(caller: Caller, group_id: ObjectId, index: SlotIndex, raw: RawBody) -> Response:
        with service.lock:
            caller.require(service.groups.get("mutexes", group_id)["projectId"])
            fields = request_models.read(groups.SlotFields, raw)
            service.groups.edit_slot(group_id, index, fields, caller.person, service.clock.stamp())
        return done_response(service.settings)

    return router


def _add_routes(router: APIRouter, service: Service, kind: GroupKind) -> None:
    @router.get(f"/{kind}")
    async def list_groups(request: Request, caller: Caller) -> Response:
        with service.lock:
            found = [group for group in service.groups.newest_first(kind) if group["projectId"] in caller.projects]
            return json_response(page(kind, found, request.query_params, service.settings))

    @router.post(f"/{kind}")
    async def create(caller: Caller, raw: RawBody) -> Response:
        with service.lock:
            fields = request_models.read(groups.CREATES[kind], raw)
            caller.require(fields["projectId"])
            if "key" in fields:
                service.refuse_taken_key(fields["projectId"], fields["key"])
            group_id = service.new_id()
            salt, at = service.new_salt(), service.clock.stamp()
            service.groups.create(kind, group_id, fields, salt, caller.person, at)
        url = "http://experiment.amplitude.com/amplitude/experiments/grouped-experiments"
        return json_response(with_ids({"id": group_id, "url": url}, service.settings))

    @router.get(f"/{kind}/{{id}}")
    async def get(caller: Caller, group_id: ObjectId) -> Response:
        with service.lock:
            group = service.groups.get(kind, group_id)
            caller.require(group["projectId"])
            return json_response(with_ids(group, service.settings))

    @router.patch(f"/{kind}/{{id}}")
    async def edit(caller: Caller, group_id: ObjectId, raw: RawBody) -> Response:
        with service.lock:
            caller.require(service.groups.get(kind, group_id)["projectId"])
            fields = request_models.read(groups.EDITS[kind], raw)
            service.groups.edit(kind, group_id, fields, caller.person, service.clock.stamp())
        return done_response(service.settings)
