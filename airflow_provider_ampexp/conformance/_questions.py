"""The questions to the service, each with the function that asks it and the emulator's answer.

The source of an expected answer is the contract, the vendor's present reference (``documented``), or an assumption
(``supposed``). An assumed answer is the strictest one for the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_provider_ampexp.conformance import _asks as asks
from airflow_provider_ampexp.conformance import _group_asks as group_asks
from airflow_provider_ampexp.conformance._scratch import KINDS

Source = Literal["contract", "documented", "supposed"]

_SEGMENT = {
    "name": "Conformance",
    "conditions": [{"type": "property", "prop": "city", "op": "is", "values": ["Berlin"]}],
    "percentage": 0,
    "rolloutWeights": {},
    "bucketingKey": "user_id",
}


@dataclass(frozen=True)
class Question:
    """A question to the service.

    :param name: the question, in words
    :param source: where the expected answer comes from
    :param expected: the answer of the emulator
    :param ask: asks the service, with objects of this run only, and returns the answer
    """

    name: str
    source: Source
    expected: str
    ask: asks.Ask


def _object_questions(kind: str) -> list[Question]:
    noun = kind.removesuffix("s")
    one = f"{'an' if noun.startswith('e') else 'a'} {noun}"
    return [
        Question(
            f"the response to the creation of {one}", "contract", "200, id: text, url: text", asks.create_answer(kind)
        ),
        Question(f"a second {noun} with the same key", "supposed", "400", asks.same_key(kind)),
        Question(
            f"an unknown field in the creation of {one}",
            "supposed",
            "400",
            lambda scratch: asks.status_of(scratch.post_object(kind, noSuchField=1)),
        ),
        Question(f"the id of {one}", "contract", "text", asks.field(kind, "id")),
        Question(f"the project of {one}", "contract", "text", asks.field(kind, "projectId")),
        Question(f"the tags of a new {noun}", "documented", "list", asks.field(kind, "tags")),
        Question(f"createdBy of {one}", "contract", "text", asks.field(kind, "createdBy")),
        Question(
            f"createdAt of {one}",
            "documented",
            "0000-00-00T00:00:00.000Z",
            asks.field(kind, "createdAt", asks.time_format),
        ),
        Question(f"enabled of a new {noun}", "contract", "False", asks.field(kind, "enabled", repr)),
        Question(f"the percentage of a new {noun}", "contract", "0", asks.field(kind, "rolloutPercentage", repr)),
        Question(
            f"an edit of the percentage of {one}",
            "contract",
            "200, then 5",
            asks.after(kind, {"rolloutPercentage": 5}, "rolloutPercentage"),
        ),
        Question(f"a percentage of 101 for {one}", "contract", "400", asks.edit(kind, {"rolloutPercentage": 101})),
        Question(
            f"a percentage of 0.5 for {one}",
            "supposed",
            "200, then 0.5",
            asks.after(kind, {"rolloutPercentage": 0.5}, "rolloutPercentage"),
        ),
        Question(f"an edit of an unknown field of {one}", "supposed", "400", asks.edit(kind, {"noSuchField": 1})),
        Question(
            f"an edit of the tags of {one}",
            "documented",
            "200, then ['a']",
            asks.after(kind, {"tags": ["a"]}, "tags"),
        ),
        Question(
            f"an edit of the segments of {one}",
            "documented",
            "200, then 1 segment",
            asks.after(
                kind, {"targetSegments": [_SEGMENT]}, "targetSegments", lambda value: f"{len(value or [])} segment"
            ),
        ),
        Question(
            f"an edit of a segment without its conditions, of {one}",
            "documented",
            "400",
            asks.edit(kind, {"targetSegments": [{"name": "Conformance", "percentage": 0, "rolloutWeights": {}}]}),
        ),
        Question(f"the versions of {one}", "contract", "newest first, steps of 1", asks.versions(kind, asks.order)),
        Question(
            f"the fields of a version's configuration, of {one}",
            "contract",
            "all",
            asks.versions(kind, asks.config_fields),
        ),
        Question(
            f"createdBy of a version, of {one}",
            "contract",
            "text",
            asks.versions(kind, lambda versions: asks.kind_of(versions[0].get("createdBy"))),
        ),
        Question(
            f"createdAt of a version, of {one}",
            "contract",
            "0000-00-00T00:00:00.000Z",
            asks.versions(kind, lambda versions: asks.time_format(versions[0].get("createdAt"))),
        ),
        Question(f"the filter key of the {kind}", "documented", "only this key", asks.key_filter(kind)),
        Question(
            f"an archived {noun}",
            "documented",
            "200, deleted True; in the list False, with includeArchived True",
            asks.archived(kind),
        ),
    ]


_GROUP_QUESTIONS = (
    Question(
        "the response to the creation of a mutual exclusion group",
        "documented",
        "200, id: text, url: text",
        group_asks.create_answer("mutexes"),
    ),
    Question(
        "the response to the creation of a holdout group",
        "documented",
        "200, id: text, url: text",
        group_asks.create_answer("holdouts"),
    ),
    Question("the slots of a mutual exclusion group", "documented", "1: 40 %, 2: 60 %", group_asks.slots),
    Question("slots whose percentages add up to 90", "supposed", "400", group_asks.wrong_sum),
    Question("a mutual exclusion group with the key of a flag", "supposed", "400", group_asks.key_of_a_flag),
    Question("an experiment in a slot", "documented", "200, then in [2]", group_asks.experiment_in_slots(2)),
    Question("an experiment in two slots", "supposed", "200, then in [1, 2]", group_asks.experiment_in_slots(1, 2)),
    Question("an experiment in a holdout group", "documented", "200, then True", group_asks.experiment_in_holdout),
    Question(
        "an archived mutual exclusion group",
        "supposed",
        "200, deleted True; in the list False",
        group_asks.archived("mutexes"),
    ),
    Question(
        "an archived holdout group", "supposed", "200, deleted True; in the list False", group_asks.archived("holdouts")
    ),
)

QUESTIONS: tuple[Question, ...] = (
    Question("a valid key", "contract", "200", lambda scratch: asks.status_of(scratch.get("/flags", limit="1"))),
    Question(
        "an invalid key",
        "documented",
        "401",
        lambda scratch: asks.status_of(scratch.get("/flags", bearer="ampex_not-a-key", limit="1")),
    ),
    Question("an unknown id", "documented", "404", lambda scratch: asks.status_of(scratch.get("/flags/0"))),
    Question("the header Date", "supposed", "the present time", asks.date_header),
    *(question for kind in KINDS for question in _object_questions(kind)),
    Question("the list of flags", "contract", "object with flags, nextCursor", asks.list_shape),
    Question("the order of the flags", "documented", "newest first", asks.newest_first),
    Question("the cursor of a page", "contract", "text", asks.cursor),
    Question("the cursor of the last page", "supposed", "absent", asks.last_cursor),
    Question("the filter projectId", "documented", "applied", asks.project_filter),
    Question("the response to an edit", "contract", "200 OK", asks.write_body),
    Question("an edit that changes nothing", "supposed", "200, 0 new versions", asks.unchanged),
    Question("a variant that is added", "supposed", "200, weight 0", asks.added_weight),
    Question("a second variant with the same key", "supposed", "400", asks.variant("POST", "", {"key": "on"})),
    Question("a variant without a key", "contract", "400", asks.variant("POST", "", {"name": "no key"})),
    Question("the removal of the last variant", "supposed", "400", asks.variant("DELETE", "/on")),
    Question("an edit of an unknown variant", "documented", "404", asks.variant("PATCH", "/nobody", {"name": "x"})),
    Question("a variant key with a slash and a space", "documented", "200, then 200", asks.odd_key),
    Question("the inclusions", "contract", "['ann', 'bob']", asks.inclusions(asks.users)),
    Question("an inclusion that exists", "supposed", "200, then ['ann', 'bob', 'ann']", asks.inclusions(asks.again)),
    Question(
        "the removal of an inclusion by its index", "contract", "200, then ['bob']", asks.inclusions(asks.remove("0"))
    ),
    Question("an index out of range", "supposed", "404, then ['ann', 'bob']", asks.inclusions(asks.remove("7"))),
    Question(
        "an index that is not a number", "supposed", "400, then ['ann', 'bob']", asks.inclusions(asks.remove("ann"))
    ),
    Question(
        "the removal of inclusions by value", "documented", "200, then ['bob']", asks.inclusions(asks.bulk_removal)
    ),
    Question("an edit of the dependencies of a flag", "supposed", "200, then as sent", asks.dependency),
    Question(
        "the versions of all flags",
        "documented",
        "200",
        lambda scratch: asks.status_of(scratch.get("/versions", limit="1")),
    ),
    *_GROUP_QUESTIONS,
    Question(
        "an experiment that is enabled", "supposed", "200, state running, startDate text", asks.enabled_experiment
    ),
    Question(
        "the decision to roll out",
        "documented",
        "200, state decision-made, percentage 0, winner treatment",
        asks.decided,
    ),
)
