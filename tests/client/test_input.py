"""Invalid input is refused before a request, and the message names the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_ampexp.client import InvalidInputError, ManagementClient

from .bare_server import BareServer

NAN, INF = float("nan"), float("inf")
NEW = {"projectId": "1", "key": "k"}
LABELLED = {"projectId": "1", "label": "a", "type": "client"}


def _endless() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


# -- the client itself ------------------------------------------------------------------------------------------

CLIENTS: list[tuple[dict[str, Any], str]] = [
    *(
        ({"api_key": key}, "api_key")
        for key in ("", None, 5, b"ampex_x", "ampex_ x", "ampex_x\n", " ampex_x", "ampex_ü")
    ),
    *(({"api_key": key}, "api_key") for key in ("client-abc", "server-abc", "ampex_\x00", "ampex_\r\nX: y")),
    *(({"region": region}, "region") for region in ("EU", "", "mars", None, 5)),
    ({"region": "mars", "base_url": "https://example.com"}, "region"),
    *(
        ({"base_url": url}, "base_url")
        for url in (
            "example.com",
            "ftp://example.com",
            "https://",
            "https:///api",
            "http://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://128.0.0.1",
            "http://127.0.0.1@example.com",
            "http://localhost\\@example.com",
            "https://me@example.com",
            "https://me:secret@example.com",
            "https://example.com?x=1",
            "https://example.com#x",
            "https://example.com?",
            "https://example.com/#",
            "https://example.com\n",
        )
    ),
    *(
        ({field: value}, field)
        for field in ("timeout", "retry_for")
        for value in (-1, -0.001, NAN, INF, -INF, "30", None, True, False, [1])
    ),
]


@pytest.mark.parametrize(("given", "field"), CLIENTS)
def test_a_client_names_what_is_wrong(given: dict[str, Any], field: str):
    with pytest.raises(InvalidInputError) as caught:
        ManagementClient(**{"api_key": "ampex_x", **given})
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_the_message_says_that_a_deployment_key_is_the_wrong_kind():
    with pytest.raises(InvalidInputError, match=r"deployment key.*management key.*ampex_"):
        ManagementClient("server-abc")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "https://experiment.amplitude.com"),
        ({"region": "us"}, "https://experiment.amplitude.com"),
        ({"region": "eu"}, "https://experiment.eu.amplitude.com"),
        ({"region": "eu", "base_url": "https://proxy.example.com/amplitude/"}, "https://proxy.example.com/amplitude"),
        ({"base_url": "http://localhost:8765"}, "http://localhost:8765"),
        ({"base_url": "http://127.1.2.3/"}, "http://127.1.2.3"),
        ({"base_url": "http://[::1]:80"}, "http://[::1]:80"),
        ({"api_key": "any-other-kind"}, "https://experiment.amplitude.com"),
        ({"timeout": 1, "retry_for": 0}, "https://experiment.amplitude.com"),
    ],
)
def test_a_client_knows_where_the_service_is(given: dict[str, Any], address: str):
    with ManagementClient(**{"api_key": "ampex_x", **given}) as client:
        assert client.base_url == address


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"timeout": 0}, "timeout"),  # otherwise a bare ValueError of urllib3 with the first call
        ({"base_url": "https://[::1"}, "base_url"),  # otherwise a ValueError without the field
        ({"base_url": "https://example.com:99999"}, "base_url"),
        ({"base_url": "https://example.com:http"}, "base_url"),
        ({"base_url": "https://me:a/b@example.com"}, "base_url"),  # otherwise the password is in the repr
        ({"base_url": 5}, "base_url"),  # AttributeError
        ({"region": []}, "region"),  # TypeError
    ],
)
def test_a_client_names_what_else_is_wrong(given: dict[str, Any], field: str):
    with pytest.raises(InvalidInputError) as caught:
        ManagementClient(**{"api_key": "ampex_x", **given})
    assert caught.value.field == field


# -- the calls --------------------------------------------------------------------------------------------------

Do = Callable[[ManagementClient], object]


def _case(field: str, do: Do) -> Any:
    return pytest.param(do, field, id=field)


NOT_A_NAME: list[Any] = ["", " ", "\n", None, 5, b"on", ["on"]]
NOT_A_PERCENTAGE: list[Any] = [-1, 101, 0.5, 99.9, NAN, INF, "50", None, True, [50]]
NOT_A_WEIGHT: list[Any] = [-1, -0.5, NAN, INF, "1", None, True]
NOT_NAMES: list[Any] = ["ann", b"ann", {"ann": 1}, None, 5]

FIELDS: list[Any] = [
    *(_case(name, lambda c, n=name, v=value: c.flags.create({**NEW, n: v})) for name in NEW for value in NOT_A_NAME),
    *(_case(name, lambda c, n=name: c.flags.create({k: v for k, v in NEW.items() if k != n})) for name in NEW),
    *(_case("rolloutPercentage", lambda c, v=v: c.flags.edit("1", {"rolloutPercentage": v})) for v in NOT_A_PERCENTAGE),
    *(
        _case(name, lambda c, n=name, v=value: c.flags.edit("1", {n: v}))
        for name in ("enabled", "archive", "stickyBucketing")
        for value in ("true", 1, 0, None)
    ),
    *(_case("deployments", lambda c, v=v: c.flags.create({**NEW, "deployments": v})) for v in NOT_NAMES),
    *(_case("deployments[1]", lambda c, v=v: c.flags.create({**NEW, "deployments": ["1", v]})) for v in NOT_A_NAME),
    *(
        _case("rolloutWeights", lambda c, v=v: c.flags.create({**NEW, "rolloutWeights": v}))
        for v in ([1], "on", None, 5)
    ),
    *(
        _case("rolloutWeights.on", lambda c, v=v: c.flags.create({**NEW, "rolloutWeights": {"on": v}}))
        for v in NOT_A_WEIGHT
    ),
    *(
        _case(name, lambda c, n=name, v=value: c.flags.create({**NEW, n: v}))
        for name in ("variants", "targetSegments")
        for value in ("on", b"on", {"key": "on"}, None, 5)
    ),
    *(
        _case(f"{name}[1]", lambda c, n=name, v=value: c.flags.create({**NEW, n: [{}, v]}))
        for name in ("variants", "targetSegments")
        for value in ("on", None, ["key"])
    ),
    *(_case("variants[0].key", lambda c, v=v: c.flags.create({**NEW, "variants": [{"key": v}]})) for v in NOT_A_NAME),
    _case(
        "variants[1].payload",
        lambda c: c.flags.create({**NEW, "variants": [{"key": "a"}, {"key": "b", "payload": NAN}]}),
    ),
    *(
        _case("targetSegments[0].percentage", lambda c, v=v: c.flags.edit("1", {"targetSegments": [{"percentage": v}]}))
        for v in NOT_A_PERCENTAGE
    ),
    *(_case("fields", lambda c, v=v: c.flags.edit("1", v)) for v in (None, [], "name", 5)),
    *(
        _case("fields", lambda c, v=v: c.flags.edit("1", {"tags": v}))
        for v in (NAN, {1, 2}, b"x", object(), _endless())
    ),
    *(_case("key", lambda c, v=v: c.flags.create_variant("1", {"key": v})) for v in NOT_A_NAME),
    _case("key", lambda c: c.flags.create_variant("1", {})),
    *(_case("key", lambda c, v=v: c.flags.edit_variant("1", "on", {"key": v})) for v in NOT_A_NAME),
    *(
        _case("payload", lambda c, v=v: c.flags.edit_variant("1", "on", {"payload": v}))
        for v in (NAN, {"a": [INF]}, {1}, b"x")
    ),
    *(
        _case("rolloutWeight", lambda c, v=v: c.flags.edit_variant("1", "on", {"rolloutWeight": v}))
        for v in NOT_A_WEIGHT
    ),
    *(_case("fields", lambda c, v=v: c.flags.edit_variant("1", "on", v)) for v in (None, [], "name")),
    *(_case("users", lambda c, v=v: c.flags.add_inclusions("1", "on", v)) for v in NOT_NAMES),
    *(_case("users[1]", lambda c, v=v: c.flags.add_inclusions("1", "on", ["ann", v])) for v in NOT_A_NAME),
    *(_case("deployment_ids", lambda c, v=v: c.flags.add_deployments("1", v)) for v in NOT_NAMES),
    *(_case("deployment_ids[0]", lambda c, v=v: c.flags.add_deployments("1", [v])) for v in NOT_A_NAME),
    *(_case("index", lambda c, v=v: c.flags.remove_inclusion("1", "on", v)) for v in (-1, 1.0, "0", None, True, NAN)),
    *(_case("key", lambda c, v=v: c.flags.find(v)) for v in NOT_A_NAME),
    *(_case("projectId", lambda c, v=v: c.deployments.create({**LABELLED, "projectId": v})) for v in NOT_A_NAME),
    *(
        _case("label", lambda c, v=v: c.deployments.create({**LABELLED, "label": v}))
        for v in ("", "a b", "a.b", "ü", "a\n", None, 5)
    ),
    *(
        _case("type", lambda c, v=v: c.deployments.create({**LABELLED, "type": v}))
        for v in ("", "Client", None, 5, ["client"])
    ),
    *(
        _case(name, lambda c, n=name: c.deployments.create({k: v for k, v in LABELLED.items() if k != n}))
        for name in LABELLED
    ),
    *(_case("label", lambda c, v=v: c.deployments.edit("1", {"label": v})) for v in ("", "a b", "a/b", None, 5)),
    *(_case("archive", lambda c, v=v: c.deployments.edit("1", {"archive": v})) for v in ("true", 1, None)),
    *(_case("id", lambda c, v=v: c.deployments.edit(v, {})) for v in NOT_A_NAME),
]

BY_ID: dict[str, Callable[[ManagementClient, Any], object]] = {
    "get": lambda c, id: c.flags.get(id),
    "edit": lambda c, id: c.flags.edit(id, {"enabled": True}),
    "versions": lambda c, id: c.flags.versions(id),
    "version": lambda c, id: c.flags.version(id, 1),
    "variants": lambda c, id: c.flags.variants(id),
    "variant": lambda c, id: c.flags.variant(id, "on"),
    "create_variant": lambda c, id: c.flags.create_variant(id, {"key": "on"}),
    "edit_variant": lambda c, id: c.flags.edit_variant(id, "on", {"name": "x"}),
    "remove_variant": lambda c, id: c.flags.remove_variant(id, "on"),
    "inclusions": lambda c, id: c.flags.inclusions(id, "on"),
    "add_inclusions": lambda c, id: c.flags.add_inclusions(id, "on", ["ann"]),
    "remove_inclusion": lambda c, id: c.flags.remove_inclusion(id, "on", 0),
    "remove_all_inclusions": lambda c, id: c.flags.remove_all_inclusions(id, "on"),
    "deployments": lambda c, id: c.flags.deployments(id),
    "add_deployments": lambda c, id: c.flags.add_deployments(id, ["1"]),
    "remove_deployment": lambda c, id: c.flags.remove_deployment(id, "1"),
    "deployments.edit": lambda c, id: c.deployments.edit(id, {"label": "a"}),
}
BY_ANOTHER_NAME: dict[str, tuple[str, Callable[[ManagementClient, Any], object]]] = {
    "version": ("version", lambda c, name: c.flags.version("1", name)),
    "variant": ("variant_key", lambda c, name: c.flags.variant("1", name)),
    "edit_variant": ("variant_key", lambda c, name: c.flags.edit_variant("1", name, {"name": "x"})),
    "remove_variant": ("variant_key", lambda c, name: c.flags.remove_variant("1", name)),
    "inclusions": ("variant_key", lambda c, name: c.flags.inclusions("1", name)),
    "add_inclusions": ("variant_key", lambda c, name: c.flags.add_inclusions("1", name, ["ann"])),
    "remove_inclusion": ("variant_key", lambda c, name: c.flags.remove_inclusion("1", name, 0)),
    "remove_all_inclusions": ("variant_key", lambda c, name: c.flags.remove_all_inclusions("1", name)),
    "remove_deployment": ("deployment_id", lambda c, name: c.flags.remove_deployment("1", name)),
}
BY_NAME: list[Any] = [
    *(_case("id", lambda c, do=do, v=value: do(c, v)) for do in BY_ID.values() for value in NOT_A_NAME),
]


def _refused(do: Do, client: ManagementClient, server: BareServer) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        do(client)
    assert (server.connections, server.asked) == (0, [])
    return caught.value


@pytest.mark.parametrize(("do", "field"), [*FIELDS, *BY_NAME])
def test_bad_input_is_refused_by_name_and_nothing_is_sent(
    do: Do, field: str, to_bare: ManagementClient, bare: BareServer
):
    error = _refused(do, to_bare, bare)
    assert error.field == field
    assert str(error).startswith(f"{field}: ")


@pytest.mark.parametrize("value", ["", " ", "\n"])
@pytest.mark.parametrize("call", BY_ANOTHER_NAME)
def test_a_name_that_is_none_is_refused_and_nothing_is_sent(
    call: str, value: Any, to_bare: ManagementClient, bare: BareServer
):
    _refused(lambda c: BY_ANOTHER_NAME[call][1](c, value), to_bare, bare)


@pytest.mark.parametrize("call", BY_ANOTHER_NAME)
def test_the_message_tells_which_name_is_none(call: str, to_bare: ManagementClient, bare: BareServer):
    field, do = BY_ANOTHER_NAME[call]
    assert _refused(lambda c: do(c, ""), to_bare, bare).field == field


@pytest.mark.parametrize("name", [".", ".."])
@pytest.mark.parametrize(
    "do",
    [
        *(pytest.param(do, id=f"{name} id") for name, do in BY_ID.items()),
        *(pytest.param(do, id=f"{name} {field}") for name, (field, do) in BY_ANOTHER_NAME.items()),
    ],
)
def test_a_name_that_would_lead_to_another_route_is_not_sent_there(
    do: Callable[[ManagementClient, Any], object], name: str, to_bare: ManagementClient, bare: BareServer
):
    _refused(lambda c: do(c, name), to_bare, bare)


UNCHECKED: list[Any] = [
    *(_case("project_id", lambda c, v=v: c.flags.find("k", project_id=v)) for v in (100001, "", [])),
    *(_case("project_id", lambda c, v=v: list(c.flags.list(project_id=v))) for v in (100001, "")),
    *(_case("key", lambda c, v=v: list(c.flags.list(key=v))) for v in (5, "")),
    _case("id", lambda c: c.flags.get("\ud800")),  # UnicodeEncodeError
    _case("fields", lambda c: c.flags.create(None)),  # AttributeError
    _case("fields", lambda c: c.flags.create_variant("1", None)),  # AttributeError
    _case("fields", lambda c: c.deployments.create(None)),  # AttributeError
    _case("fields", lambda c: c.deployments.edit("1", None)),  # TypeError
    _case("fields", lambda c: c.deployments.edit("1", {"label": "a", "more": NAN})),  # "sent, but unknown"
    _case("version", lambda c: c.flags.version("1", None)),
    _case("version", lambda c: c.flags.version("1", True)),
]


@pytest.mark.parametrize(("do", "field"), UNCHECKED)
def test_other_bad_input_is_refused_by_name(do: Do, field: str, to_bare: ManagementClient, bare: BareServer):
    assert _refused(do, to_bare, bare).field == field


@pytest.mark.parametrize("given", [0, 100, 50.0, 7])
def test_whole_percentages_are_sent_as_whole_numbers(given: float, to_bare: ManagementClient, bare: BareServer):
    to_bare.flags.edit("1", {"rolloutPercentage": given})  # type: ignore[typeddict-item]
    (asked,) = bare.asked
    assert asked.body == b'{"rolloutPercentage": %d}' % given
