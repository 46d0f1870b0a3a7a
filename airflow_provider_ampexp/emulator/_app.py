"""The application: its routes, its errors and its middleware."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from airflow_provider_ampexp.emulator._api.evaluation_routes import evaluation_routes
from airflow_provider_ampexp.emulator._api.group_routes import group_routes
from airflow_provider_ampexp.emulator._api.json_io import error_response
from airflow_provider_ampexp.emulator._api.path_params import RouteNames
from airflow_provider_ampexp.emulator._api.routes import deployment_routes, object_routes
from airflow_provider_ampexp.emulator._api.undocumented_routes import extra_routes
from airflow_provider_ampexp.emulator._control.routes import control_routes
from airflow_provider_ampexp.emulator._faults.middleware import FaultMiddleware
from airflow_provider_ampexp.emulator._faults.tcp_connections import TcpConnections
from airflow_provider_ampexp.emulator._state.errors import Refusal
from airflow_provider_ampexp.emulator._state.flags import KINDS
from airflow_provider_ampexp.emulator._state.service import Service


def create_app(service: Service, connections: TcpConnections) -> FastAPI:
    """Create the application of a state. Only the emulator's own server can cut connections."""
    # No schema and no documentation pages: the code reads bodies itself, so that each error is a 400 in the service's
    # form. A path with an additional slash is a 404, not a redirect.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = service
    routers = [*(object_routes(service, kind) for kind in KINDS), deployment_routes(service), extra_routes(service)]
    routers += [group_routes(service), evaluation_routes(service)]
    for router in routers:
        app.include_router(router)
    app.include_router(control_routes(service))
    names = RouteNames(route for router in routers for route in router.routes if isinstance(route, APIRoute))
    service.known_routes = names.all
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _not_routed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_middleware(FaultMiddleware, service=service, connections=connections, names=names)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error_response(error.status, error.error, error.headers)


async def _not_routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = {404: "There is no such route.", 405: "This route does not take this method."}
    return error_response(error.status_code, sentence.get(error.status_code, str(error.detail)), error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    # The framework validates parameters of control routes only.
    return error_response(404, "There is no such route.")
