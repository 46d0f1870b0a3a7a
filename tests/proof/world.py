"""The service of a story: the state and the rules of the emulator, behind ``requests`` and without a socket."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from airflow_provider_ampexp.emulator._state import snapshots, versions
from airflow_provider_ampexp.emulator._state.clock import Clock
from airflow_provider_ampexp.emulator._state.errors import Refusal
from airflow_provider_ampexp.emulator._state.flags import Kind
from airflow_provider_ampexp.emulator._state.service import Service
from airflow_provider_ampexp.emulator._state.user_edits import PersonEdit, carry_out
from airflow_provider_ampexp.rollout import _history as history
from airflow_provider_ampexp.rollout._history import FlagSnapshot, read_history
from tests.invariants.observed import Write
from tests.proof.airflow import Airflow
from tests.proof.story import Edit, Fault, PointKind, Story
from tests.proof.virtual import BEGIN, Timeline

FLAG = "1"
US = "Airflow"
_WAY = 0.1  # seconds of a request to the service, and of a response
_PRO = [{"type": "property", "prop": "plan", "op": "is", "values": ["pro"]}]
_PATIENCE = 400.0  # seconds for which the client may retry after a fault


def _kind_of(request: requests.PreparedRequest) -> PointKind:
    return "write" if request.method == "PATCH" else "step"


class _Clock(Clock):
    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self._timeline = timeline

    def now(self) -> float:
        return self._timeline.now.timestamp()


class World:
    """The service with one flag, and the edits of other actors.

    The history does not show three attributes. ``writes`` has the attempt of each version and the version that it had
    read. ``agreed`` has the versions of other actors that equal a write in flight. ``trouble`` has the times of faults.
    """

    def __init__(self, story: Story, timeline: Timeline, airflow: Airflow) -> None:
        self.story = story
        self.timeline = timeline
        self.writes: dict[int, Write] = {}
        self.agreed: set[int] = set()
        self.trouble: list[tuple[datetime, datetime]] = []
        self.first_seen: dict[int, datetime] = {}
        self.last_read: dict[int, int] = {}
        self._looks: dict[int, int] = {}
        self._asked: dict[str, tuple[int, int]] = {}
        self._airflow = airflow
        airflow.stands_since = self.stands_since
        self.service = Service()
        snapshots.reset(self.service)
        self.service.clock = _Clock(timeline)
        self.service.settings.version_gaps = story.version_gaps
        self.kind: Kind = "experiments" if story.is_experiment else "flags"
        snapshots.load(self.service, snapshots.Snapshot(**{self.kind: [self._flag()]}))
        self._arrange()

    @property
    def versions(self) -> list[dict[str, Any]]:
        """The complete history, oldest first."""
        return self.service.find(self.kind, FLAG).versions

    def stands_since(self) -> datetime:
        """Return since when the flag has its present exposure, by the complete history."""
        entries = read_history(self.versions, self.story.segment)
        assert entries[0].exposure is not None
        began = history.version_of_exposure(FlagSnapshot(entries[0].exposure, history=entries))
        assert began is not None
        assert began.at is not None
        return began.at

    def edit(self, edit: Edit) -> None:
        """Edit the flag as another actor. An edit that is no longer possible changes nothing."""
        fields = dict(edit.fields)
        if edit.adds:
            fields = {"targetSegments": [fields, *self.service.find(self.kind, FLAG).config["targetSegments"]]}
        if edit.segment is not None:
            now = self.service.find(self.kind, FLAG).config["targetSegments"]
            fields["targetSegments"] = [
                {**segment, **fields} if segment["name"] == edit.segment else segment for segment in now
            ]
            fields = {"targetSegments": fields["targetSegments"]}
        carry_out(self.service, PersonEdit(kind=self.kind, id=FLAG, by=edit.by, fields=fields))

    # -- requests ---------------------------------------------------------------------------------------------------

    def send(self, request: requests.PreparedRequest, timeout: float) -> requests.Response:
        """Answer a request, in place of the transport of ``requests``."""
        airflow, kind = self._airflow, _kind_of(request)
        maybe_die_answered = airflow.step(kind)
        racing = self.story.racing.get(airflow.counts["write"]) if kind == "write" else None
        fault = airflow.planned(self.story.faults, kind) or self._outage()
        if fault is not None:
            self._note_trouble(_PATIENCE + fault.seconds + self.story.poll_interval)
        self.timeline.sleep(_WAY)
        if racing is not None:
            self.edit(racing)
        basis = self.last_read.get(self._attempt, 0)
        response = self._carried_out(request, fault, timeout, basis)
        maybe_die_answered()
        self.timeline.sleep(_WAY)
        newest = int(response.headers.get("X-Newest", 0))
        if response.status_code == 200 and request.method == "GET" and newest:
            self.last_read[self._attempt] = newest
            self._note_look(str(request.url), newest)
        return response

    def _note_look(self, url: str, newest: int) -> None:
        """Note the first poll of an attempt: its first read of versions, or its second if the newest omits a field."""
        if url.endswith("/versions"):
            self._looks[self._attempt] = self._looks.get(self._attempt, 0) + 1
            is_thin = self.story.hides_where_it_stands(newest)
            if self._looks[self._attempt] == 2 or not is_thin:
                self.first_seen.setdefault(self._attempt, self.timeline.now)

    def _note_trouble(self, seconds: float) -> None:
        now = self.timeline.now
        self.trouble.append((now - timedelta(seconds=1), now + timedelta(seconds=seconds)))

    @property
    def _attempt(self) -> int:
        actor = self.timeline.actor
        return -1 if actor is None or actor.attempt is None else actor.attempt

    def _outage(self) -> Fault | None:
        for since, length, fault in self.story.outages:
            if since <= self.timeline.seconds < since + length:
                return fault
        return None

    def _carried_out(
        self, request: requests.PreparedRequest, fault: Fault | None, timeout: float, basis: int
    ) -> requests.Response:
        attempt = self._attempt

        def work() -> requests.Response:
            return self._worked_on(request, attempt, basis)

        if fault is None:
            return work()
        kind = fault.kind
        if kind == "refused":
            reason = NewConnectionError(None, "refused")  # type: ignore[arg-type]
            raise requests.ConnectionError(MaxRetryError(None, "/", reason))  # type: ignore[arg-type]
        if kind == "status":
            return self._answer(request, fault.status, b'{"error": "the story says so"}', fault)
        if kind == "cut before":
            raise requests.ConnectionError("the connection was cut")
        if kind == "slow":
            self.timeline.sleep(min(fault.seconds, timeout - 1))
            return work()
        if kind == "late":
            self.timeline.after(timeout + fault.seconds, work)
        else:
            work()
        if kind in ("timeout", "late"):
            self.timeline.sleep(timeout)
            raise requests.ReadTimeout("no answer in time")
        if kind == "cut after":
            raise requests.ConnectionError("the connection was cut")
        if kind == "cut body":
            raise requests.exceptions.ChunkedEncodingError("half an answer")
        if kind == "garbage":
            return self._answer(request, 200, b'{"flags": [', fault)
        return self._answer(request, fault.status, b"<html>", fault)

    def _worked_on(self, request: requests.PreparedRequest, attempt: int, basis: int) -> requests.Response:
        newest = self._newest
        try:
            body = self._body(request)
        except Refusal as refusal:
            return self._answer(request, refusal.status, json.dumps({"error": refusal.error}).encode(), None)
        self._note_writes(newest, attempt, basis)
        if request.method == "PATCH" and basis < newest == self._newest and not self.service.approvals.views():
            self.agreed.add(newest)  # nothing was left to do
        for pending in self.service.approvals.views():
            self._asked.setdefault(pending["id"], (attempt, basis))
        response = self._answer(request, 200, body, None)
        response.headers["X-Newest"] = str(newest if attempt >= 0 else 0)
        return response

    @property
    def _newest(self) -> int:
        return int(self.versions[-1]["version"])

    def _note_writes(self, newest: int, attempt: int, basis: int) -> None:
        for version in self.versions:
            if version["version"] > newest:
                self.writes[version["version"]] = Write(attempt, basis)

    def _body(self, request: requests.PreparedRequest) -> bytes:
        url = urlsplit(str(request.url))
        caller = self.service.admit(request.headers.get("Authorization"))
        if request.method == "PATCH":
            raw = request.body if isinstance(request.body, bytes) else str(request.body).encode()
            self.service.edit(caller, self.kind, FLAG, raw)
            return b"OK"
        _, _, _, of_kind, *rest = url.path.split("/")
        if of_kind not in ("flags", "experiments") or "cohorts" in rest:
            raise Refusal(404, "this service has no cohorts and no groups")
        kind: Kind = "experiments" if of_kind == "experiments" else "flags"  # a client may read the other kind
        if not rest:
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            return json.dumps({kind: self.service.list_objects(caller, kind, query)}).encode()
        thing = self.service.get(caller, kind, FLAG)
        if rest == [FLAG, "versions"]:
            return json.dumps(
                [self._shown(version) for version in versions.newest_first(thing, self.service.settings)]
            ).encode()
        assert url.path == f"/api/1/{kind}/{FLAG}", url.path
        return json.dumps(thing.view()).encode()

    def _shown(self, version: dict[str, Any]) -> dict[str, Any]:
        if not self.story.hides(version["version"]):
            return version
        config = {name: value for name, value in version["flagConfig"].items() if name not in self.story.omit}
        return {name: value for name, value in version.items() if name not in self.story.omit} | {"flagConfig": config}

    def _answer(
        self, request: requests.PreparedRequest, status: int, body: bytes, fault: Fault | None
    ) -> requests.Response:
        response = requests.Response()
        response.status_code = status
        response._content = body
        response.url = str(request.url)
        response.request = request
        response.headers["Date"] = self.service.clock.http_date()
        if fault is not None and fault.retry_after is not None:
            response.headers["Retry-After"] = str(fault.retry_after)
        return response

    # -- the set-up -------------------------------------------------------------------------------------------------

    def _flag(self) -> dict[str, Any]:
        percentage, enabled = self.story.start
        ramped = self.story.segment
        segments = [
            {"name": name, "percentage": percentage if name == ramped else self.story.others, "conditions": _PRO}
            for name in ("Staff", "Beta")
        ]
        return {
            "id": FLAG,
            "key": "checkout",
            "enabled": enabled,
            "rolloutPercentage": percentage if ramped is None else self.story.others,
            "targetSegments": segments,
            "variants": [{"key": "on"}, {"key": "other"}],
            "rolloutWeights": {"on": 1, "other": 0},
            **({"stickyBucketing": self.story.starts_sticky} if self.story.is_experiment else {}),
            "createdAt": (BEGIN - timedelta(days=3)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }

    def _arrange(self) -> None:
        for seconds, edit in self.story.edits:
            self.timeline.at(seconds, lambda edit=edit: self.edit(edit))
        for since, until, hold, is_given in self.story.approvals:
            self.timeline.at(since, lambda hold=hold: setattr(self.service.approvals, "hold", hold))
            self.timeline.at(until, lambda is_given=is_given: self._answer_approvals(is_given))

    def _answer_approvals(self, is_given: bool) -> None:
        """Approve or reject all pending changes as Olga. An approved change counts as the attempt's while it waits."""
        self.service.approvals.hold = "none"
        for pending in self.service.approvals.views():
            taken = self.service.approvals.take(pending["id"])
            newest = self._newest
            if is_given:
                self.service.apply(taken.thing, "Olga", taken.work)
            attempt, basis = self._asked[pending["id"]]
            if self._airflow.tries[attempt].ended is None:
                self._note_writes(newest, attempt, basis)
                if is_given and basis < newest == self._newest:
                    self.agreed.add(newest)  # nothing was left to do
