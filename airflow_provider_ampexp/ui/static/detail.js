// The detail: where a flag stands, since when, what comes next, and how it came there.
import { ask, problem, tellUse } from "./api.js";
import { chart, key, save } from "./chart.js";
import { badge, bar } from "./list.js";
import { rollThisOut } from "./first.js";
import { stages } from "./stages.js";
import { ago, between, element, following, moment, percent, phase, place, sentence, span, until, when } from "./format.js";

const remembered = { address: "", segment: undefined, range: undefined, before: "", after: "", inclusions: null, all: false };

export async function showDetail(connection, kind, id, refreshed) {
  const told = await ask("connections", connection, kind, id);
  tellUse([{ connection, ...told }]);
  if (remembered.address !== location.hash) Object.assign(remembered, { address: location.hash, segment: undefined, range: undefined, before: "", after: "", inclusions: null, all: false });
  if (refreshed && /^(SELECT|INPUT)$/.test(document.activeElement?.tagName)) return null; // somebody is choosing
  const view = element("article", { class: "detail" },
    element("p", { class: "path" }, element("a", { href: "#/" }, "← All flags"), element("span", { class: "quiet" }, ` ${connection}`)),
    header(told), headline(told), told.rollout ? null : rollThisOut({ ...told, connection }), stages(told), manualActions(told), picture(told), facts(told, connection), versions(told), comparison(told, connection));
  return view;
}

function header(told) {
  const links = [told.url && out(told.url, "Open in Amplitude", "elsewhere")];
  if (told.rollout) {
    const { dag_id, run_id, task_id, map_index } = told.rollout;
    const run = `../dags/${encodeURIComponent(dag_id)}/runs/${encodeURIComponent(run_id)}`;
    links.push(out(run, `DAG run of ${dag_id}`), out(`${run}/tasks/${encodeURIComponent(task_id)}${map_index >= 0 ? `/mapped/${map_index}` : ""}`, `Task ${task_id}`));
  }
  return element("header", {},
    element("h1", { title: told.key }, told.key),
    element("p", { class: "under" }, told.kind === "flags" ? "flag" : "experiment", told.state ? `, ${told.state}` : "", told.decision ? `, decision: ${told.decision}` : "", told.name && told.name !== told.key ? ` · ${told.name}` : "", ` · project ${told.project ?? "unknown"}`, told.archived ? " · archived" : ""),
    element("nav", { class: "links", "aria-label": "Elsewhere" }, links));
}

const out = (href, text, where = "airflow") => element("a", { href, "data-out": where, rel: "noopener noreferrer", target: where === "elsewhere" ? "_blank" : "_top" }, text);

function headline({ rollout, percentage, enabled, pictures, now, segments }) {
  const ramped = rollout?.segment ?? null;
  const steps = (pictures.find((one) => one.segment === ramped) ?? pictures[0])?.steps ?? [];
  const since = rollout?.stands_since ?? steps.at(-1)?.at ?? pictures[0]?.points[0]?.at;
  const audiences = [[null, segments.length ? "all users outside segments" : "all users", percentage], ...segments.map((one) => [one.name, `segment ${one.name}`, one.percentage])];
  const figures = audiences.sort(([one], [other]) => (other === ramped) - (one === ramped)).map(([name, label, share]) =>
    element("li", { class: name === ramped ? "ramped" : null }, element("strong", {}, enabled ? percent(share) : "Off"),
      element("span", {}, enabled ? `of ${label}` : `for ${label} (set to ${percent(share)})`)));
  return element("section", { class: `headline tone-${rollout?.colour ?? "none"}`, "aria-label": "Where it stands" },
    rollout && element("p", { class: "stands" }, phase(rollout), element("b", {}, sentence(rollout.label).slice(0, -1)), element("span", { class: "quiet" }, place(rollout))),
    element("ul", { class: "audiences", "aria-label": "Who gets it" }, figures),
    element("dl", {}, reasonsOf(rollout, steps, since, now).filter(([, text]) => text).flatMap(([term, text]) => [element("dt", {}, term), element("dd", {}, text)])));
}

const age = (text, now) => (text ? `${moment(text)}, for ${span(between(text, now))}` : "");

function reasonsOf(rollout, steps, since, now) {
  if (!rollout) {
    const last = steps.at(-1);
    return [["Why", last && `Changed from ${last.from} to ${last.to} by ${last.by}.`], ["Since", age(since, now)], ["Rollout", "No DAG that you may read has rolled it out in this Airflow."]];
  }
  const moved = since && !(Math.abs(between(since, rollout.since ?? since)) < 60 && rollout.since); // a record is a moment younger than its version
  return [["Why", sentence(rollout.why)], ["Since", age(rollout.since, now)], ["Next", sentence(following(rollout, now))], ["Percentage", moved && `Unchanged since ${age(since, now)}`]];
}

function manualActions({ rollout }) {
  if (!rollout?.manual_actions.length) return null;
  return element("section", { "aria-label": "Manual actions" }, element("h2", {}, "What a click in Airflow would do now"),
    element("table", { class: "actions" }, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "If you"), element("th", { scope: "col" }, "Then"))),
      element("tbody", {}, rollout.manual_actions.map(({ action, effect }) => element("tr", {}, element("th", { scope: "row" }, action), element("td", {}, effect))))));
}

function picture(told) {
  const place = element("div", { class: "chart" });
  const { pictures, rollout } = told;
  remembered.segment ??= rollout?.segment ?? null;
  remembered.range ??= rollout ? "rollout" : "all";
  const draw = () => {
    const drawn = pictures.find((one) => one.segment === remembered.segment) ?? pictures[0];
    const ours = rollout && drawn.segment === rollout.segment;
    chart(place, drawn, ours ? told.marks : [], ours ? rollout : null, told.now, remembered.range);
  };
  const pick = (label, field, options) => options.length > 1 && element("select", { "aria-label": label, onchange: (event) => ((remembered[field] = event.target.value === "\u0000" ? null : event.target.value), draw()) },
    options.map(([value, text]) => element("option", { value: value ?? "\u0000", selected: remembered[field] === value }, text)));
  requestAnimationFrame(draw);
  return element("section", { "aria-label": "Percentage over time" },
    element("div", { class: "tools" }, element("h2", {}, "Percentage over time"),
      pick("Range", "range", rollout ? [["rollout", "This rollout"], ["all", "All of its history"]] : [["all", "All of its history"]]),
      pick("Whose percentage", "segment", pictures.map((one) => [one.segment, one.segment === null ? "All users" : `Segment ${one.segment}`])),
      element("button", { type: "button", onclick: () => save(place, told) }, "Save as picture")),
    place, key(told.marks, rollout));
}

function facts(told, connection) {
  const counted = element("tbody");
  const fill = () => counted.replaceChildren(...told.variants.map((one) => element("tr", {},
    element("td", {}, element("code", {}, one.key), one.name && one.name !== one.key ? element("span", { class: "under" }, one.name) : ""),
    element("td", { class: "figure" }, one.weight ?? ""), element("td", { class: "figure" }, remembered.inclusions?.[one.key] ?? "…"))));
  fill();
  const failed = element("div");
  if (!remembered.inclusions && told.variants.length)
    ask("connections", connection, told.kind, told.id, "inclusions").then((answer) => {
      remembered.inclusions = answer.inclusions;
      tellUse([{ connection, ...answer }]);
      fill();
    }, (error) => failed.replaceChildren(problem(error)));
  const description = told.description && element("details", { class: "description", open: told.description.length < 400 }, element("summary", {}, "Description"), element("p", {}, told.description));
  return element("section", { class: "facts", "aria-label": "Variants and segments" },
    element("div", {}, element("h2", {}, "Variants"), told.variants.length
      ? element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Variant"), element("th", { scope: "col", class: "figure" }, "Weight"), element("th", { scope: "col", class: "figure" }, "Users included"))), counted)
      : element("p", { class: "quiet" }, "None."), failed),
    element("div", {}, element("h2", {}, "Who gets it"), element("p", {}, badge(told.enabled)), element("p", {}, bar(told.percentage, told.enabled, told.segments.length ? "All other users" : "All users")),
      told.segments.map((one) => element("p", {}, bar(one.percentage, told.enabled, one.name))), told.tags.length ? element("p", { class: "under" }, `Tags: ${told.tags.join(", ")}`) : "", description));
}

const changed = ({ field, from, to }) => field === "created" ? element("li", {}, "created") : element("li", {}, element("code", {}, field), " ", element("del", {}, from ?? "nothing"), " → ", element("ins", {}, to ?? "nothing"));

function versions(told) {
  const body = element("tbody");
  const MOST = 15;
  const more = element("button", { type: "button", onclick: () => ((remembered.all = true), fill()) }, `Show all ${told.versions.length} versions`);
  const fill = () => {
    body.replaceChildren(...told.versions.slice(0, remembered.all ? undefined : MOST).map((one) => element("tr", {},
      element("td", { class: "figure" }, one.version), element("td", {}, when(one.at)), element("td", {}, one.by || "somebody"),
      element("td", {}, element("ul", { class: "changes" }, one.changes.length ? one.changes.map(changed) : element("li", { class: "quiet" }, "nothing that shows"))))));
    more.hidden = remembered.all || told.versions.length <= MOST;
  };
  fill();
  return element("section", { "aria-label": "History" }, element("h2", {}, "Who changed what"),
    element("table", { class: "versions" }, element("thead", {}, element("tr", {}, ["Version", "When", "Who", "What"].map((text) => element("th", { scope: "col", class: text === "Version" ? "figure" : null }, text)))), body), more);
}

function comparison(told, connection) {
  if (told.versions.length < 2) return null;
  const numbers = told.versions.map((one) => String(one.version));
  remembered.before ||= numbers[1];
  remembered.after ||= numbers[0];
  const result = element("div", { role: "status" });
  const compare = async () => {
    const query = `?before=${encodeURIComponent(remembered.before)}&after=${encodeURIComponent(remembered.after)}`;
    try {
      const { changes } = await ask("connections", connection, told.kind, told.id, "compare", { query });
      result.replaceChildren(changes.length
        ? element("table", {}, element("thead", {}, element("tr", {}, ["Field", `Version ${remembered.before}`, `Version ${remembered.after}`].map((text) => element("th", { scope: "col" }, text)))),
            element("tbody", {}, changes.map(({ field, from, to }) => element("tr", {}, element("td", {}, element("code", {}, field)), element("td", { class: "value" }, from ?? "nothing"), element("td", { class: "value" }, to ?? "nothing")))))
        : element("p", { class: "quiet" }, "They are alike."));
    } catch (error) {
      result.replaceChildren(problem(error));
    }
  };
  const choice = (label, field) => element("select", { "aria-label": label, onchange: (event) => ((remembered[field] = event.target.value), compare()) },
    told.versions.map((one) => element("option", { value: one.version, selected: String(one.version) === remembered[field] }, `${one.version}: ${moment(one.at)}, ${one.by || "somebody"}`)));
  compare();
  return element("section", { "aria-label": "Compare versions", class: "compare" }, element("h2", {}, "Compare two versions"), element("div", { class: "tools" }, choice("First version", "before"), " with ", choice("Second version", "after")), result);
}
