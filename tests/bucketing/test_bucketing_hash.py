"""The hash is murmur3_x86_32 of "salt/value", with the standard library and with mmh3."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from amplitude_experiment.evaluation.murmur3 import hash32x86

from airflow_provider_ampexp.bucketing import Bucketer, bucket, buckets
from airflow_provider_ampexp.bucketing import _hash as hash_module


@pytest.fixture(params=["stdlib", "mmh3"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "stdlib":
        monkeypatch.setattr(hash_module, "_mmh3_hash", None)
    else:
        assert hash_module._mmh3_hash is not None
    return str(request.param)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize(
    ("salt", "value", "expected"),
    [("", "a", 1542749969), ("mHdQDzeE", "user-1", 2879521177), ("saltsal", "k2O3QXtjzycS", 2147483650)],
)
def test_the_hash_of_known_texts(salt: str, value: str, expected: int) -> None:
    assert bucket(salt, value) == expected


@pytest.mark.usefixtures("implementation")
def test_the_hash_is_the_vendors_for_all_lengths_and_characters() -> None:
    chosen = random.Random(11)
    pairs = [
        ("".join(chosen.choices("aZ09/é€😀", k=salt)), "".join(chosen.choices("bY18/@ü漢🎉", k=size)))
        for salt in range(12)
        for size in range(1, 60)
    ]
    assert [pair for pair in pairs if bucket(*pair) != hash32x86("/".join(pair))] == []


@pytest.mark.usefixtures("implementation")
def test_values_that_are_no_text_are_hashed_as_their_text_and_null_has_no_hash() -> None:
    values = ["u", True, 1.0, 7, 0, None, "", ["a", 1]]
    texts = ["u", "True", "1.0", "7", "0", None, None, '["a", 1]']
    expected = [None if text is None else hash32x86(f"salt/{text}") for text in texts]
    assert list(buckets("salt", values)) == expected
    assert [Bucketer("salt").bucket_or_none(value) for value in values] == expected
    for value in (None, "", float("nan")):
        with pytest.raises(ValueError, match=f"expected a bucketing value, got {value!r}"):
            bucket("salt", value)


class Column:
    """A column of Arrow. Its elements are objects of Arrow, also a null."""

    def __init__(self, values: list[str | None]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[object]:
        return (SimpleNamespace(as_py=value) for value in self.values)

    def __getitem__(self, part: slice) -> Column:
        return Column(self.values[part])

    def to_pylist(self) -> list[str | None]:
        assert len(self) <= 10_000, "a part of the column at a time"
        return self.values


@pytest.mark.usefixtures("implementation")
def test_a_column_of_arrow_is_read_as_its_python_values_in_parts() -> None:
    column = Column(["a", None, "", "ü"] * 6000)
    assert list(buckets("salt", column)) == [bucket("salt", "a"), None, None, bucket("salt", "ü")] * 6000


def test_the_stream_is_read_as_it_is_consumed() -> None:
    read: list[int] = []

    def values() -> object:
        for number in range(100_000):
            read.append(number)
            yield number

    stream = buckets("salt", values())  # type: ignore[arg-type]
    next(stream)
    assert len(read) < 20_000
