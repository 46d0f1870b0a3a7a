// The stages of the plan, each with the last result of each guardrail.
import { sign } from "./chart.js";
import { between, element, marks as known, moment, span, until } from "./format.js";

const signs = { passed: "✓ ", present: "● ", failed: "✕ " };

export function stages({ rollout, now }) {
  if (!rollout) return null;
  return element("ol", { class: "stages", "aria-label": "Stages of the plan" }, rollout.plan.map((stage) => {
    const soaked = stage.state === "present" && rollout.stands_since && stage.soak ? between(rollout.stands_since, now) : null;
    const part = soaked !== null ? Math.min(100, (100 * soaked) / stage.soak) : /passed|failed/.test(stage.state) ? 100 : 0;
    return element("li", { class: stage.state.replace(" ", "-"), "aria-current": stage.state === "present" ? "step" : null },
      element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "fill", style: { width: `${part}%` } })),
      element("b", {}, `${signs[stage.state] ?? ""}${stage.percentage} %`),
      element("span", { class: "under" }, time(stage, soaked, now)),
      verdicts(stage, now));
  }));
}

function time({ state, note, soak, starts }, soaked, now) {
  const length = soak ? `soaks ${span(soak)}` : "no soak";
  if (soaked !== null) return `${span(soaked)} of ${span(soak)}`;
  if (state === "ahead" && starts) return [element("span", {}, `Earliest ${moment(starts)}`), element("br"), `${until(starts, now)} · ${length}`];
  return note || (state === "not reached" ? state : length);
}

function verdicts({ verdicts: results, next_check }, now) {
  const lines = results.map(({ name, verdict, why, at, passes, checks }) =>
    element("li", { title: `${moment(at)}: ${why}` }, sign(known[verdict]?.shape ?? "diamond"),
      element("span", {}, element("b", {}, name), ` ${words[verdict] ?? verdict}`,
        element("span", { class: "under" }, verdict === "pass" ? `${passes} of ${checks} checks passed` : why))));
  const due = next_check && element("li", { class: "under" }, `Next check ${until(next_check, now)}.`);
  return lines.length || due ? element("ul", { class: "verdicts", "aria-label": "Guardrails at this stage" }, lines, due) : null;
}

const words = { pass: "passed", fail: "failed", inconclusive: "was inconclusive", error: "raised an error" };
