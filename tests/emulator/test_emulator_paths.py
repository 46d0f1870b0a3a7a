"""Path segments are percent-encoded, and the emulator decodes any value."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_ampexp.emulator.control import Emulator

if TYPE_CHECKING:
    from tests.emulator.conftest import Api

# "." and ".." alone cannot be sent, because HTTP clients resolve them, encoded or not.
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda key: key not in (".", "..")
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=KEYS)
@example(key="a/b %?#@ü")
@example(key="100%25")
@example(key="a/users/0")
@example(key="+&=;,")
@example(key="//")
def test_any_variant_key(api: Api, emulator: Emulator, key: str) -> None:
    emulator.reset()
    emulator.settings(rate_per_second=None)
    made = emulator.create_flag("f", variants=[{"key": "base variant"}])
    path = f"/flags/{made['id']}/variants/{quote(key, safe='')}"
    assert api.ok("POST", f"/flags/{made['id']}/variants", json={"key": key, "rolloutWeight": 2}) == "OK"
    assert api.ok("GET", path)["key"] == key
    assert api.ok("PATCH", path, json={"name": "named"}) == "OK"
    assert api.ok("POST", f"{path}/users", json={"inclusions": [key, "b"]}) == "OK"
    assert api.ok("DELETE", f"{path}/users/1") == "OK"
    assert api.ok("GET", f"{path}/users") == [key]
    assert emulator.inclusions("flags", made["id"], key) == [key]
    assert api.ok("DELETE", f"{path}/users") == "OK"
    assert api.ok("DELETE", path) == "OK"
    assert api.refused(404, "GET", path)
    routes = emulator.requests()["by_route"]
    assert routes["DELETE /api/1/flags/{id}/variants/{variantKey}/users/{userIndex}"] == 1


def test_an_unencoded_slash_is_another_route(api: Api, emulator: Emulator) -> None:
    made = emulator.create_flag("f", variants=[{"key": "a/b"}])
    assert api.refused(404, "GET", f"/flags/{made['id']}/variants/a/b")
    assert api.ok("GET", f"/flags/{made['id']}/variants/a%2Fb")["key"] == "a/b"
    assert api.ok("GET", f"/flags/{made['id']}/variants/a%2fb")["key"] == "a/b"
