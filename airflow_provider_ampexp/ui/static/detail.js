// The detail of a flag: its phase with reason and start, the next step, and its history.
import { ask, problem, showRequests } from "./api.js";
import { chart, key, save } from "./chart.js";
import { badge, bar } from "./list.js";
import { rollThisOut } from "./first.js";
import { intervals } from "./intervals.js";
import { stages } from "./stages.js";
import { ago, between, element, following, moment, out, percent, phase, place, runOf, sentence, span, taskOf, until, when } from "./format.js";

const remembered = { address: "", segment: undefined, range: undefined, before: "", after: "", inclusions: null, all: false };

export async function showDetail(connection, kind, id, refreshed) {
  const flag = await ask("connections", connection, kind, id);
  showRequests([{ connection, ...flag }]);
  if (remembered.address !== location.hash) Object.assign(remembered, { address: location.hash, segment: undefined, range: undefined, before: "", after: "", inclusions: null, all: false });
  if (refreshed && /^(SELECT|INPUT)$/.test(document.activeElement?.tagName)) return null; // a person is using a control
  const view = element("article", { class: "detail" },
    element("p", { class: "path" }, element("a", { href: "#/" }, "← All flags"), element("span", { class: "quiet" }, ` ${connection}`)),
    header(flag), headline(flag), flag.rollout ? null : rollThisOut({ ...flag, connection }), stages(flag), manualActions(flag), picture(flag), intervals(flag), facts(flag, connection), versions(flag), comparison(flag, connection));
  return view;
}

function header(flag) {
  const links = [flag.url && out(flag.url, "Open in Amplitude", "elsewhere")];
  if (flag.rollout) {
    const { dag_id, task_id } = flag.rollout;
    const task = taskOf(flag.rollout);
    links.push(out(runOf(flag.rollout), `DAG run of ${dag_id}`), out(task, `Task ${task_id}`), flag.rollout.reason === "approval" && out(`${task}/required_actions`, "Approve or reject"));
  }
  return element("header", {},
    element("h1", { title: flag.key }, flag.key),
    element("p", { class: "under" }, flag.kind === "flags" ? "flag" : "experiment", flag.state ? `, ${flag.state}` : "", flag.decision ? `, decision: ${flag.decision}` : "", flag.name && flag.name !== flag.key ? ` · ${flag.name}` : "", ` · project ${flag.project ?? "unknown"}`, flag.archived ? " · archived" : ""),
    element("nav", { class: "links", "aria-label": "Elsewhere" }, links));
}

function headline({ rollout, percentage, enabled, pictures, now, segments }) {
  const ramped = rollout?.segment ?? null;
  const steps = (pictures.find((series) => series.segment === ramped) ?? pictures[0])?.steps ?? [];
  const since = rollout?.stands_since ?? steps.at(-1)?.at ?? pictures[0]?.points[0]?.at;
  const audiences = [[null, segments.length ? "all users outside segments" : "all users", percentage], ...segments.map((segment) => [segment.name, `segment ${segment.name}`, segment.percentage])];
  const figures = audiences.sort(([name], [other]) => (other === ramped) - (name === ramped)).map(([name, label, share]) =>
    element("li", { class: name === ramped ? "ramped" : null }, element("strong", {}, enabled ? percent(share) : "Disabled"),
      element("span", {}, enabled ? `of ${label}` : `for ${label} (set to ${percent(share)})`)));
  return element("section", { class: `headline tone-${rollout?.colour ?? "none"}`, "aria-label": "State of the flag" },
    rollout && element("p", { class: "stands" }, phase(rollout), element("b", {}, sentence(rollout.label).slice(0, -1)), element("span", { class: "quiet" }, place(rollout))),
    element("ul", { class: "audiences", "aria-label": "Who gets it" }, figures),
    element("dl", {}, reasonsOf(rollout, steps, since, now).filter(([, text]) => text).flatMap(([term, text]) => [element("dt", {}, term), element("dd", {}, text)])));
}

const age = (text, now) => (text ? `${moment(text)}, for ${span(between(text, now))}` : "");

function reasonsOf(rollout, steps, since, now) {
  if (!rollout) {
    const last = steps.at(-1);
    return [["Why", last && `Changed from ${last.from} to ${last.to} by ${last.by}.`], ["Since", age(since, now)], ["Rollout", "No DAG that you may read has rolled out this flag in this Airflow."]];
  }
  const moved = since && !(Math.abs(between(since, rollout.since ?? since)) < 60 && rollout.since); // a record is some seconds younger than its version
  return [["Why", sentence(rollout.why)], ["Since", age(rollout.since, now)], ["Next", sentence(following(rollout, now))], ["Finish", finish(rollout, now)], ["Percentage", moved && `Unchanged since ${age(since, now)}`]];
}

function finish({ end, reason }, now) {
  const condition = reason === "approval" ? "if a person approves now and each guardrail passes" : "if each guardrail passes and each approval comes at once";
  return end && `${moment(end)} at the earliest, ${until(end, now)}, ${condition}.`;
}

function manualActions({ rollout }) {
  if (!rollout?.manual_actions.length) return null;
  return element("section", { "aria-label": "Manual actions" }, element("h2", {}, "What a click in Airflow would do now"),
    element("table", { class: "actions" }, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "If you"), element("th", { scope: "col" }, "Then"))),
      element("tbody", {}, rollout.manual_actions.map(({ action, effect }) => element("tr", {}, element("th", { scope: "row" }, action), element("td", {}, effect))))));
}

function picture(flag) {
  const place = element("div", { class: "chart" });
  const { pictures, rollout } = flag;
  remembered.segment ??= rollout?.segment ?? null;
  remembered.range ??= rollout ? "rollout" : "all";
  const draw = () => {
    const drawn = pictures.find((series) => series.segment === remembered.segment) ?? pictures[0];
    const ours = rollout && drawn.segment === rollout.segment;
    chart(place, drawn, ours ? flag.marks : [], ours ? rollout : null, flag.now, remembered.range);
  };
  const pick = (label, field, options) => options.length > 1 && element("select", { "aria-label": label, onchange: (event) => ((remembered[field] = event.target.value === "\u0000" ? null : event.target.value), draw()) },
    options.map(([value, text]) => element("option", { value: value ?? "\u0000", selected: remembered[field] === value }, text)));
  requestAnimationFrame(draw);
  return element("section", { "aria-label": "Percentage over time" },
    element("div", { class: "tools" }, element("h2", {}, "Percentage over time"),
      pick("Range", "range", rollout ? [["rollout", "This rollout"], ["all", "All of its history"]] : [["all", "All of its history"]]),
      pick("Whose percentage", "segment", pictures.map((series) => [series.segment, series.segment === null ? "All users" : `Segment ${series.segment}`])),
      element("button", { type: "button", onclick: () => save(place, flag) }, "Save as picture")),
    place, key(flag.marks, rollout));
}

function facts(flag, connection) {
  const counted = element("tbody");
  const fill = () => counted.replaceChildren(...flag.variants.map((variant) => element("tr", {},
    element("td", {}, element("code", {}, variant.key), variant.name && variant.name !== variant.key ? element("span", { class: "under" }, variant.name) : ""),
    element("td", { class: "figure" }, variant.weight ?? ""), element("td", { class: "figure" }, remembered.inclusions?.[variant.key] ?? "…"))));
  fill();
  const failed = element("div");
  if (!remembered.inclusions && flag.variants.length)
    ask("connections", connection, flag.kind, flag.id, "inclusions").then((answer) => {
      remembered.inclusions = answer.inclusions;
      showRequests([{ connection, ...answer }]);
      fill();
    }, (error) => failed.replaceChildren(problem(error)));
  const description = flag.description && element("details", { class: "description", open: flag.description.length < 400 }, element("summary", {}, "Description"), element("p", {}, flag.description));
  return element("section", { class: "facts", "aria-label": "Variants and segments" },
    element("div", {}, element("h2", {}, "Variants"), flag.variants.length
      ? element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Variant"), element("th", { scope: "col", class: "figure" }, "Weight"), element("th", { scope: "col", class: "figure" }, "Users included"))), counted)
      : element("p", { class: "quiet" }, "None."), failed),
    element("div", {}, element("h2", {}, "Who gets it"), element("p", {}, badge(flag.enabled)), element("p", {}, bar(flag.percentage, flag.enabled, flag.segments.length ? "All other users" : "All users")),
      flag.segments.map((segment) => element("p", {}, bar(segment.percentage, flag.enabled, segment.name))), flag.tags.length ? element("p", { class: "under" }, `Tags: ${flag.tags.join(", ")}`) : "", description));
}

const changed = ({ field, from, to }) => field === "created" ? element("li", {}, "created") : element("li", {}, element("code", {}, field), " ", element("del", {}, from ?? "nothing"), " → ", element("ins", {}, to ?? "nothing"));

function versions(flag) {
  const body = element("tbody");
  const MOST = 15;
  const more = element("button", { type: "button", onclick: () => ((remembered.all = true), fill()) }, `Show all ${flag.versions.length} versions`);
  const fill = () => {
    body.replaceChildren(...flag.versions.slice(0, remembered.all ? undefined : MOST).map((version) => element("tr", {},
      element("td", { class: "figure" }, version.version), element("td", {}, when(version.at)), element("td", {}, version.by || "unknown"),
      element("td", {}, element("ul", { class: "changes" }, version.changes.length ? version.changes.map(changed) : element("li", { class: "quiet" }, "no visible change"))))));
    more.hidden = remembered.all || flag.versions.length <= MOST;
  };
  fill();
  return element("section", { "aria-label": "History" }, element("h2", {}, "Who changed what"),
    element("table", { class: "versions" }, element("thead", {}, element("tr", {}, ["Version", "When", "Who", "What"].map((text) => element("th", { scope: "col", class: text === "Version" ? "figure" : null }, text)))), body), more);
}

function comparison(flag, connection) {
  if (flag.versions.length < 2) return null;
  const numbers = flag.versions.map((version) => String(version.version));
  remembered.before ||= numbers[1];
  remembered.after ||= numbers[0];
  const result = element("div", { role: "status" });
  const compare = async () => {
    const query = `?before=${encodeURIComponent(remembered.before)}&after=${encodeURIComponent(remembered.after)}`;
    try {
      const { changes } = await ask("connections", connection, flag.kind, flag.id, "compare", { query });
      result.replaceChildren(changes.length
        ? element("table", {}, element("thead", {}, element("tr", {}, ["Field", `Version ${remembered.before}`, `Version ${remembered.after}`].map((text) => element("th", { scope: "col" }, text)))),
            element("tbody", {}, changes.map(({ field, from, to }) => element("tr", {}, element("td", {}, element("code", {}, field)), element("td", { class: "value" }, from ?? "nothing"), element("td", { class: "value" }, to ?? "nothing")))))
        : element("p", { class: "quiet" }, "The versions do not differ."));
    } catch (error) {
      result.replaceChildren(problem(error));
    }
  };
  const choice = (label, field) => element("select", { "aria-label": label, onchange: (event) => ((remembered[field] = event.target.value), compare()) },
    flag.versions.map((version) => element("option", { value: version.version, selected: String(version.version) === remembered[field] }, `${version.version}: ${moment(version.at)}, ${version.by || "unknown"}`)));
  compare();
  return element("section", { "aria-label": "Compare versions", class: "compare" }, element("h2", {}, "Compare two versions"), element("div", { class: "tools" }, choice("First version", "before"), " with ", choice("Second version", "after")), result);
}
