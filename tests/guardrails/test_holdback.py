"""The holdback guardrail on a SQLite database: its groups, verdicts and refusals."""

from __future__ import annotations

import copy
import pickle
import random
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from moments import BEGAN, moment

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.bucketing import Bucketer
from airflow_provider_ampexp.guardrails import CheckResult, HoldbackGuardrail, _warehouse, run_checks
from airflow_provider_ampexp.guardrails._bands import read_row
from airflow_provider_ampexp.guardrails._run import preflight
from airflow_provider_ampexp.rollout._history import read_history

SALT = "sAlt12"
HASH = Bucketer(SALT)
CONFIG: dict[str, Any] = {
    "key": "new-checkout",
    "enabled": True,
    "bucketingKey": "amplitude_id",
    "bucketingSalt": SALT,
    "rolloutPercentage": 10,
    "variants": [{"key": "treatment"}],
    "rolloutWeights": {"treatment": 1},
    "targetSegments": [],
}
USERS = "select id, orders from users"
WITH_EXPOSED = "select id, orders, exposed from users"


class Shop:
    """A table of users, and the connection `warehouse` to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run("create table users (id, orders, exposed)")

    def run(self, sql: str, rows: Any = ((),)) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.executemany(sql, rows)

    def open(
        self,
        users: int = 20_000,
        *,
        percentage: float = 10,
        orders: Callable[[bool], float] = lambda has_it: 1,
        seed: int = 1,
    ) -> None:
        """Add users. Half of them order, and ``orders`` is the number with and without the feature."""
        rng = random.Random(seed)
        self.run("delete from users")
        self.run("insert into users values (?, ?, ?)", list(self._users(rng, users, percentage, orders)))

    def _users(
        self,
        rng: random.Random,
        users: int,
        percentage: float,
        orders: Callable[[bool], float],
    ) -> Iterator[tuple[str, float, bool]]:
        for _ in range(users):
            user = f"{rng.getrandbits(40):x}"
            has_it = HASH.bucket(user) % 100 < percentage
            yield user, orders(has_it) * (rng.random() < 0.5), has_it


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    path = tmp_path / "shop.db"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f'{{"conn_type": "sqlite", "host": "{path}"}}')
    return Shop(path)


def guardrail(sql: str = USERS, **changed: Any) -> HoldbackGuardrail:
    return HoldbackGuardrail(
        "warehouse", sql, **{"name": "orders per user", "worse": "lower", "no_data": "hold", **changed}
    )


def answer(
    sql: str = USERS,
    config: dict[str, Any] | None = None,
    *,
    percentage: float = 10,
    hours: float = 1,
    history: Any = (),
    segment: str | None = None,
    **changed: Any,
) -> CheckResult:
    at = moment(
        hours,
        percentage=percentage,
        config={**CONFIG, **(config or {})},
        history=history,
        segment=segment,
        variant=None,
    )
    return run_checks([guardrail(sql, **changed)], at)[0][1]


# the verdicts


def test_a_feature_that_changes_nothing_passes(shop: Shop):
    shop.open()
    assert answer().verdict == "pass"


def test_a_shown_harm_fails_in_a_sentence(shop: Shop):
    shop.open(orders=lambda has_it: 0.7 if has_it else 1)
    said = answer()
    assert said.value == pytest.approx(-0.3, abs=0.05)
    assert said == CheckResult(
        "fail",
        "30.1 % lower (99 % always-valid bounds -37.8 % to -22.4 %) among 2,126 with the feature than among "
        "17,874 in the control",
        said.value,
        interval=said.interval,
    )
    assert said.interval is not None
    assert (round(said.interval.low, 3), round(said.interval.high, 3)) == (-0.378, -0.224)
    assert (said.interval.worse, said.interval.at_most_worse) == ("lower", None)


def test_each_comparison_has_its_bounds_for_the_page(shop: Shop):
    shop.open()
    assert answer().interval is not None
    undecided = answer(worse="higher", at_most_worse=0.01)
    assert (undecided.verdict, undecided.interval and undecided.interval[2:]) == ("inconclusive", ("higher", 0.01))
    shop.open(users=100)
    assert answer().interval is None  # too few users to compare


@pytest.mark.parametrize(("worse", "verdict"), [("lower", "pass"), ("higher", "fail")])
def test_worse_says_on_which_side(shop: Shop, worse: str, verdict: str):
    shop.open(orders=lambda has_it: 1.5 if has_it else 1)
    assert answer(worse=worse).verdict == verdict


def test_an_acceptable_harm_passes_once_more_is_ruled_out(shop: Shop):
    shop.open()
    assert answer(at_most_worse=0.5).verdict == "pass"
    said = answer(at_most_worse=0.01)
    assert said.verdict == "inconclusive"
    assert said.why.endswith(" in the control. 1.0 % worse is not ruled out")


def test_a_shown_harm_that_is_acceptable_passes(shop: Shop):
    shop.open(orders=lambda has_it: 0.8 if has_it else 1)
    assert answer().verdict == "fail"
    assert answer(at_most_worse=0.4).verdict == "pass"
    assert answer(at_most_worse=0.2).verdict == "fail"


def test_alpha_is_shown_and_makes_the_bounds_wider(shop: Shop):
    shop.open(orders=lambda has_it: 0.9 if has_it else 1)
    assert "(90 % always-valid" in answer(alpha=0.1).why
    assert answer(alpha=0.1).verdict == "fail"
    assert answer(alpha=0.0001).verdict == "pass"


def test_a_cap_keeps_one_user_from_outweighing_all_others(shop: Shop):
    shop.open(orders=lambda has_it: 0.7 if has_it else 1)
    shop.run("update users set orders = 100000 where id = (select id from users where not exposed)")
    assert answer().verdict == "pass"
    assert answer(cap=2).verdict == "fail"


# too few users, and no users


@pytest.mark.parametrize(("users", "verdict"), [(990, "inconclusive"), (1010, "pass")])
def test_each_group_should_have_min_users(shop: Shop, users: int, verdict: str):
    shop.open(users)
    assert answer().verdict == verdict
    assert answer(no_data_grace="2h").effect == ("wait" if verdict == "inconclusive" else None)


def test_each_group_should_have_min_nonzero(shop: Shop):
    shop.open(2000)
    assert answer(min_nonzero=90).verdict == "pass"
    said = answer(min_nonzero=110)
    assert said.verdict == "inconclusive"
    assert "a metric other than 0 to expect 110 in each group" in said.why


def test_a_feature_that_stops_all_orders_is_found(shop: Shop):
    """No user with the feature has an order. This must not count as too few users."""
    shop.open(orders=lambda has_it: 0 if has_it else 1)
    assert answer().verdict == "fail"


def test_users_without_any_variance_say_nothing(shop: Shop):
    shop.open()
    said = answer("select id, 1.0 from users")
    assert (said.verdict, said.why) == ("inconclusive", "all users have the same value")


@pytest.mark.parametrize(("no_data", "verdict"), [("rollback", "fail"), ("hold", "fail"), ("pass", "pass")])
def test_no_users_are_what_the_plan_says(shop: Shop, no_data: str, verdict: str):
    assert answer(no_data=no_data).verdict == verdict
    assert answer(no_data=no_data, no_data_grace="2h").effect == "wait"


def test_users_who_are_lost_by_the_feature_are_found(shop: Shop):
    """A wrong ratio fails, although the other users order as much."""
    shop.open()
    shop.run("delete from users where exposed and rowid % 3 = 0")
    said = answer()
    assert said.verdict == "fail"
    assert said.why.startswith("users are missing from a group: 1,406 with the feature (expected 1,928) and 17,")
    shop.run("delete from users where exposed")
    assert answer().why.startswith("users are missing from a group: 0 with the feature (expected 1,")


# the groups


def position(change: tuple[int, float, bool]) -> dict[str, Any]:
    number, percentage, enabled = change
    at = (BEGAN + timedelta(days=10 * number - 50)).isoformat()
    config = {**CONFIG, "rolloutPercentage": percentage, "enabled": enabled}
    return {"version": number, "createdAt": at, "createdBy": "Maria", "flagConfig": config}


def history(*positions: tuple[float, bool]) -> Any:
    """Return a version every ten days, from 40 days before the stage on."""
    return read_history([position((number, *exposure)) for number, exposure in enumerate(positions, 1)])


def control_of(said: CheckResult) -> int:
    return int(said.why.split(" than among ")[1].split(" in the control")[0].replace(",", ""))


@pytest.mark.parametrize(
    ("positions", "lowest"),
    [
        ([(0, True)], 10),
        ([(0, True), (40, True), (0, True)], 40),  # 40 % until 20 days ago
        ([(80, True), (0, True), (40, True), (0, True)], 40),  # 80 % until 30 days ago: outside of the look-back
        ([(80, True), (40, False), (0, True)], 10),  # disabled, so no user got 40 %
        ([(80, True), (0, True), (5, True), (10, True)], 10),
    ],
)
def test_the_control_never_had_the_feature_within_the_lookback(
    shop: Shop, positions: list[tuple[float, bool]], lowest: int
):
    shop.open()
    with closing(sqlite3.connect(shop.path)) as db:
        ids = [user for (user,) in db.execute("select id from users")]
    expected = sum(HASH.bucket(user) % 100 >= lowest for user in ids)
    since = history(*positions)
    assert control_of(answer(history=since, lookback="29d")) == expected


def test_a_longer_lookback_leaves_a_smaller_control(shop: Shop):
    shop.open()
    since = history((80, True), (0, True))
    assert control_of(answer(history=since)) > 3 * control_of(answer(history=since, lookback="90d"))


@pytest.mark.parametrize(
    ("positions", "is_refused"),
    [
        ([(0, True), (40, True), (0, True)], True),  # 40 % of the old hash until 20 days ago
        ([(40, True), (0, True), (0, True), (0, True)], False),  # until 30 days ago: outside of the look-back
        ([(0, True), (40, False), (0, True)], False),  # disabled, so no user got it
    ],
)
@pytest.mark.parametrize("field", ["bucketingSalt", "bucketingKey"])
def test_another_hash_within_the_lookback_leaves_no_control(
    shop: Shop, positions: list[tuple[float, bool]], is_refused: bool, field: str
):
    """The users of the old hash had the feature, and are now in both groups."""
    shop.open()
    before = [position((number, *change)) for number, change in enumerate(positions, 1)]
    for version in before[:-1]:
        version["flagConfig"][field] = "other"
    before[-1]["flagConfig"][field] = CONFIG[field]
    said = answer(history=read_history(before), lookback="29d")
    assert (said.verdict == "error") is is_refused, said
    if is_refused:
        assert f"{field} was changed within 29 days" in said.why


def test_a_raise_that_has_no_time_counts(shop: Shop):
    shop.open()
    versions = [{**position((1, 80, True)), "createdAt": None}, {**position((2, 0, True)), "createdAt": None}]
    assert 3000 < control_of(answer(history=read_history(versions))) < 5000


def test_a_fraction_lets_in_the_same_users_as_the_next_whole_percentage(shop: Shop):
    shop.open(orders=lambda has_it: 0.5 if has_it else 1)
    assert answer(percentage=9.5) == answer(percentage=10)


def test_of_several_variants_one_is_compared(shop: Shop):
    shop.open(percentage=50, orders=lambda has_it: 1)
    config = {"variants": [{"key": "control"}, {"key": "treatment"}], "rolloutWeights": {"control": 3, "treatment": 1}}
    said = answer(config=config, percentage=50, variant="treatment")
    assert said.verdict == "pass"
    treated = int(said.why.split(" among ")[1].split(" with the feature")[0].replace(",", ""))
    assert treated == pytest.approx(20_000 / 8, rel=0.1)
    for wrong in (None, "off"):
        assert answer(config=config, percentage=50, variant=wrong).why.startswith(
            "ValueError: variant: expected one of"
        )


def test_a_segment_is_compared_by_its_own_key_and_percentage(shop: Shop):
    shop.open(orders=lambda has_it: 0.6 if has_it else 1)
    beta = {
        "name": "Beta",
        "percentage": 10,
        "bucketingKey": "user_id",
        "rolloutWeights": {"treatment": 1},
        "conditions": [{"type": "property", "prop": "plan", "op": "is", "values": ["beta"]}],
    }
    config = {"targetSegments": [beta], "rolloutPercentage": 0, "bucketingKey": "device_id"}
    said = answer(WITH_EXPOSED, config, segment="Beta")
    assert said.verdict == "fail"
    assert answer(WITH_EXPOSED, {**config, "targetSegments": []}, segment="Beta").verdict == "error"


# no control, and invalid controls


@pytest.mark.parametrize(("no_data", "verdict"), [("rollback", "fail"), ("hold", "fail"), ("pass", "pass")])
def test_at_100_percent_no_control_is_left(shop: Shop, no_data: str, verdict: str):
    shop.open()
    said = answer(percentage=100, no_data=no_data)
    assert said.verdict == verdict
    assert said.why.startswith("no control is left: the flag is at 100 %, or was within 30 days")


SEGMENTS = [{"name": "Beta", "percentage": 0, "rolloutWeights": {}, "conditions": []}]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"stickyBucketing": True}, "sticky bucketing keeps users in"),
        ({"bucketingSalt": None}, "the flag does not show: bucketingSalt"),
        ({"bucketingUnit": "company"}, "the flag buckets groups of type 'company'"),
        ({"rolloutWeights": {}}, "variant: expected one of the variants with a weight"),
        ({"targetSegments": SEGMENTS}, "the flag has target segments, so the hash alone does not decide"),
        ({"parentDependencies": {"flags": {"7": ["on"]}, "operator": "all"}}, "the flag has dependencies, so"),
    ],
)
def test_a_flag_without_a_control_is_refused_before_the_first_raise(shop: Shop, config: dict[str, Any], reason: str):
    assert reason in answer(config=config).why
    shop.open()
    said = answer(config=config)
    assert said.verdict == "error"
    assert reason in said.why
    before = moment(percentage=0, config={**CONFIG, **config}, variant=None)
    assert [why for _, why in preflight([guardrail()], before)] == [said.why]
    assert (
        preflight([guardrail("select id, orders, 0 from users")], moment(percentage=0, config=CONFIG, variant=None))
        == []
    )


def test_a_flag_that_was_at_100_percent_is_refused_before_the_first_raise(shop: Shop):
    before = moment(percentage=0, config=CONFIG, history=history((0, True), (100, True), (0, True)), variant=None)
    assert "no control is left" in preflight([guardrail()], before)[0][1]
    assert preflight([guardrail(lookback="10d")], before) == []


def test_segments_are_no_obstacle_where_the_query_says_who_was_exposed(shop: Shop):
    shop.open()
    assert answer(WITH_EXPOSED, {"targetSegments": SEGMENTS}).verdict == "pass"


@pytest.mark.parametrize("percentage", [1, 5, 50, 95])
def test_a_wrong_id_is_found_each_time(shop: Shop, percentage: int):
    """The exposed users differ from the users whom the hash of this id lets in."""
    shop.open(4000, percentage=percentage)
    assert answer(WITH_EXPOSED, percentage=percentage).verdict in ("pass", "inconclusive")
    for number in range(25):
        said = answer(f"select '{number}-' || rowid, orders, exposed from users", percentage=percentage)
        assert said.verdict == "error"
        assert "Is the first column 'amplitude_id', the flag's bucketing key?" in said.why


def test_a_wrong_id_is_found_at_a_low_percentage_that_few_users_notice(shop: Shop):
    """Fewer than 1 % of the control are exposed, and even fewer of the users with the feature."""
    shop.open(percentage=1)
    shop.run("update users set exposed = 0 where rowid % 2")
    assert answer(WITH_EXPOSED, percentage=1).verdict == "pass"
    assert answer("select 'other-' || rowid, orders, exposed from users", percentage=1).verdict == "error"


def test_a_few_testers_in_the_control_are_no_wrong_id(shop: Shop):
    shop.open()
    shop.run("update users set exposed = 1 where id in (select id from users where not exposed limit 100)")
    assert answer(WITH_EXPOSED).verdict == "pass"
    shop.run("update users set exposed = 1 where id in (select id from users where not exposed limit 100)")
    assert "of the control were exposed" in answer(WITH_EXPOSED).why
    shop.open(600)
    shop.run("update users set exposed = 1 where id in (select id from users where not exposed limit 10)")
    assert answer(WITH_EXPOSED).verdict == "inconclusive"


# the rows


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("a", 1), ("a", 1.0, False)),
        ((17, Decimal("2.5"), True), ("17", 2.5, True)),
        ((Decimal(17), 0.0, 0), ("17", 0.0, False)),
        (("a", 1, None), ("a", 1.0, False)),
    ],
)
def test_a_row_is_a_bucketing_value_a_metric_and_exposed(row: tuple[object, ...], expected: tuple[object, ...]):
    assert read_row(row) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "select id from users",
        "select id, orders, exposed, 1 from users",
        "select null, orders from users",
        "select '', orders from users",
        "select 1.5, orders from users",
        "select id, null from users",
        "select id, 'many' from users",
        "select id, 9e999 from users",
        "select id, orders, 'yes' from users",
        "select id, -orders from users",
        "select id from nowhere",
    ],
)
def test_what_are_no_users_is_an_error(shop: Shop, sql: str):
    shop.open(2000)
    assert answer(sql).verdict == "error"


def test_the_rows_are_streamed(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """Memory use does not grow with the number of rows."""
    monkeypatch.setattr(_warehouse, "_BATCH", 500)
    sql = """
        with recursive n(i) as (select 1 union all select i + 1 from n where i < {{ percentage }} * 1000)
        select 'user-' || i, i % 3 from n
    """
    peaks = []
    for percentage in (2, 2, 20):
        tracemalloc.start()
        answer(sql, percentage=percentage)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.3 * peaks[1]


def test_the_query_is_a_template(shop: Shop):
    shop.open()
    assert answer(f"{USERS} where {{{{ flag_key }}}} = 'new-checkout' and '2026' < {{{{ stage_started_at }}}}").value
    assert answer(f"{USERS} where {{{{ flag_key }}}} = 'another'").why == "the query has no users"


def test_late_data_are_waited_for(shop: Shop):
    shop.open()
    sql = f"{USERS} where '2026-03-01 12:30' < {{{{ loaded_until }}}}"
    assert answer(sql, loaded_at_sql="select '2026-03-01 12:45:00'").verdict == "pass"
    late = answer(sql, loaded_at_sql="select '2026-03-01 11:45:00'")
    assert (late.verdict, late.effect) == ("inconclusive", "wait")


# the arguments


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"worse": "less"}, "worse"),
        ({"alpha": 0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"detect": 0}, "detect"),
        ({"detect": "5 %"}, "detect"),
        ({"at_most_worse": -0.02}, "at_most_worse"),
        ({"cap": 0}, "cap"),
        ({"min_users": 0}, "min_users"),
        ({"min_nonzero": 2.5}, "min_nonzero"),
        ({"lookback": "soon"}, "lookback"),
        ({"no_data": None}, "no_data"),
        ({"sql": "select '{{ flag_key }}'"}, "sql"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(wrong: dict[str, Any], field: str):
    with pytest.raises(InvalidInputError) as refused:
        guardrail(**wrong)
    assert refused.value.field == field


def test_it_can_be_copied_and_pickled(shop: Shop):
    one = guardrail(lookback="14d", at_most_worse=0.02)
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    assert one.lookback == timedelta(days=14)
    assert isinstance(BEGAN, datetime)
