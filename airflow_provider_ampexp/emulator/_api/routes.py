"""The routes of the API: 18 for flags and the same 18 for experiments, and 3 for deployments."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from airflow_provider_ampexp.emulator._api import request_models
from airflow_provider_ampexp.emulator._api.json_io import done_response, json_response, with_ids
from airflow_provider_ampexp.emulator._api.pagination import page
from airflow_provider_ampexp.emulator._api.path_params import DeploymentId, ObjectId, UserIndex, VariantKey, VersionId
from airflow_provider_ampexp.emulator._state import deployments, inclusions, variants, versions
from airflow_provider_ampexp.emulator._state.api_keys import Key
from airflow_provider_ampexp.emulator._state.flags import Content, Kind
from airflow_provider_ampexp.emulator._state.service import Service


async def _caller(request: Request) -> Key:
    service: Service = request.app.state.service
    return service.admit(request.headers.get("authorization"))


async def _raw_body(request: Request) -> bytes:
    return await request.body()


Caller = Annotated[Key, Depends(_caller)]
RawBody = Annotated[bytes, Depends(_raw_body)]


def object_routes(service: Service, kind: Kind) -> APIRouter:
    """The routes of one kind: ``/api/1/flags...`` or ``/api/1/experiments...``."""
    router = APIRouter(prefix=f"/api/1/{kind}")
    _add_object_routes(router, service, kind)
    _add_variant_routes(router, service, kind)
    _add_inclusion_routes(router, service, kind)
    _add_assignment_routes(router, service, kind)
    return router


def _add_object_routes(router: APIRouter, service: Service, kind: Kind) -> None:
    @router.get("")
    async def list_objects(request: Request, caller: Caller) -> Response:
        items = service.list_objects(caller, kind, request.query_params)
        return json_response(page(kind, items, request.query_params, service.settings))

    @router.post("")
    async def create(caller: Caller, raw: RawBody) -> Response:
        thing = service.create(caller, kind, raw)
        url = f"http://experiment.amplitude.com/amplitude/{thing.project_id}/config/{thing.id}"
        return json_response(with_ids({"id": thing.id, "url": url}, service.settings))

    @router.get("/{id}")
    async def get(caller: Caller, object_id: ObjectId) -> Response:
        return json_response(with_ids(service.view(service.get(caller, kind, object_id)), service.settings))

    @router.patch("/{id}")
    async def edit(caller: Caller, object_id: ObjectId, raw: RawBody) -> Response:
        service.edit(caller, kind, object_id, raw)
        return done_response(service.settings)

    @router.get("/{id}/versions")
    async def list_versions(caller: Caller, object_id: ObjectId) -> Response:
        found = versions.newest_first(service.get(caller, kind, object_id), service.settings)
        return json_response([with_ids(version, service.settings) for version in found])

    @router.get("/{id}/versions/{versionId}")
    async def get_version(caller: Caller, object_id: ObjectId, version_id: VersionId) -> Response:
        found = versions.get(service.get(caller, kind, object_id), version_id, service.settings)
        return json_response(with_ids(found, service.settings))


def _add_variant_routes(router: APIRouter, service: Service, kind: Kind) -> None:
    @router.get("/{id}/variants")
    async def list_variants(caller: Caller, object_id: ObjectId) -> Response:
        content = service.get(caller, kind, object_id).content
        return json_response([variants.view(content, variant) for variant in content.config["variants"]])

    @router.post("/{id}/variants")
    async def create_variant(caller: Caller, object_id: ObjectId, raw: RawBody) -> Response:
        body = (request_models.CreateVariant, raw)
        service.write(caller, kind, object_id, "create variant", variants.create, body)
        return done_response(service.settings)

    @router.get("/{id}/variants/{variantKey}")
    async def get_variant(caller: Caller, object_id: ObjectId, key: VariantKey) -> Response:
        content = service.get(caller, kind, object_id).content
        return json_response(variants.view(content, variants.find(content, key)))

    @router.patch("/{id}/variants/{variantKey}")
    async def edit_variant(caller: Caller, object_id: ObjectId, key: VariantKey, raw: RawBody) -> Response:
        variants.find(service.get(caller, kind, object_id).content, key)
        body = (request_models.EditVariant, raw)
        service.write(
            caller, kind, object_id, "edit variant", lambda content, fields: variants.edit(content, key, fields), body
        )
        return done_response(service.settings)

    @router.delete("/{id}/variants/{variantKey}")
    async def remove_variant(caller: Caller, object_id: ObjectId, key: VariantKey) -> Response:
        service.write(caller, kind, object_id, "remove variant", lambda content, _: variants.remove(content, key))
        return done_response(service.settings)


def _add_inclusion_routes(router: APIRouter, service: Service, kind: Kind) -> None:
    @router.get("/{id}/variants/{variantKey}/users")
    async def get_inclusions(caller: Caller, object_id: ObjectId, key: VariantKey) -> Response:
        return json_response(inclusions.of(service.get(caller, kind, object_id).content, key))

    @router.post("/{id}/variants/{variantKey}/users")
    async def add_users(caller: Caller, object_id: ObjectId, key: VariantKey, raw: RawBody) -> Response:
        variants.find(service.get(caller, kind, object_id).content, key)
        service.write(
            caller,
            kind,
            object_id,
            "add inclusions",
            lambda content, fields: inclusions.add(content, key, fields["inclusions"]),
            (request_models.AddInclusions, raw),
        )
        return done_response(service.settings)

    @router.delete("/{id}/variants/{variantKey}/users/{userIndex}")
    async def remove_user(caller: Caller, object_id: ObjectId, key: VariantKey, index: UserIndex) -> Response:
        service.write(
            caller, kind, object_id, "remove inclusion", lambda content, _: inclusions.remove_at(content, key, index)
        )
        return done_response(service.settings)

    @router.delete("/{id}/variants/{variantKey}/users")
    async def remove_all_users(caller: Caller, object_id: ObjectId, key: VariantKey) -> Response:
        service.write(
            caller, kind, object_id, "remove all inclusions", lambda content, _: inclusions.remove_all(content, key)
        )
        return done_response(service.settings)


def _add_assignment_routes(router: APIRouter, service: Service, kind: Kind) -> None:
    @router.get("/{id}/deployments")
    async def list_assigned(caller: Caller, object_id: ObjectId) -> Response:
        found = service.deployments.assigned(service.get(caller, kind, object_id).content)
        return json_response([with_ids(item, service.settings) for item in found])

    @router.post("/{id}/deployments")
    async def assign(caller: Caller, object_id: ObjectId, raw: RawBody) -> Response:
        project_id = service.get(caller, kind, object_id).project_id

        def change(content: Content, fields: dict[str, list[str]]) -> None:
            service.deployments.refuse_unknown(project_id, fields["deployments"])
            deployments.assign(content, fields["deployments"])

        service.write(caller, kind, object_id, "add deployments", change, (request_models.AddDeployments, raw))
        return done_response(service.settings)

    @router.delete("/{id}/deployments/{deploymentId}")
    async def unassign(caller: Caller, object_id: ObjectId, deployment_id: DeploymentId) -> Response:
        service.write(
            caller,
            kind,
            object_id,
            "remove deployment",
            lambda content, _: deployments.unassign(content, deployment_id),
        )
        return done_response(service.settings)


def deployment_routes(service: Service) -> APIRouter:
    """The routes of deployments themselves (contract: Other endpoints)."""
    router = APIRouter(prefix="/api/1/deployments")

    @router.get("")
    async def list_deployments(request: Request, caller: Caller) -> Response:
        items = service.list_deployments(caller)
        return json_response(page("deployments", items, request.query_params, service.settings))

    @router.post("")
    async def create_deployment(caller: Caller, raw: RawBody) -> Response:
        return json_response(with_ids({"id": service.create_deployment(caller, raw)}, service.settings))

    @router.patch("/{id}")
    async def edit_deployment(caller: Caller, deployment_id: ObjectId, raw: RawBody) -> Response:
        service.edit_deployment(caller, deployment_id, raw)
        return done_response(service.settings)

    return router
