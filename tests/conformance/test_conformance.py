"""The conformance suite reports no difference for the emulator, and exactly the differences of another server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_ampexp.conformance._cli import main
from airflow_provider_ampexp.conformance._questions import QUESTIONS, Question
from airflow_provider_ampexp.conformance._report import ask_all
from airflow_provider_ampexp.conformance._scratch import ForeignObjectError, Scratch, ScratchObject
from airflow_provider_ampexp.emulator.control import Emulator


@pytest.fixture
def service(amplitude_emulator: Emulator) -> Emulator:
    amplitude_emulator.settings(extra_endpoints=True)  # the rate limit is on
    return amplitude_emulator


@pytest.fixture
def scratch(service: Emulator) -> Iterator[Scratch]:
    with Scratch(service.base_url, "ampex_demo", service.project_id) as scratch:
        yield scratch


class OtherHabits(BaseHTTPRequestHandler):
    """A server in front of the emulator, without ``Date`` and with null tags."""

    protocol_version = "HTTP/1.1"
    emulator = ""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _forward(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        sent = requests.request(
            self.command,
            self.emulator + self.path,
            data=self.rfile.read(length),
            headers={"Authorization": self.headers["Authorization"], "Content-Type": "application/json"},
            timeout=10,
        )
        content = sent.content
        if isinstance(body := _json(sent), dict) and "tags" in body:
            content = json.dumps({**body, "tags": None}).encode()
        self.wfile.write(f"HTTP/1.1 {sent.status_code} X\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)

    do_GET = do_POST = do_PATCH = do_DELETE = _forward


def _json(sent: requests.Response) -> Any:
    try:
        return sent.json()
    except ValueError:
        return None


@pytest.fixture
def other(service: Emulator) -> Iterator[str]:
    service.settings(numeric_ids=True, ignore_filters=True, created_by="object")
    handler = type("Handler", (OtherHabits,), {"emulator": service.base_url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_emulator_answers_as_the_suite_expects(scratch: Scratch) -> None:
    report = ask_all(scratch)
    assert {difference.question.name: difference.answer for difference in report.differences} == {}
    assert report.text() == f"{len(QUESTIONS)} questions, 0 differences.\n\n"


def test_a_server_with_other_habits_has_exactly_those_differences(service: Emulator, other: str) -> None:
    with Scratch(other, "ampex_demo", service.project_id) as scratch:
        report = ask_all(scratch)
    both = {
        "the response to the creation of {a}": "200, id: number, url: text",
        "the id of {a}": "number",
        "the project of {a}": "number",
        "the tags of a new {one}": "null",
        "an edit of the tags of {a}": "200, then None",
        "createdBy of {a}": "object",
        "createdBy of a version, of {a}": "object",
        "an archived {one}": "200, deleted True; in the list False, with includeArchived False",
    }
    words = ({"a": "a flag", "one": "flag"}, {"a": "an experiment", "one": "experiment"})
    expected = {name.format(**word): answer for name, answer in both.items() for word in words}
    expected |= {"the filter key of the flags": "ignored", "the filter key of the experiments": "ignored"}
    groups = ("a mutual exclusion group", "a holdout group")
    expected |= {f"the response to the creation of {a}": "200, id: number, url: text" for a in groups}
    expected |= {"the header Date": "absent", "the filter projectId": "ignored"}
    assert {difference.question.name: difference.answer for difference in report.differences} == expected
    assert "| the header Date | absent | the present time | supposed |" in report.text()


def test_it_archives_what_it_created_and_leaves_everything_else(service: Emulator, scratch: Scratch) -> None:
    service.create_flag("of-a-person", enabled=True, rolloutPercentage=50)
    service.create_experiment("of-a-person-too")
    kinds = ("flags", "experiments", "mutexes", "holdouts")
    before = [stored for kind in kinds for stored in service.dump()[kind]]
    ask_all(scratch)
    after = [stored for kind in kinds for stored in service.dump()[kind]]
    others = [item for item in after if not item["key"].startswith("ampexp-conformance-")]
    assert others == before
    assert all(item["deleted"] for item in after if item not in others)
    assert len(after) - len(others) == len(scratch.made) > 60


def test_an_object_whose_creation_has_no_response_is_archived_too(service: Emulator, scratch: Scratch) -> None:
    service.fault("cut_after", times=1, route="POST /api/1/flags")
    report = ask_all(scratch, [question for question in QUESTIONS if question.name == "the id of a flag"])
    assert report.answers[0].answer.startswith("no response (")
    assert [flag["deleted"] for flag in service.dump()["flags"]] == [True]
    assert report.left == ()


def test_an_archive_without_a_response_leaves_the_others_archived(service: Emulator, scratch: Scratch) -> None:
    made = [scratch.create("flags") for _ in range(3)]
    service.fault("cut_before", times=1)
    assert scratch.archive_all() == made[:1]
    assert [flag["deleted"] for flag in service.dump()["flags"]] == [False, True, True]


def test_a_service_that_is_not_reached_is_an_error_in_words(
    service: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SCRATCH", service.connection_json)
    service.fault("cut_before", times=1)
    assert main(["--key-from-connection", "scratch", "--project", service.project_id]) == 2
    assert "Conformance suite failed: no response from http" in (said := capsys.readouterr().err)
    assert "(ConnectionError). Nothing was created." in said


@pytest.mark.parametrize("method", ["PATCH", "POST", "DELETE"])
def test_a_change_of_another_object_is_not_sent(service: Emulator, scratch: Scratch, method: str) -> None:
    flag = service.create_flag("of-a-person")
    service.clear_requests()
    with pytest.raises(ForeignObjectError, match="was not created by this run"):
        scratch.write(method, ScratchObject("flags", flag["id"], flag["key"]), body={"archive": True})
    with pytest.raises(ForeignObjectError, match="expected a key that begins with 'ampexp-conformance-'"):
        scratch.post_object("flags", key="checkout")
    with pytest.raises(ForeignObjectError, match="in project"):
        scratch.post_object("flags", projectId="100002")
    assert service.requests()["total"] == 0


def test_an_error_in_a_question_leaves_nothing_behind(service: Emulator, scratch: Scratch) -> None:
    def broken(scratch: Scratch) -> str:
        scratch.create("flags")
        raise RuntimeError("a mistake in the suite")

    with pytest.raises(RuntimeError):
        ask_all(scratch, [Question("broken", "supposed", "200", broken)])
    assert [flag["deleted"] for flag in service.dump()["flags"]] == [True]


def test_a_service_that_does_not_answer_is_a_difference(service: Emulator, scratch: Scratch) -> None:
    service.fault("cut_before", times=1)
    (answer,) = ask_all(scratch, QUESTIONS[:1]).answers
    assert answer.answer.startswith("no response (")
    service.fault("garbage", times=1)
    question = next(question for question in QUESTIONS if question.name == "the id of a flag")
    (answer,) = ask_all(scratch, [question]).answers
    assert answer.answer.startswith("another shape (LookupError: ")


def test_the_command_takes_the_key_of_a_connection_and_writes_a_report(
    service: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SCRATCH", service.connection_json)
    out = tmp_path / "report.md"
    command: Callable[..., int] = lambda *more: main(  # noqa: E731
        ["--key-from-connection", "scratch", "--project", service.project_id, *more]
    )
    assert command("--out", str(out)) == 0
    said = capsys.readouterr().out
    assert f"{len(QUESTIONS)} questions, 0 differences." in said
    assert "ampex_demo" not in said + out.read_text()
    service.settings(created_by="number")
    assert command() == 1
    service.fault("status", status=401, times=1)
    assert command() == 2
    assert "does not accept the key. Nothing was created." in capsys.readouterr().err
    assert main(["--key-from-connection", "nobody", "--project", "1"]) == 2
    assert "Conformance suite failed: The conn_id `nobody` isn't defined. Nothing was sent." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("--out", ""), "--out: cannot write '.' (Is a directory)"),
        (("--out", "missing/report.md"), "--out: cannot write 'missing/report.md' (No such file or directory)"),
        (("--project", ""), "--project: expected a non-empty string, got ''"),
        (("--project", "None"), "--project: expected a text, got 'None'"),
        (("--project", "7"), "--project: the key has no access to project '7' of http"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_created(
    service: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    given: tuple[str, ...],
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_SCRATCH", service.connection_json)
    assert main(["--key-from-connection", "scratch", "--project", service.project_id, *given]) == 2
    assert f"Conformance suite failed: {problem}" in capsys.readouterr().err
    assert service.dump()["flags"] == []


def test_the_page_of_the_documentation_has_each_question() -> None:
    page = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
    rows = "".join(f"| {question.name} | {question.expected} | {question.source} |\n" for question in QUESTIONS)
    assert rows in page, "write the rows of QUESTIONS into docs/conformance.md"
