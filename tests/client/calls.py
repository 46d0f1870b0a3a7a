"""All calls of the client, each with its expected request and effect. Several tests use this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator

KINDS = ("flags", "experiments")
ODD = "a/b %?#@ü"
PEOPLE = ["ann", ODD, "cyd"]
PROJECT = "100001"


@dataclass
class World:
    """An object with two versions, two variants, three users included in one of them, and one of two deployments."""

    emulator: Emulator
    kind: str
    id: str
    assigned: str
    unassigned: str

    @classmethod
    def made(cls, emulator: Emulator, kind: str) -> World:
        assigned, unassigned = _deployments_after_a_reset(emulator.base_url)
        thing = {
            "key": "checkout",
            "variants": [{"key": ODD, "payload": {"ü": [1, None]}}, {"key": "on"}],
            "inclusions": {ODD: PEOPLE},
            "deployments": [assigned],
        }
        (id,) = emulator.load({kind: [thing]})[kind]
        emulator.edit(kind, id, name="Check out")
        return cls(emulator, kind, id, assigned, unassigned)

    def now(self) -> Now:
        dump = self.emulator.dump()
        # The dump has the inclusions of all variants, and does not count as a request.
        (thing,) = (stored for stored in dump[self.kind] if stored["id"] == self.id)
        return Now(thing, [stored["key"] for stored in dump[self.kind]], dump["deployments"])


@cache
def _deployments_after_a_reset(base_url: str) -> list[str]:
    return [stored["id"] for stored in Emulator(base_url).dump()["deployments"]]


@dataclass
class Now:
    """The present state of the service."""

    thing: dict[str, Any]
    keys: list[str]
    deployments: list[dict[str, Any]]

    @property
    def variant_keys(self) -> list[str]:
        return [variant["key"] for variant in self.thing["variants"]]

    @property
    def included(self) -> list[str]:
        return self.thing["inclusions"].get(ODD, [])

    def deployment(self, id: str) -> dict[str, Any]:
        return next(deployment for deployment in self.deployments if deployment["id"] == id)


@dataclass(frozen=True)
class Call:
    """A call of the client.

    :param times: for a write, returns how often it was carried out
    :param answers: for a read, returns true if the result is right
    """

    name: str
    route: str
    do: Callable[[Any, World], Any]
    times: Callable[[Now, World], int] | None = None
    answers: Callable[[Any, World], bool] | None = None

    def on(self, client: ManagementClient, world: World) -> Any:
        """Make the call."""
        return self.do(client.deployments if "/deployments" in self.route[:18] else getattr(client, world.kind), world)

    def request(self, world: World) -> tuple[str, str]:
        """Return the method and the path that the request must have."""
        method, path = self.route.split()
        parts = {
            "{kind}": world.kind,
            "{id}": world.id if "{kind}" in path else world.assigned,
            "{versionId}": "1",
            "{variantKey}": quote(ODD, safe=""),
            "{userIndex}": "1",
            "{deploymentId}": world.assigned,
        }
        for name, value in parts.items():
            path = path.replace(name, value)
        return method, f"/api/1{path}"


READS = [
    Call(
        "list",
        "GET /{kind}",
        lambda many, world: list(many.list()),
        answers=lambda found, world: [item["id"] for item in found] == [world.id],
    ),
    Call(
        "get",
        "GET /{kind}/{id}",
        lambda many, world: many.get(world.id),
        answers=lambda found, world: found["name"] == "Check out" and found["id"] == world.id,
    ),
    Call(
        "versions",
        "GET /{kind}/{id}/versions",
        lambda many, world: many.versions(world.id),
        answers=lambda found, world: (
            [(item["version"], item["createdBy"], item["flagConfig"]["name"]) for item in found]
            == [(2, "Maria", "Check out"), (1, "Seed", "checkout")]
        ),
    ),
    Call(
        "version",
        "GET /{kind}/{id}/versions/{versionId}",
        lambda many, world: many.version(world.id, 1),
        answers=lambda found, world: found["version"] == 1 and found["flagConfig"]["name"] == "checkout",
    ),
    Call(
        "variants",
        "GET /{kind}/{id}/variants",
        lambda many, world: many.variants(world.id),
        answers=lambda found, world: [(item["key"], item["rolloutWeight"]) for item in found] == [(ODD, 1), ("on", 1)],
    ),
    Call(
        "variant",
        "GET /{kind}/{id}/variants/{variantKey}",
        lambda many, world: many.variant(world.id, ODD),
        answers=lambda found, world: found["key"] == ODD and found["payload"] == {"ü": [1, None]},
    ),
    Call(
        "inclusions",
        "GET /{kind}/{id}/variants/{variantKey}/users",
        lambda many, world: many.inclusions(world.id, ODD),
        answers=lambda found, world: found == PEOPLE,
    ),
    Call(
        "deployments",
        "GET /{kind}/{id}/deployments",
        lambda many, world: many.deployments(world.id),
        answers=lambda found, world: [item["id"] for item in found] == [world.assigned],
    ),
]

ABSOLUTE_WRITES = [
    Call(
        "edit",
        "PATCH /{kind}/{id}",
        lambda many, world: many.edit(world.id, {"description": "zwei\nZeilen ü"}),
        times=lambda now, world: now.thing["description"] == "zwei\nZeilen ü" and now.thing["name"] == "Check out",
    ),
    Call(
        "edit_variant",
        "PATCH /{kind}/{id}/variants/{variantKey}",
        lambda many, world: many.edit_variant(world.id, ODD, {"name": "Odd", "key": ODD}),
        times=lambda now, world: now.thing["variants"][0].get("name") == "Odd",
    ),
    Call(
        "remove_all_inclusions",
        "DELETE /{kind}/{id}/variants/{variantKey}/users",
        lambda many, world: many.remove_all_inclusions(world.id, ODD),
        times=lambda now, world: not now.included,
    ),
]

GONE_IS_DONE_WRITES = [
    Call(
        "remove_variant",
        "DELETE /{kind}/{id}/variants/{variantKey}",
        lambda many, world: many.remove_variant(world.id, ODD),
        times=lambda now, world: now.variant_keys == ["on"],
    ),
    Call(
        "remove_deployment",
        "DELETE /{kind}/{id}/deployments/{deploymentId}",
        lambda many, world: many.remove_deployment(world.id, world.assigned),
        times=lambda now, world: now.thing["deployments"] == [],
    ),
]

ONCE_WRITES = [
    Call(
        "create",
        "POST /{kind}",
        lambda many, world: many.create({"projectId": PROJECT, "key": "new"}),
        times=lambda now, world: now.keys.count("new"),
        answers=lambda made, world: made["id"] != world.id and made["url"].endswith(f"/{PROJECT}/config/{made['id']}"),
    ),
    Call(
        "create_variant",
        "POST /{kind}/{id}/variants",
        lambda many, world: many.create_variant(world.id, {"key": "new", "payload": [1, {"ü": "\n"}]}),
        times=lambda now, world: now.thing["variants"].count({"key": "new", "payload": [1, {"ü": "\n"}]}),
    ),
    Call(
        "add_inclusions",
        "POST /{kind}/{id}/variants/{variantKey}/users",
        lambda many, world: many.add_inclusions(world.id, ODD, ("ö /%", "b@c", "ö /%")),
        times=lambda now, world: now.included[3:].count("ö /%") + 10 * (now.included[3:].count("b@c") > 1),
    ),
    Call(
        "remove_inclusion",
        "DELETE /{kind}/{id}/variants/{variantKey}/users/{userIndex}",
        lambda many, world: many.remove_inclusion(world.id, ODD, 1),
        times=lambda now, world: len(PEOPLE) - len(now.included) + 10 * (now.included[0] != "ann"),
    ),
    Call(
        "add_deployments",
        "POST /{kind}/{id}/deployments",
        lambda many, world: many.add_deployments(world.id, [world.unassigned]),
        times=lambda now, world: now.thing["deployments"].count(world.unassigned),
    ),
]

# The route of another call, but with another effect.
RENAMING = Call(
    "edit_variant renaming",
    "PATCH /{kind}/{id}/variants/{variantKey}",
    lambda many, world: many.edit_variant(world.id, ODD, {"key": "even"}),
    times=lambda now, world: now.variant_keys.count("even"),
)
FINDING = Call(
    "find",
    "GET /{kind}",
    lambda many, world: many.find("checkout"),
    answers=lambda found, world: found is not None and found["id"] == world.id,
)

DEPLOYMENT_READS = [
    Call(
        "deployments.list",
        "GET /deployments",
        lambda many, world: list(many.list()),
        answers=lambda found, world: {item["id"] for item in found} == {world.assigned, world.unassigned},
    ),
]
DEPLOYMENT_ABSOLUTE_WRITES = [
    Call(
        "deployments.edit",
        "PATCH /deployments/{id}",
        lambda many, world: many.edit(world.assigned, {"label": "renamed", "archive": True}),
        times=lambda now, world: (
            [now.deployment(world.assigned)[name] for name in ("label", "deleted")] == ["renamed", True]
        ),
    ),
]
DEPLOYMENT_ONCE_WRITES = [
    Call(
        "deployments.create",
        "POST /deployments",
        lambda many, world: many.create({"projectId": PROJECT, "label": "new", "type": "server"}),
        times=lambda now, world: [deployment["label"] for deployment in now.deployments].count("new"),
        answers=lambda made, world: isinstance(made, str) and made.isdigit(),
    ),
]

ROUTES_OF_KIND = [*READS, *ABSOLUTE_WRITES, *GONE_IS_DONE_WRITES, *ONCE_WRITES]
ROUTES_OF_DEPLOYMENTS = [*DEPLOYMENT_READS, *DEPLOYMENT_ABSOLUTE_WRITES, *DEPLOYMENT_ONCE_WRITES]
EVERY_ROUTE = [(call, kind) for kind in KINDS for call in ROUTES_OF_KIND] + [
    (call, "flags") for call in ROUTES_OF_DEPLOYMENTS
]

ALL_READS = [*READS, FINDING, *DEPLOYMENT_READS]
REPEATED_WRITES = [*ABSOLUTE_WRITES, *GONE_IS_DONE_WRITES, *DEPLOYMENT_ABSOLUTE_WRITES]
SENT_ONCE_WRITES = [*ONCE_WRITES, RENAMING, *DEPLOYMENT_ONCE_WRITES]
ALL_WRITES = [*REPEATED_WRITES, *SENT_ONCE_WRITES]
CREATES = ("create", "deployments.create")
