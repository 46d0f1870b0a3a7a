"""The routes of the page. Each route requires a login. Flags also require the right to read connections.

No route writes. Blocking calls run in threads of the page, so that they use no thread of Airflow's API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any, Literal, TypeVar

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_connection
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from airflow_provider_ampexp import __version__
from airflow_provider_ampexp.client import InvalidInputError, ManagementApiError, NotFoundError
from airflow_provider_ampexp.ui._airflow_queries import rollout_tasks
from airflow_provider_ampexp.ui._amplitude_reader import CACHE_TTL, AmplitudeReader
from airflow_provider_ampexp.ui._connections import fields_of, known_connections
from airflow_provider_ampexp.ui._rollout_tasks import Rollout, rollouts_by_flag
from airflow_provider_ampexp.ui._serializers import diff_versions, flag_detail, list_item
from airflow_provider_ampexp.ui._stale_flags import stale_list
from airflow_provider_ampexp.ui._stale_queries import stale_lists
from airflow_provider_ampexp.ui._ttl_cache import SlowResponseError

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
_STATIC = files("airflow_provider_ampexp.ui") / "static"
# No other host, and only the scripts of the package: a flag's name is text, also if it looks like code.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_NO_RIGHT = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Rollouts</title><link rel=stylesheet "
    "href=static/page.css><script src=static/theme.js></script><main><h1>Rollouts</h1>"
    "<p>This page shows the percentage of each flag in Amplitude, and the next step of its rollout.</p>"
    "<p class=problem role=alert>This page needs the right to read connections, and you do not have it. Of Airflow's "
    "default roles Op and Admin have that right. Ask an administrator of this Airflow.</p></main></html>"
)
_DATABASE_THREADS = 2

KindName = Literal["flags", "experiments"]
_T = TypeVar("_T")


def make_app(reader: AmplitudeReader | None = None) -> FastAPI:
    """Make the application.

    :param reader: reads Amplitude; default: a reader with Airflow's connections
    """
    read = reader or AmplitudeReader(fields_of)
    database = ThreadPoolExecutor(_DATABASE_THREADS, thread_name_prefix="amplitude-rollouts-database")
    app = FastAPI(title="Amplitude rollouts", openapi_url=None, docs_url=None, redoc_url=None)

    async def in_thread(function: Callable[..., _T], *arguments: Any) -> _T:
        """Run a function that reads Airflow's database in a thread."""
        return await asyncio.get_running_loop().run_in_executor(database, function, *arguments)

    async def known_connection(connection_id: str, user: GetUserDep) -> str:
        """Refuse an id that is no connection to Amplitude, before a secrets backend reads it."""
        if connection_id not in await in_thread(_connections, user):
            raise LookupError(
                f"Reading Amplitude failed: no connection {connection_id!r} of the type "
                "amplitude_experiment that you may read. Nothing was read. Choose one on the page of all flags."
            )
        return connection_id

    may_read = Depends(requires_access_connection(method="GET"))
    # The router has the dependencies, so that each route of a connection has them.
    of_connection = APIRouter(prefix="/connections/{connection_id}", dependencies=[may_read, Depends(known_connection)])

    @app.middleware("http")
    async def headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.exception_handler(ManagementApiError)
    async def report_failed_request(request: Request, error: ManagementApiError) -> JSONResponse:
        status = 404 if isinstance(error, NotFoundError) else 502
        return JSONResponse({"detail": str(error)}, status)

    @app.exception_handler(SlowResponseError)
    async def report_slow_response(request: Request, error: SlowResponseError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 504)

    @app.exception_handler(InvalidInputError)
    async def report_invalid_connection(request: Request, error: InvalidInputError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(LookupError)
    async def report_unknown_object(request: Request, error: LookupError) -> JSONResponse:
        return JSONResponse({"detail": str(error.args[0] if error.args else error)}, 404)

    @app.get("/")
    async def page(request: Request, user: GetUserDep) -> Response:
        try:
            await requires_access_connection(method="GET")(request, user)
        except HTTPException as refused:
            if refused.status_code != 403:
                raise
            return HTMLResponse(_NO_RIGHT, 403)
        return _static("index.html")

    @app.get("/static/{name}")
    async def static(name: str, user: GetUserDep) -> Response:
        return _static(name)

    @app.get("/connections", dependencies=[may_read])
    async def connections(user: GetUserDep) -> dict[str, Any]:
        return {"connections": await in_thread(_connections, user), "version": __version__}

    @app.get("/stale", dependencies=[may_read])
    async def stale(user: GetUserDep) -> dict[str, Any]:
        return {"lists": await in_thread(_stale_lists, user), "now": datetime.now(timezone.utc).isoformat()}

    @of_connection.get("/flags")
    async def flags(connection_id: str, user: GetUserDep) -> dict[str, Any]:
        found = await read.flags(connection_id)
        rollouts = await in_thread(_rollouts, user)

        def items() -> list[dict[str, Any]]:
            return [
                list_item(kind, config, url, rollouts.get((connection_id, kind, config["id"]), ()), found.now)
                for kind, config, url in found.found
            ]

        return {
            "flags": await in_thread(items),
            **_request_counts(read, connection_id, found.at, found.now),
        }

    @of_connection.get("/{kind}/{flag_id}")
    async def detail(connection_id: str, kind: KindName, flag_id: str, user: GetUserDep) -> dict[str, Any]:
        found = await read.history(connection_id, kind, flag_id)
        rollouts = (await in_thread(_rollouts, user)).get((connection_id, kind, flag_id), [])
        in_full = await in_thread(flag_detail, kind, flag_id, found.versions, found.url, rollouts, found.now)
        return {**in_full, **_request_counts(read, connection_id, found.at, found.now)}

    @of_connection.get("/{kind}/{flag_id}/compare")
    async def compare(connection_id: str, kind: KindName, flag_id: str, before: int, after: int) -> dict[str, Any]:
        found = await read.history(connection_id, kind, flag_id)
        return {"changes": await in_thread(diff_versions, kind, flag_id, found.versions, (before, after))}

    @of_connection.get("/{kind}/{flag_id}/inclusions")
    async def inclusions(connection_id: str, kind: KindName, flag_id: str) -> dict[str, Any]:
        found = await read.history(connection_id, kind, flag_id)
        variants = (await in_thread(flag_detail, kind, flag_id, found.versions, "", (), found.now))["variants"]
        counts = await read.inclusions(connection_id, kind, flag_id, [variant["key"] for variant in variants])
        return {"inclusions": counts, **_request_counts(read, connection_id, found.at, found.now)}

    app.include_router(of_connection)
    return app


def _static(name: str) -> Response:
    """Serve a file of the package. The name of no file is a 404, so that a name cannot lead to another folder."""
    found = {file.name: file for file in _STATIC.iterdir() if file.is_file()}.get(name)
    if found is None:
        raise HTTPException(404)
    return Response(found.read_bytes(), media_type=_TYPES[name.rpartition(".")[2]])


def _may_read(user: Any, connection_id: str) -> bool:
    from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails

    details = ConnectionDetails(conn_id=connection_id)
    return bool(get_auth_manager().is_authorized_connection(method="GET", details=details, user=user))


def _connections(user: Any) -> list[str]:
    """Return the connections to Amplitude that the user may read."""
    named = {task.amplitude_conn_id for task in rollout_tasks(_readable_dags(user))}
    return [connection_id for connection_id in known_connections(named) if _may_read(user, connection_id)]


def _readable_dags(user: Any) -> set[str]:
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def _rollouts(user: Any) -> dict[Any, list[Rollout]]:
    return rollouts_by_flag(rollout_tasks(_readable_dags(user)))


def _stale_lists(user: Any) -> list[dict[str, Any]]:
    """Return the lists of the DAGs and connections that the user may read."""
    found = stale_lists(_readable_dags(user))
    may_read = {conn_id: _may_read(user, conn_id) for conn_id in {listed.amplitude_conn_id for listed in found}}
    return [stale_list(listed) for listed in found if may_read[listed.amplitude_conn_id]]


def _request_counts(read: AmplitudeReader, connection_id: str, at: datetime, now: datetime) -> dict[str, Any]:
    """Return the figures of the footer."""
    return {
        "read_at": at.isoformat(),
        "now": now.isoformat(),
        "kept_for": CACHE_TTL,
        "used": read.used(connection_id),
        "used_since": read.began.astimezone(timezone.utc).isoformat(),
    }
