"""A value that the service does not show, or shows in an unreadable form, is unknown, not empty and not 0."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from airflow_provider_ampexp.client import ManagementClient
from airflow_provider_ampexp.emulator.control import Emulator
from airflow_provider_ampexp.ensure import (
    FlagRef,
    MissingFieldError,
    WrongStateError,
    ensure_archived,
    ensure_decision,
    ensure_fields,
    ensure_percentage,
    ensure_version,
    ensure_weights,
)

Alter = Callable[[dict[str, Any]], dict[str, Any]]


class AlteredAnswers(requests.Session):
    """A session that alters each JSON object in the responses to reads.

    ``path`` is the end of the path of the altered responses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.alter: Alter = lambda shown: shown
        self.path = ""

    def request(self, method: str, url: str, **more: Any) -> requests.Response:  # type: ignore[override]
        response = super().request(method, url, **more)
        if method == "GET" and url.endswith(self.path):
            altered = json.dumps(json.loads(response.content, object_hook=lambda shown: self.alter(shown))).encode()
            response._content = altered
            response.raw = _Raw(altered)
        return response


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._left = body

    def read1(self, *_: Any, **__: Any) -> bytes:
        found, self._left = self._left, b""
        return found

    read = read1

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read1()

    def close(self) -> None: ...

    release_conn = close


@pytest.fixture
def session() -> AlteredAnswers:
    return AlteredAnswers()


@pytest.fixture
def client(emulator: Emulator, session: AlteredAnswers) -> Iterator[ManagementClient]:
    with ManagementClient(emulator.api_key, base_url=emulator.base_url, retry_for=0, session=session) as made:
        yield made


def conditions(country: str) -> list[dict[str, Any]]:
    return [{"type": "property", "prop": "country", "op": "is", "values": [country]}]


def fields(**more: Any) -> dict[str, Any]:
    segments = [
        {"name": name, "conditions": conditions(name), "percentage": share, "rolloutWeights": {"control": 1, "grid": 1}}
        for name, share in {"DE": 100, "AT": 0}.items()
    ]
    return {
        "variants": [{"key": "control"}, {"key": "grid"}],
        "rolloutWeights": {"control": 1, "grid": 1},
        "rolloutPercentage": 50,
        "enabled": True,
        "targetSegments": segments,
        **more,
    }


@pytest.fixture
def flag(emulator: Emulator) -> FlagRef:
    return FlagRef("flags", id=emulator.create_flag("layout", **fields())["id"])


@pytest.fixture
def experiment(emulator: Emulator) -> FlagRef:
    return FlagRef("experiments", id=emulator.create_experiment("layout-test", **fields())["id"])


def null_weight(shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, "rolloutWeights": {"control": None, "grid": 1}} if shown.get("name") == "AT" else shown


def odd_percentage(shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, "percentage": "none"} if shown.get("name") == "AT" else shown


def no_segments(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name != "targetSegments"}


def null_segments(shown: dict[str, Any]) -> dict[str, Any]:
    return {**shown, "targetSegments": None} if "targetSegments" in shown else shown


UNREADABLE = [odd_percentage, no_segments, null_segments]


def stored(emulator: Emulator, target: FlagRef) -> dict[str, Any]:
    kind = {"flags": emulator.flag, "experiments": emulator.experiment}[target.kind]
    config = kind(str(target.id))
    return {name: config.get(name) for name in ("targetSegments", "rolloutPercentage", "rolloutWeights", "enabled")}


WRITES: dict[str, Callable[[ManagementClient, FlagRef], object]] = {
    "weights of all": lambda client, flag: ensure_weights(client, flag, {"control": 0, "grid": 1}, all_segments=True),
    "weights of a segment": lambda client, flag: ensure_weights(client, flag, {"control": 0, "grid": 1}, segment="DE"),
    "all segments": lambda client, flag: ensure_fields(
        client, flag, {"targetSegments": fields()["targetSegments"][:1]}
    ),
    "percentage of a segment": lambda client, flag: ensure_percentage(client, flag, 10, segment="DE"),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("alter", UNREADABLE)
def test_segments_that_cannot_be_read_are_not_written(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, flag: FlagRef, write: str, alter: Alter
) -> None:
    before = stored(emulator, flag)
    session.alter = alter
    with pytest.raises(MissingFieldError, match=r"does not show the target segments of 'layout'.*Nothing was changed"):
        WRITES[write](client, flag)
    assert stored(emulator, flag) == before


@pytest.mark.parametrize("write", ["weights of a segment", "percentage of a segment"])
def test_a_segment_with_an_unknown_weight_is_not_sent_back(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, flag: FlagRef, write: str
) -> None:
    before = stored(emulator, flag)
    session.alter = null_weight
    with pytest.raises(MissingFieldError, match=r"does not show the weight of 'control' of segment 'AT'"):
        WRITES[write](client, flag)
    assert stored(emulator, flag) == before


def test_an_unknown_weight_is_replaced_by_a_named_one_and_not_kept(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, flag: FlagRef
) -> None:
    before = stored(emulator, flag)
    session.alter = null_weight
    with pytest.raises(WrongStateError, match=r"\{'control': None\} would stay"):
        ensure_weights(client, flag, {"grid": 2}, segment="AT")
    with pytest.raises(MissingFieldError, match=r"all weights of segment 'AT'"):
        ensure_weights(client, flag, {"grid": 2}, others="keep", segment="AT")
    assert stored(emulator, flag) == before


@pytest.mark.parametrize("alter", UNREADABLE)
def test_a_winner_is_not_rolled_out_to_segments_that_cannot_be_read(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, experiment: FlagRef, alter: Alter
) -> None:
    before = stored(emulator, experiment)
    session.alter = alter
    with pytest.raises(MissingFieldError, match="does not show the target segments"):
        ensure_decision(client, experiment, "rollout", winner="grid")
    assert stored(emulator, experiment) == before


@pytest.mark.parametrize("alter", [*UNREADABLE, null_weight])
def test_a_decision_to_roll_back_disables_and_says_which_segments_keep_their_percentages(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, experiment: FlagRef, alter: Alter
) -> None:
    before = stored(emulator, experiment)
    session.alter = alter
    outcome = ensure_decision(client, experiment, "rollback")
    assert any("keep their percentages" in note for note in outcome.notes)
    now = stored(emulator, experiment)
    assert (now["enabled"], now["rolloutPercentage"]) == (False, 0)
    assert now["targetSegments"] == before["targetSegments"]


@pytest.mark.parametrize("weight", [None, "one"])
def test_the_weight_of_a_variant_that_is_not_shown_is_not_0(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, flag: FlagRef, weight: object
) -> None:
    before = stored(emulator, flag)
    session.alter = lambda shown: {**shown, "rolloutWeight": weight} if shown.get("key") == "control" else shown
    with pytest.raises(MissingFieldError, match=r"weight of variant 'control' .* No weight was changed"):
        ensure_weights(client, flag, {"grid": 1}, others=0)
    assert stored(emulator, flag) == before


@pytest.mark.parametrize("alter", UNREADABLE)
def test_a_version_is_not_restored_over_segments_that_cannot_be_read(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, flag: FlagRef, alter: Alter
) -> None:
    emulator.edit("flags", str(flag.id), rolloutPercentage=60)
    before = stored(emulator, flag)
    session.alter, session.path = alter, f"/{flag.id}"
    with pytest.raises(MissingFieldError, match="does not show the present targetSegments"):
        ensure_version(client, flag, 1, overwrite=True)
    assert stored(emulator, flag) == before


def test_a_parent_whose_dependents_do_not_show_their_variants_is_not_archived(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, flag: FlagRef
) -> None:
    emulator.create_flag("child", parentDependencies={"flags": {str(flag.id): ["grid"]}, "operator": "all"})

    def without_variants(shown: dict[str, Any]) -> dict[str, Any]:
        return {**shown, "flags": {str(flag.id): None}} if isinstance(shown.get("flags"), dict) else shown

    session.alter = without_variants
    with pytest.raises(WrongStateError, match="it is a dependency of flag 'child'"):
        ensure_archived(client, flag)


@pytest.mark.parametrize("alter", UNREADABLE)
def test_who_gets_an_enabled_flag_is_said_to_be_unknown(
    emulator: Emulator, client: ManagementClient, session: AlteredAnswers, flag: FlagRef, alter: Alter
) -> None:
    emulator.edit("flags", str(flag.id), enabled=False, rolloutPercentage=0)
    session.alter = alter
    outcome = ensure_fields(client, flag, {"enabled": True})
    assert any("its target segments, which Amplitude does not show" in note for note in outcome.notes)
