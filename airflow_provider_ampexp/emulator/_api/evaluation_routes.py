"""The endpoint of the SDKs: the variants of a user, for the key of a deployment."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from airflow_provider_ampexp.emulator._api.json_io import json_response, parse_json, parse_object
from airflow_provider_ampexp.emulator._api.routes import RawBody
from airflow_provider_ampexp.emulator._state.errors import Refusal, bad_request
from airflow_provider_ampexp.emulator._state.evaluation import World, assign, user_of
from airflow_provider_ampexp.emulator._state.flags import ManagedObject
from airflow_provider_ampexp.emulator._state.service import Service


def evaluation_routes(service: Service) -> APIRouter:
    """``GET`` and ``POST /sdk/v2/vardata``."""
    router = APIRouter(prefix="/sdk/v2")

    @router.get("/vardata")
    async def variants_of_query(request: Request) -> Response:
        deployment = _deployment(service, request)
        fields = _encoded(request, "x-amp-exp-user") or parse_object(request.query_params.get("context", "{}").encode())
        given = {name: request.query_params.get(name) for name in ("user_id", "device_id")}
        fields = {**fields, **{name: value for name, value in given.items() if value is not None}}
        return json_response(_variants(service, deployment, fields, _flag_keys(request)))

    @router.post("/vardata")
    async def variants_of_body(request: Request, raw: RawBody) -> Response:
        deployment = _deployment(service, request)
        return json_response(_variants(service, deployment, parse_object(raw), _flag_keys(request)))

    return router


def _deployment(service: Service, request: Request) -> str:
    """Return the id of the deployment of the caller's key, or raise a 401."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    for deployment in service.deployments.newest_first():
        if scheme.lower() == "api-key" and deployment["key"] == key.strip() and not deployment["deleted"]:
            return str(deployment["id"])
    raise Refusal(401, "Authorization: a deployment key is needed, as 'Api-Key server-...'.")


def _encoded(request: Request, header: str) -> Any:
    """Return the value of a header with JSON in base64."""
    text = request.headers.get(header)
    if text is None:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise bad_request(f"{header}: must be JSON in base64.") from None
    return parse_object(raw) if header == "x-amp-exp-user" else parse_json(raw)


def _flag_keys(request: Request) -> list[str] | None:
    """Return the keys of the flags that the caller asks for; None for all."""
    keys = _encoded(request, "x-amp-exp-flag-keys")
    if isinstance(keys, list):
        return [str(key) for key in keys]
    return [key for key in request.query_params.get("flag_keys", "").split(",") if key] or None


def _variants(
    service: Service, deployment: str, fields: Mapping[str, Any], keys: list[str] | None
) -> dict[str, dict[str, Any]]:
    user = user_of(fields)
    with service.lock:
        return {
            stored.config["key"]: _variant(service, stored, user)
            for stored in service.objects.values()
            if deployment in map(str, stored.config["deployments"])
            and not stored.config["deleted"]
            and (keys is None or stored.config["key"] in keys)
        }


def _variant(service: Service, thing: ManagedObject, user: Mapping[str, Any]) -> dict[str, Any]:
    key, reason = assign(World(service.objects, service.groups), thing, user)
    if key is None:
        return {"key": "off", "metadata": {"default": True, "segmentName": reason}}
    shown: dict[str, Any] = {"key": key, "value": key, "metadata": {"segmentName": reason}}
    payload = next((variant.get("payload") for variant in thing.config["variants"] if variant["key"] == key), None)
    return shown if payload is None else {**shown, "payload": payload}
