"""Draw the picture of a rollout in `docs/rollout.md`: an invented week, with the decisions of the real rules.

Run `python -m tools.rollout_picture` after a change of the rules. A test compares the picture with the stored one.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow_provider_ampexp.rollout import ChangeWindow, GuardrailPolicy, RolloutPlan
from airflow_provider_ampexp.rollout._actions import RollBack, RunGuardrails, SetStage, Wait
from airflow_provider_ampexp.rollout._analysis import GuardrailStatus
from airflow_provider_ampexp.rollout._decision import decide
from airflow_provider_ampexp.rollout._history import Exposure, FlagSnapshot, VersionEntry
from airflow_provider_ampexp.rollout._stages import parse_stages
from airflow_provider_ampexp.rollout._state import RolloutState

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "rollout.svg"

WINDOW = ChangeWindow(days="Mon-Thu", start="09:00", end="16:00", timezone="UTC")
PLAN = RolloutPlan(parse_stages([1, 10, 50, 100], "12h"), checked=True, check_every=timedelta(hours=4), window=WINDOW)
BEGAN = datetime(2026, 3, 2, 9, tzinfo=timezone.utc)  # a Monday
GOES_WRONG = BEGAN + timedelta(days=2, hours=7)
SHOWN_UNTIL = BEGAN + timedelta(days=3)


def story() -> tuple[list[VersionEntry], list[tuple[datetime, bool]]]:
    """Decide the week with the rules. Return the flag's versions, and the time of each check and whether it passed."""
    versions = [VersionEntry(1, BEGAN - timedelta(hours=5), "Ana", Exposure(0, enabled=False))]
    checks: list[tuple[datetime, bool]] = []
    state, now = RolloutState(), BEGAN
    while True:
        seen = FlagSnapshot(versions[-1].exposure or Exposure(0, False), history=tuple(reversed(versions)))
        act = decide(PLAN, seen, state, now)
        state = state.after_observation(PLAN, seen, now)
        if isinstance(act, SetStage):
            before, after = seen.exposure, Exposure(act.stage.percentage, enabled=True)
            versions.append(VersionEntry(len(versions) + 1, now, "Airflow", after))
            state = state.after_set_stage(
                before, now, after, FlagSnapshot(after, history=tuple(reversed(versions))), now
            )
        elif isinstance(act, RunGuardrails):
            checks.append((now, now < GOES_WRONG))
            streak = GuardrailStatus("checkout errors", GuardrailPolicy())
            state = state.after_checks([streak.with_result("pass" if now < GOES_WRONG else "fail", "", None, now)], now)
        elif isinstance(act, Wait):
            now = act.until
        elif isinstance(act, RollBack):
            versions.append(VersionEntry(len(versions) + 1, now, "Airflow", act.to))
            return versions, checks
        else:
            raise AssertionError(f"expected a rollback at the end of the story, got {act}")


_LEFT, _RIGHT, _TOP, _FLOOR, _WIDTH, _HEIGHT = 60, 790, 56, 240, 820, 300
_INK, _QUIET, _LINE, _GOOD, _BAD = "#1c2430", "#55606e", "#2457c5", "#0b6e4f", "#b3261e"


def draw() -> str:
    """Return the picture as SVG."""
    versions, checks = story()
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="13" role="img" aria-label="A rollout over three days, with windows, checks and a rollback">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="#f7f9fc"/>',
        *_windows(),
        *[_text(_LEFT - 8, _y(percentage) + 4, f"{percentage} %", "end", _QUIET) for percentage in (0, 10, 50)],
        f'<path d="{_steps(versions)}" fill="none" stroke="{_LINE}" stroke-width="2.5"/>',
    ]
    for moment, passed in checks:
        y = _y(_exposure_at(versions, moment))
        lines.append(_mark(_x(moment), y, passed))
    raised = [version for version in versions[2:-1] if version.at is not None and version.exposure is not None]
    for item in raised:
        lines.append(
            _text(_x(item.at) + 6, _y(item.exposure.percentage) - 12, "soaked, and the window is open", fill=_INK)
        )
    first, last = versions[1].at or BEGAN, versions[-1].at or BEGAN
    lines += [
        _text(_x(first) + 6, _y(1) - 12, "enabled at 1 %", fill=_INK),
        _text(_x(last) + 10, _y(25), "a check fails: back to the", fill=_BAD),
        _text(_x(last) + 10, _y(25) + 17, "start, at once, at any hour", fill=_BAD),
        _mark(_LEFT + 6, _HEIGHT - 18, True),
        _text(_LEFT + 18, _HEIGHT - 14, "a check passes", fill=_QUIET),
        _mark(_LEFT + 136, _HEIGHT - 18, False),
        _text(_LEFT + 148, _HEIGHT - 14, "a check fails", fill=_QUIET),
        f'<rect x="{_LEFT + 250}" y="{_HEIGHT - 27}" width="18" height="16" fill="#dcebe4"/>',
        _text(_LEFT + 274, _HEIGHT - 14, "the window: Mon-Thu, 09:00 to 16:00", fill=_QUIET),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _windows() -> list[str]:
    lines, opens = [], WINDOW.next_open(BEGAN)
    while opens < SHOWN_UNTIL:
        closes = WINDOW.closes(opens) or SHOWN_UNTIL
        x, width = _x(opens), _x(min(closes, SHOWN_UNTIL)) - _x(opens)
        lines.append(f'<rect x="{x}" y="{_TOP - 22}" width="{width}" height="{_FLOOR - _TOP + 22}" fill="#dcebe4"/>')
        lines.append(_text(x + 4, _TOP - 8, f"{opens:%a %H:%M}", fill=_QUIET))
        opens = WINDOW.next_open(closes)
    return [*lines, f'<path d="M{_LEFT} {_FLOOR} {_RIGHT} {_FLOOR}" stroke="{_QUIET}"/>']


def _exposure_at(versions: list[VersionEntry], moment: datetime) -> float:
    """Return the percentage that users got just before a time."""
    before = [
        version.exposure.effective_percentage
        for version in versions
        if version.exposure and version.at is not None and version.at < moment
    ]
    return before[-1]


def _steps(versions: list[VersionEntry]) -> str:
    path = f"M{_LEFT} {_y(0)}"
    for version in versions[1:]:
        if version.at is not None and version.exposure is not None:
            path += f" H{_x(version.at)} V{_y(version.exposure.effective_percentage)}"
    return f"{path} H{_RIGHT}"


def _x(moment: datetime | None) -> int:
    whole = SHOWN_UNTIL - BEGAN + timedelta(hours=2)
    return _LEFT + round(((moment or BEGAN) - BEGAN + timedelta(hours=2)) / whole * (_RIGHT - _LEFT))


def _y(percentage: float) -> int:
    # The scale is the square root, so that 1 % differs visibly from 0 %.
    return _FLOOR - round((percentage / 50) ** 0.5 * (_FLOOR - _TOP - 34))


def _text(x: int, y: int, text: str, anchor: str = "start", fill: str = _INK) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}">{text}</text>'


def _mark(x: int, y: int, passed: bool) -> str:
    """Return a ring for a pass, or a cross for a fail, so that they differ in more than the colour."""
    if passed:
        return f'<circle cx="{x}" cy="{y}" r="4" fill="#ffffff" stroke="{_GOOD}" stroke-width="2"/>'
    return f'<path d="M{x - 6} {y - 6} l12 12 m0 -12 l-12 12" stroke="{_BAD}" stroke-width="3"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw())
