"""Find the change of another actor that a write overwrote, from the history: its actors, values and order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from airflow_provider_ampexp.client.types import FlagConfig, Version
from airflow_provider_ampexp.ensure._lost_updates import find_overwritten
from airflow_provider_ampexp.reconcile._overwritten_edit import find_overwritten_edit

OFF = -1.0
READ, SENT = 5.0, 25.0
READ_AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)

# After the read of 5 %, ours is the write of 25 % by "us"; another task with our key is "us", too. Expected is the
# overwritten change, and whether it is restored.
SEQUENCES: dict[str, tuple[str, tuple[float, bool] | None]] = {
    "only ours": ("us 25", None),
    "hers, then ours": ("maria 100, us 25", (100, True)),
    "she disables it, then ours": ("maria off, us 25", (OFF, True)),
    "ours, then hers": ("us 25, maria 0", None),
    "ours, hers, and ours once more": ("us 25, maria 0, us 25", (0, True)),
    "she leaves ours and comes back": ("us 25, maria 0, maria 25", None),
    "she goes far up and comes back": ("us 25, maria 100, maria 25", None),
    "hers last, after one that ours overwrote": ("maria 100, us 25, maria 0", None),
    "hers last, by disabling": ("maria 10, us 25, maria off", None),
    "she goes up and then to ours, which changes nothing": ("maria 100, maria 25", (100, False)),
    "she goes down and then to ours, which changes nothing": ("maria 0, maria 25", (0, True)),
    "she corrects Nina": ("us 25, nina 100, maria 25", (100, False)),
    "another task with our key was lower": ("us 0, us 25", (0, True)),
    "another task with our key was higher": ("us 100, us 25", (100, False)),
    "ours, another task with our key, and 25 again by one of them": ("us 25, us 0, us 25", (0, True)),
    "the same with a higher one": ("us 25, us 100, us 25", (100, False)),
}


def versions_of(sequence: str, *, seconds: float = 0.0) -> list[Version]:
    """Return version 1 by Seed at 5 %, and the others from ``seconds`` after the read on, 10 seconds apart."""
    steps = [("seed", str(READ)), *(tuple(step.split()) for step in sequence.split(", "))]
    found: list[Any] = []
    for number, (by, value) in enumerate(steps, start=1):
        config: dict[str, Any] = {
            "enabled": value != "off",
            "rolloutPercentage": READ if value == "off" else float(value),
        }
        at = READ_AT + timedelta(seconds=(number - 1) * 10 + seconds if number > 1 else -3600)
        found.append({"version": number, "createdBy": by, "createdAt": at.isoformat(), "flagConfig": config})
    return found[::-1]


def value_of(version: Version) -> float:
    config = version["flagConfig"]
    return config["rolloutPercentage"] if config["enabled"] else OFF


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_a_raise_of_a_rollout_overwrote(name: str) -> None:
    sequence, expected = SEQUENCES[name]
    observed: FlagConfig = {"enabled": True, "rolloutPercentage": READ}
    sent = {"enabled": True, "rolloutPercentage": SENT}
    lost = find_overwritten_edit(versions_of(sequence), 1, observed, sent, None)
    assert (lost and (value_of(lost.version), lost.is_restorable)) == expected


@pytest.mark.parametrize("name", [name for name, (sequence, _) in SEQUENCES.items() if "off" not in sequence])
def test_what_a_write_of_a_percentage_overwrote(name: str) -> None:
    sequence, expected = SEQUENCES[name]
    versions = versions_of(sequence)
    lost = find_overwritten(versions, lambda config: config["rolloutPercentage"], READ, SENT, read_at=READ_AT)
    restored = restored_by_a_percentage(versions)
    assert ((lost and lost.is_last and (value_of(lost.version), restored is not None)) or None) == expected


@pytest.mark.parametrize("read_at", [READ_AT, None])
def test_a_value_that_she_takes_back_to_what_was_read(read_at: datetime | None) -> None:
    """Our write was applied twice, because its response was lost. Only the time shows that Maria wrote 5 %."""
    versions = versions_of("us 25, maria 5, us 25")
    value = lambda config: config["rolloutPercentage"]  # noqa: E731
    lost = find_overwritten(versions, value, READ, SENT, read_at=read_at)
    assert (lost and lost.version["version"]) == (3 if read_at else None)


def test_the_same_long_before_the_read_is_no_change() -> None:
    versions = versions_of("us 25, maria 5, us 25", seconds=-25)
    lost = find_overwritten(versions, lambda config: config["rolloutPercentage"], READ, SENT, read_at=READ_AT)
    assert lost is None


def every_history(longest: int) -> Iterator[list[tuple[str, float, bool]]]:
    """Yield the actors, the values, and whether they are our write, after the read, in all orders.

    Our write is sent once or twice. A write without a change makes no version. Another task has our key.
    """
    actions = [(by, value, False) for by in ("us", "maria", "nina") for value in (0.0, READ, SENT, 100.0)]
    for length in range(1, longest + 1):
        for history in product([("us", SENT, True), *actions], repeat=length):
            if 1 <= sum(is_ours for _, _, is_ours in history) <= 2:
                yield list(history)


def test_every_short_history() -> None:
    """A higher percentage is restored only if our write came right after it. A lower one is never lost.

    One case is excluded: a person set our percentage before. Then a task with our key may look like that person.
    """
    raised = lowered = 0
    for history in every_history(4):
        steps = [("seed", READ, False)]
        for step in history:
            steps += [step] if step[1] != steps[-1][1] else []
        if not any(is_ours for _, _, is_ours in steps):
            continue  # the history does not show whether our write was applied
        versions = versions_of(", ".join(f"{by} {value}" for by, value, _ in steps[1:]))
        (_, had, was_ours), (_, now, is_ours) = steps[-2:]
        for restored in (restored_by_a_ramp(versions), restored_by_a_percentage(versions)):
            if restored is not None and restored > now:
                raised += 1
                assert is_ours, history
                assert restored == had, history
            persons = [by for by, value, _ in steps if by != "us" and value == SENT]
            if is_ours and not was_ours and len(steps) > 2 and had < now and not persons:
                lowered += 1
                assert restored == had, history
    assert raised > 100
    assert lowered > 100


def restored_by_a_ramp(versions: list[Version]) -> float | None:
    observed: FlagConfig = {"enabled": True, "rolloutPercentage": READ}
    lost = find_overwritten_edit(versions, 1, observed, {"rolloutPercentage": SENT}, None)
    return value_of(lost.version) if lost and lost.is_restorable else None


def restored_by_a_percentage(versions: list[Version]) -> float | None:
    lost = find_overwritten(versions, lambda config: config["rolloutPercentage"], READ, SENT, read_at=READ_AT)
    is_restored = lost and lost.is_last and (lost.is_certain or value_of(lost.version) < SENT)
    return value_of(lost.version) if lost and is_restored else None


def history_of_segments(*steps: tuple[str, int, int]) -> list[Version]:
    """Return a history of segment Beta, which is ramped, and of segment Staff."""
    return [
        {"version": number, "createdBy": by, "flagConfig": {"enabled": True, "targetSegments": two_segments(*shares)}}
        for number, (by, *shares) in enumerate([("seed", 5, 10), *steps], start=1)
    ]  # type: ignore[return-value]


def two_segments(beta: int, staff: int) -> list[dict[str, Any]]:
    return [{"name": "Beta", "percentage": beta}, {"name": "Staff", "percentage": staff}]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([("us", 5, 25), ("us", 25, 10)], (2, True), id="another task with our key raised its segment"),
        pytest.param([("us", 25, 10), ("us", 25, 0), ("us", 25, 10)], (3, True), id="lowered it before our repeat"),
        pytest.param([("us", 25, 10), ("us", 25, 100), ("us", 25, 10)], (3, False), id="raised it before our repeat"),
        pytest.param([("us", 25, 10), ("nina", 25, 100), ("maria", 25, 10)], (3, False), id="she corrects Nina"),
        pytest.param([("maria", 0, 10), ("us", 25, 10), ("maria", 25, 0)], (2, True), id="she lowers one by one"),
        pytest.param([("maria", 0, 10), ("us", 25, 10), ("maria", 3, 10)], None, id="she sets it again"),
    ],
)
def test_what_a_raise_of_a_segment_overwrote(
    steps: list[tuple[str, int, int]], expected: tuple[int, bool] | None
) -> None:
    observed: Any = {"enabled": True, "targetSegments": two_segments(5, 10)}
    sent = {"targetSegments": two_segments(25, 10)}
    lost = find_overwritten_edit(history_of_segments(*steps), 1, observed, sent, "Beta")
    assert (lost and (lost.version["version"], lost.is_restorable)) == expected
