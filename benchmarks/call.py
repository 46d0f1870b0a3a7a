"""One call through the hook, compared with a bare session and with the hook of the http provider."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from benchmarks.loopback import FIRST_ID, KEY, Loopback
from benchmarks.rounds import take_turns
from benchmarks.row import Part, Row, table

CALLS = 200
ROUNDS = 15
_PATH = f"/api/1/flags/{FIRST_ID}"


def measure() -> Part:
    """Measure reads of one flag by each caller, in turns."""
    from airflow.providers.http.hooks.http import HttpHook

    from airflow_provider_ampexp.hooks.ampexp import AmplitudeExperimentHook

    with Loopback(1000) as server, requests.Session() as session, AmplitudeExperimentHook("bench") as hook:
        os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(
            {"conn_type": "amplitude_experiment", "password": KEY, "extra": {"base_url": server.base_url}}
        )
        os.environ["AIRFLOW_CONN_BENCH_HTTP"] = server.base_url
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {KEY}"
        headers = {"Authorization": f"Bearer {KEY}"}
        warm = HttpHook("GET", http_conn_id="bench_http")

        def bare() -> object:
            answer = session.get(server.base_url + _PATH, timeout=30)
            answer.raise_for_status()
            return answer.json()

        def ours() -> object:
            return hook.client.flags.get(str(FIRST_ID))

        def new_hook_of_ours() -> object:
            with AmplitudeExperimentHook("bench") as another:
                return another.client.flags.get(str(FIRST_ID))

        def http() -> object:
            return warm.run(_PATH, headers=headers).json()

        def new_hook_of_http() -> object:
            return HttpHook("GET", http_conn_id="bench_http").run(_PATH, headers=headers).json()

        def times(call: object) -> object:
            assert callable(call)
            return lambda: [call() for _ in range(CALLS)]

        all_of_them = {
            "a bare requests.Session": bare,
            "this hook": ours,
            "HttpHook": http,
            "this hook, new each call": new_hook_of_ours,
            "HttpHook, new each call": new_hook_of_http,
        }
        with _without_output():  # a new hook logs its requests at each close
            rounds = take_turns({name: times(call) for name, call in all_of_them.items()}, ROUNDS)  # type: ignore[misc]
    ratio = rounds.ratio("this hook", "a bare requests.Session")
    told = {name: rounds.told(name, "a bare requests.Session") for name in all_of_them}
    return Part(
        "One call",
        [
            Row(
                "one call through the hook, warm",
                "bare `requests.Session`",
                "at most 1.10 x",
                told["this hook"],
                ratio <= 1.10,
            ),
            Row(
                "one call through the hook, warm",
                "`HttpHook` of the http provider, warm",
                "ahead of it",
                f"{told['this hook']} against {told['HttpHook']}",
                ratio < rounds.ratio("HttpHook", "a bare requests.Session"),
            ),
            Row(
                "one call through a new hook each time, a new connection each",
                "the same with `HttpHook`",
                "ahead of it",
                f"{told['this hook, new each call']} against {told['HttpHook, new each call']}",
                rounds.ratio("this hook, new each call", "HttpHook, new each call") < 1,
            ),
        ],
        [
            f"Each caller reads one flag {CALLS} times a turn, in {ROUNDS} turns, from a server on the loopback that "
            "responds at once. A request to Amplitude takes about 100 ms more, so these differences are small there.",
            table(
                ["caller", "beside a bare session", "ms a call (median, here)"],
                [(name, told[name], f"{rounds.median(name) / CALLS * 1000:.2f}") for name in all_of_them],
            ),
        ],
    )


@contextmanager
def _without_output() -> Iterator[None]:
    """Discard what this process prints. The log keeps its cost."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
