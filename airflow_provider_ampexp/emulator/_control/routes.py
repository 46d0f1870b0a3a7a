"""The control routes under ``/_emulator/``, for tests and people. They need no key."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import PlainTextResponse, Response

from airflow_provider_ampexp.emulator._api.json_io import json_response, parse_object
from airflow_provider_ampexp.emulator._api.path_params import ObjectId, VariantKey
from airflow_provider_ampexp.emulator._api.request_models import Body
from airflow_provider_ampexp.emulator._api.routes import RawBody
from airflow_provider_ampexp.emulator._control.help import HELP
from airflow_provider_ampexp.emulator._faults.rules import Fault
from airflow_provider_ampexp.emulator._state import evaluation, inclusions, snapshots, user_edits, versions
from airflow_provider_ampexp.emulator._state.approvals import Hold
from airflow_provider_ampexp.emulator._state.clock import OffsetSeconds
from airflow_provider_ampexp.emulator._state.errors import Refusal, bad_request
from airflow_provider_ampexp.emulator._state.flags import KINDS, Kind
from airflow_provider_ampexp.emulator._state.service import Service
from airflow_provider_ampexp.emulator._state.settings import Settings
from airflow_provider_ampexp.emulator._state.user_edits import PersonEdit

_LOOPBACK = ("127.0.0.1", "::1")
_FASTEST = 1e7  # a third of a year in each second


class _HoldBody(Body):
    hold: Hold


class _ApproveBody(Body):
    by: str = "Olga"


class _EvaluateBody(Body):
    kind: str
    id: str
    users: list[dict[str, Any]]


class _ClockBody(Body):
    advance: OffsetSeconds | None = None
    offset: OffsetSeconds | None = None
    speed: float | None = Field(default=None, ge=0, le=_FASTEST)


_Model = TypeVar("_Model", bound=BaseModel)


def _read(model: type[_Model], raw: bytes) -> _Model:
    """Return the body as this model, or raise a 400. An empty body counts as an empty object."""
    try:
        return model.model_validate(parse_object(raw or b"{}"))
    except ValidationError as error:
        raise bad_request(_first_problem(error)) from None


def _first_problem(error: ValidationError) -> str:
    item = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"


async def _loopback_only(request: Request) -> None:
    if request.client is None or request.client.host not in _LOOPBACK:
        raise Refusal(403, "Control routes accept requests from the emulator's machine only.")
    # A web page in a browser of this machine can also send requests: by a name that resolves to loopback (DNS
    # rebinding), or across origins.
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _is_loopback(hosts[0]):
        raise Refusal(403, "Control routes accept a loopback address or localhost only: check the Host header.")
    if any(origin != f"http://{hosts[0]}" for origin in request.headers.getlist("origin")):
        raise Refusal(403, "Control routes accept no pages of another origin: check the Origin header.")


def _is_loopback(host: str) -> bool:
    """Return true if a ``Host`` header is loopback."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def control_routes(service: Service) -> APIRouter:
    """Create all control routes."""
    router = APIRouter(prefix="/_emulator", dependencies=[Depends(_loopback_only)])
    _add_world_routes(router, service)
    _add_request_routes(router, service)
    _add_fault_routes(router, service)
    _add_people_routes(router, service)
    _add_reading_routes(router, service)
    return router


def _decisions(service: Service, kind: str, object_id: str, users: list[dict[str, Any]]) -> list[evaluation.Decision]:
    if kind not in KINDS:
        raise bad_request("kind: must be flags or experiments.")
    with service.lock:
        thing = service.find(kind, object_id)
        world = evaluation.World(service.objects, service.groups)
        return [evaluation.evaluate(world, thing, evaluation.user_of(fields)) for fields in users]


def _done() -> Response:
    return json_response({"ok": True})


def _add_world_routes(router: APIRouter, service: Service) -> None:
    @router.get("/")
    async def show_help() -> Response:
        return PlainTextResponse(HELP)

    @router.post("/reset")
    async def reset() -> Response:
        snapshots.reset(service)
        return _done()

    @router.post("/load")
    async def load(raw: RawBody) -> Response:
        given = _read(snapshots.Snapshot, raw)
        try:
            return json_response(snapshots.load(service, given))
        except ValidationError as error:
            raise bad_request(_first_problem(error)) from None
        except (KeyError, TypeError, ValueError) as error:
            raise bad_request(f"Loading the state failed: {type(error).__name__} {error}") from None

    @router.get("/dump")
    async def dump() -> Response:
        return json_response(snapshots.dump(service))

    @router.post("/clock")
    async def clock(raw: RawBody) -> Response:
        given = _read(_ClockBody, raw)
        with service.lock:
            start = service.clock.offset if given.offset is None else given.offset
            if (given.offset, given.advance) != (None, None):
                try:
                    service.clock.offset = start + (given.advance or 0)
                except ValueError as error:
                    raise bad_request(f"advance: {error}") from None
            if given.speed is not None:
                service.clock.run(given.speed)
            return json_response({"now": service.clock.stamp(), "offset": service.clock.offset})

    @router.post("/settings")
    async def change_settings(raw: RawBody) -> Response:
        changes = parse_object(raw)
        with service.lock:
            try:
                service.settings = Settings.model_validate({**service.settings.model_dump(), **changes})
            except ValidationError as error:
                raise bad_request(_first_problem(error)) from None
            return json_response(service.settings.model_dump())

    @router.get("/settings")
    async def show_settings() -> Response:
        return json_response(service.settings.model_dump())


def _add_request_routes(router: APIRouter, service: Service) -> None:
    @router.get("/requests")
    async def counts() -> Response:
        return json_response(service.log.counts())

    @router.get("/requests/log")
    async def log() -> Response:
        return json_response(service.log.entries)

    @router.delete("/requests")
    @router.delete("/requests/log")
    async def forget() -> Response:
        service.log.clear()
        return _done()


def _add_fault_routes(router: APIRouter, service: Service) -> None:
    @router.post("/faults")
    async def add_fault(raw: RawBody) -> Response:
        fault = _read(Fault, raw)
        with service.lock:
            return json_response({"id": service.faults.add(fault, service.known_routes)})

    @router.get("/faults")
    async def list_faults() -> Response:
        return json_response(service.faults.views())

    @router.delete("/faults")
    async def clear_faults() -> Response:
        service.faults.clear()
        return _done()

    @router.delete("/faults/{id}")
    async def remove_fault(fault_id: ObjectId) -> Response:
        service.faults.remove(fault_id)
        return _done()


def _add_people_routes(router: APIRouter, service: Service) -> None:
    @router.post("/edit")
    async def edit(raw: RawBody) -> Response:
        user_edits.carry_out(service, _read(PersonEdit, raw))
        return _done()

    @router.post("/edit-before-write")
    async def edit_before_write(raw: RawBody) -> Response:
        given = _read(PersonEdit, raw)
        with service.lock:
            user_edits.rehearse(service, given)
            service.before_write.append(given)
        return _done()

    @router.post("/approvals")
    async def hold(raw: RawBody) -> Response:
        service.approvals.hold = _read(_HoldBody, raw).hold
        return _done()

    @router.get("/approvals")
    async def pending() -> Response:
        return json_response(service.approvals.views())

    @router.post("/approvals/{id}/approve")
    async def approve(pending_id: ObjectId, raw: RawBody) -> Response:
        by = _read(_ApproveBody, raw).by
        with service.lock:
            change = service.approvals.take(pending_id)
            service.apply(change.thing, by, change.work)
        return _done()

    @router.post("/approvals/{id}/reject")
    async def reject(pending_id: ObjectId) -> Response:
        with service.lock:
            service.approvals.take(pending_id)
        return _done()


def _add_reading_routes(router: APIRouter, service: Service) -> None:
    """Add reads that do not count as requests, need no key, and ignore settings and faults."""

    @router.get("/evaluate")
    async def evaluate_user(request: Request) -> Response:
        fields = dict(request.query_params)
        (found,) = _decisions(service, fields.pop("kind", ""), fields.pop("id", ""), [fields])
        return json_response(found._asdict())

    @router.post("/evaluate")
    async def evaluate_users(raw: RawBody) -> Response:
        asked = _read(_EvaluateBody, raw)
        found = _decisions(service, asked.kind, asked.id, asked.users)
        return json_response([decision._asdict() for decision in found])

    @router.get("/{kind}/{id}")
    async def show(kind: Kind, object_id: ObjectId) -> Response:
        return json_response(service.find(kind, object_id).view())

    @router.get("/{kind}/{id}/versions")
    async def show_versions(kind: Kind, object_id: ObjectId) -> Response:
        return json_response(versions.newest_first(service.find(kind, object_id), Settings()))

    @router.get("/{kind}/{id}/variants/{variantKey}/users")
    async def show_inclusions(kind: Kind, object_id: ObjectId, key: VariantKey) -> Response:
        return json_response(inclusions.of(service.find(kind, object_id).content, key))
