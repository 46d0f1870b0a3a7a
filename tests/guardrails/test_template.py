"""Values in a query are always whole literals, never a part of the SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ampexp._validate import InvalidInputError
from airflow_provider_ampexp.guardrails._sql_template import rendered

VALUES: dict[str, object] = {
    "flag_key": "it's",
    "percentage": 5.0,
    "stage_started_at": datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1))),
    "variant": None,
    "segment": "x' or 1=1 --",
}


@pytest.mark.parametrize(
    ("template", "sql"),
    [
        ("select {{ flag_key }}", "select 'it''s'"),
        ("select {{ percentage }};\n", "select 5"),
        ("select {{ percentage / 2 }}", "select 2.5"),
        ("select {{ -percentage }}", "select (-5)"),
        ("select {{ stage_started_at }}", "select '2026-03-01 12:00:00+00:00'"),
        ("select {{ stage_started_at.strftime('%Y-%m-%d') }}", "select '2026-03-01'"),
        ("select {{ variant }}", "select NULL"),
        ("select {{ segment }}", "select 'x'' or 1=1 --'"),
        ("select {{ segment | safe }}", "select 'x'' or 1=1 --'"),
        ("select {{ flag_key ~ '%' }}", "select 'it''s%'"),
        ("select {{ 'constant' }}", "select 'constant'"),
        ("select {% if variant %}1{% else %}{{ percentage }}{% endif %}", "select 5"),
        ("select 'it''s' {{ percentage }} /* don't */ -- don't", "select 'it''s' 5 /* don't */ -- don't"),
        ("select '%' {# don't #}", "select '%'"),
    ],
)
def test_a_value_is_a_whole_literal(template: str, sql: str):
    assert rendered("sql", template, VALUES).rstrip() == sql


@pytest.mark.parametrize(
    "template",
    [
        "select '{{ flag_key }}'",
        "select ' {{ percentage }} '",
        'select "{{ flag_key }}"',
        "select `{{ flag_key }}`",
        "select 1 -- {{ flag_key }}",
        "select 1 /* {{ flag_key }} */",
        "select 1 /* {{ flag_key }}",
        "select 'it''s {{ flag_key }}'",
        "select '{{ flag_key }}",
        "select 'a' '{% if true %}{{ flag_key }}{% endif %}'",
        "select {% macro m() %}{{ flag_key }}{% endmacro %}{{ m() }}",
        "select {{ unknown }}",
        "select 1 {% if unknown %}+ 1{% endif %}",
        "select {{ flag_key.unknown }}",
        "select {{ flag_key",
        "select {{ [flag_key] }}",
        "select {{ flag_key ~ '\\\\' }}",
        "select {{ flag_key.__class__ }}",
        "select {{ flag_key + 1 }}",
        "select {{ percentage / 0 }}",
        "select {{ range(1000000) | sum }}",
        "select \x00",
        "   ",
    ],
)
def test_what_cannot_be_safe_is_refused(template: str):
    with pytest.raises(InvalidInputError, match=r"^sql: "):
        rendered("sql", template, VALUES)


@pytest.mark.parametrize("value", ["back\\slash", "two\nlines", "null\x00", float("nan"), datetime(2026, 1, 1), b"b"])
def test_a_value_that_cannot_be_a_literal_is_refused(value: object):
    with pytest.raises(InvalidInputError, match=r"^sql: "):
        rendered("sql", "select {{ value }}", {"value": value})


@given(st.text(alphabet="'\"`-/*; xor1=%{}") | st.text(alphabet="aé日\u2019\u2028\\\n\x00\x01'"))
def test_no_text_breaks_out(text: str):
    try:
        sql = rendered("sql", "select {{ value }}, 'end'", {"value": text})
    except InvalidInputError:
        assert "\\" in text or any(ord(character) < 32 or ord(character) == 127 for character in text)
        return
    with closing(sqlite3.connect(":memory:")) as database:
        assert database.execute(sql).fetchall() == [(text, "end")]
