"""A process with a rollout whose guardrail fails at 25 %. It kills itself with ``kill -9`` at one of its requests.

``python -m tests.watchdog.victim BASE_URL FLAG_ID FOLDER REQUEST before|after``. It prints the end of each wait, and
continues with the next line of its input, as a process that Airflow starts. It prints its number of requests at its
end.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import requests

from airflow_provider_ampexp.rollout import RolloutPlan
from airflow_provider_ampexp.rollout._vocabulary import VerdictLike
from tests.watchdog.rollouts import Deferred, Ended, Rollout, write_to


def fails_at_25(percentage: float) -> VerdictLike:
    return "fail" if percentage >= 25 else "pass"


PLAN = RolloutPlan([1, 5, 25, 50], soak="1h", guardrails=[fails_at_25])


def main(base_url: str, flag_id: str, folder: str, kill_at: str, when: str) -> None:
    send, count = requests.Session.send, 0

    def sent(session: requests.Session, request: requests.PreparedRequest, **how: Any) -> requests.Response:
        nonlocal count
        count += 1
        if count == int(kill_at) and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        response = send(session, request, **how)
        if count == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    requests.Session.send = sent  # type: ignore[method-assign]
    rollout = Rollout(base_url, flag_id, [PLAN], write_to(Path(folder)), fails_at_25)
    while True:
        try:
            rollout.step()
        except Deferred as wait:
            print(wait.until.isoformat(), flush=True)
            sys.stdin.readline()
        except Ended:
            print(count, flush=True)
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
