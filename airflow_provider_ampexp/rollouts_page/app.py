"""The routes of the page. Each asks who is there, and whether they may read connections; none of them writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_connection
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from airflow_provider_ampexp import __version__
from airflow_provider_ampexp.client import InvalidInputError, ManagementApiError, NotFoundError
from airflow_provider_ampexp.rollouts_page.connections import fields_of, known_connections
from airflow_provider_ampexp.rollouts_page.reading import KEPT_FOR, AmplitudeReader
from airflow_provider_ampexp.rollouts_page.shown import compared, line_of, page_of
from airflow_provider_ampexp.rollouts_page.standing import Rollout, rollouts_of
from airflow_provider_ampexp.rollouts_page.tasks import rollout_tasks

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
_STATIC = files("airflow_provider_ampexp.rollouts_page") / "static"
# Nothing from elsewhere, no script but the package's own: what a flag's name holds is text, whatever it looks like.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

KindName = Literal["flags", "experiments"]


def make_app(reader: AmplitudeReader | None = None) -> FastAPI:
    """Make the application.

    :param reader: reads Amplitude; one with Airflow's own connections if not given
    """
    read = reader or AmplitudeReader(fields_of)
    # For all routes, so that none can be forgotten. Where a connection is named in the path, for that very one.
    app = FastAPI(
        title="Amplitude rollouts",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(requires_access_connection(method="GET"))],
    )

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        answer = await call_next(request)
        answer.headers.update(_HEADERS)
        return answer

    @app.exception_handler(ManagementApiError)
    def amplitude_failed(request: Request, error: ManagementApiError) -> JSONResponse:
        status = 404 if isinstance(error, NotFoundError) else 502
        return JSONResponse({"detail": str(error)}, status)

    @app.exception_handler(InvalidInputError)
    def connection_is_wrong(request: Request, error: InvalidInputError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(LookupError)
    def not_there(request: Request, error: LookupError) -> JSONResponse:
        return JSONResponse({"detail": str(error.args[0] if error.args else error)}, 404)

    @app.get("/")
    def page() -> Response:
        return _static("index.html")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        return _static(name)

    @app.get("/connections")
    def connections(user: GetUserDep) -> dict[str, Any]:
        named = {one.amplitude_conn_id for one in rollout_tasks(_readable_dags(user))}
        ids = [one for one in known_connections(named) if _may_read(user, one)]
        return {"connections": ids, "version": __version__}

    @app.get("/connections/{connection_id}/flags")
    def flags(connection_id: str, user: GetUserDep) -> dict[str, Any]:
        found = read.flags(connection_id)
        rollouts = _rollouts(user)
        lines = [
            line_of(kind, config, url, rollouts.get((connection_id, kind, config["id"]), ()), found.now)
            for kind, config, url in found.found
        ]
        return {"flags": lines, "now": found.now.isoformat(), **_used(read, connection_id, found.at, found.now)}

    @app.get("/connections/{connection_id}/{kind}/{flag_id}")
    def detail(connection_id: str, kind: KindName, flag_id: str, user: GetUserDep) -> dict[str, Any]:
        found = read.history(connection_id, kind, flag_id)
        of_flag = _rollouts(user).get((connection_id, kind, flag_id), [])
        told = page_of(kind, flag_id, found.versions, found.url, of_flag, found.now)
        return {**told, **_used(read, connection_id, found.at, found.now)}

    @app.get("/connections/{connection_id}/{kind}/{flag_id}/compare")
    def compare(connection_id: str, kind: KindName, flag_id: str, before: int, after: int) -> dict[str, Any]:
        found = read.history(connection_id, kind, flag_id)
        return {"changes": compared(kind, flag_id, found.versions, (before, after))}

    @app.get("/connections/{connection_id}/{kind}/{flag_id}/inclusions")
    def inclusions(connection_id: str, kind: KindName, flag_id: str) -> dict[str, Any]:
        found = read.history(connection_id, kind, flag_id)
        variants = page_of(kind, flag_id, found.versions, "", (), found.now)["variants"]
        counts = read.inclusions(connection_id, kind, flag_id, [one["key"] for one in variants])
        return {"inclusions": counts, **_used(read, connection_id, found.at, found.now)}

    return app


def _static(name: str) -> Response:
    """A file of the package. The name is compared with those that are there, so it leads nowhere else."""
    found = {one.name: one for one in _STATIC.iterdir() if one.is_file()}.get(name)
    if found is None:
        raise HTTPException(404)
    return Response(found.read_bytes(), media_type=_TYPES[name.rpartition(".")[2]])


def _may_read(user: Any, connection_id: str) -> bool:
    from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails

    details = ConnectionDetails(conn_id=connection_id)
    return bool(get_auth_manager().is_authorized_connection(method="GET", details=details, user=user))


def _readable_dags(user: Any) -> set[str]:
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def _rollouts(user: Any) -> dict[Any, list[Rollout]]:
    return rollouts_of(rollout_tasks(_readable_dags(user)))


def _used(read: AmplitudeReader, connection_id: str, at: datetime, now: datetime) -> dict[str, Any]:
    """What the footer tells."""
    return {
        "read_at": at.isoformat(),
        "now": now.isoformat(),
        "kept_for": KEPT_FOR,
        "used": read.used(connection_id),
        "used_since": read.began.astimezone(timezone.utc).isoformat(),
    }
