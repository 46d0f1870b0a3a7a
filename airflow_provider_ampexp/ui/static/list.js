// The list of all flags and experiments of all connections.
import { ask, problem, showRequests } from "./api.js";
import { firstConnection, firstRollout } from "./first.js";
import { ago, between, element, following, percent, phase, place, sentence, span, views, when } from "./format.js";

const PAGE = 100; // rows at once; scrolling adds more
const wanted = { search: "", kind: "", on: "", rollout: "", connection: "", by: "rollout", down: false };
let lines = [];
let made = null;

export async function showList(refreshed) {
  const { connections } = await ask("connections");
  const answers = await Promise.all(
    connections.map((connection) => ask("connections", connection, "flags").then((answer) => ({ connection, ...answer }), (error) => ({ connection, error }))),
  );
  const read = answers.filter((answer) => answer.flags);
  lines = read.flatMap(({ connection, flags, now }) => flags.map((flag) => ready({ ...flag, connection, now })));
  showRequests(read);
  const problems = answers.filter((answer) => answer.error).map(({ connection, error }) => problem(new Error(`${connection}: ${error.message}`)));
  if (!connections.length) return (made = null), element("div", { class: "list" }, element("h1", {}, "Rollouts"), views("flags"), firstConnection());
  if (read.length && !lines.some((line) => line.rollout)) problems.push(firstRollout(read[0].connection));
  if (refreshed && made?.view.isConnected) {
    made.problems.replaceChildren(...problems);
    made.fill(true);
    return null;
  }
  made = view(connections, problems);
  made.fill();
  return made.view;
}

function ready(line) {
  line.text = [line.key, line.name, line.connection, line.changed_by, ...line.tags].join("\n").toLowerCase();
  line.going = line.rollout?.is_over === false;
  line.phase = line.rollout?.phase ?? "";
  return line;
}

// Rollouts that need a person come first.
const urgency = ["degraded", "waiting for approval", "held", "paused", "progressing", "rolled back", "done", ""];

const orders = {
  key: (line) => line.key.toLowerCase(),
  kind: (line) => line.kind,
  on: (line) => (line.enabled ? 0 : 1),
  percentage: (line) => (line.enabled ? line.percentage ?? -1 : -1),
  changed: (line) => -Date.parse(line.changed_at ?? 0),
  rollout: (line) => urgency.indexOf(line.phase) * 1e14 - Date.parse(line.changed_at ?? 0),
};

function chosen() {
  const search = wanted.search.toLowerCase().split(/\s+/).filter(Boolean);
  const found = lines.filter(
    (line) =>
      search.every((word) => line.text.includes(word)) &&
      (!wanted.kind || line.kind === wanted.kind) &&
      (!wanted.connection || line.connection === wanted.connection) &&
      (!wanted.on || String(line.enabled) === wanted.on) &&
      (!wanted.rollout || (wanted.rollout === "going" ? line.going : line.phase === wanted.rollout)),
  );
  const order = orders[wanted.by];
  const keyed = found.map((line) => [order(line), line]);
  keyed.sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x.key < y.key ? -1 : 1));
  if (wanted.down) keyed.reverse();
  return keyed.map(([, line]) => line);
}

function view(connections, problems) {
  const body = element("tbody");
  const count = element("p", { class: "quiet count", role: "status" });
  const end = element("div", { class: "end" });
  const none = element("p", { class: "quiet", hidden: true }, "No flag or experiment matches. ", element("button", { type: "button", onclick: () => undo() }, "Show all flags"));
  const headers = [];
  let found = [];
  const more = (rows = PAGE) => body.append(...found.slice(body.rows.length, body.rows.length + rows).map(row));
  const fill = (keep = false) => {
    const rows = keep ? Math.max(PAGE, body.rows.length) : PAGE;
    const focused = keep ? document.activeElement?.getAttribute?.("href") : null;
    found = chosen();
    body.replaceChildren();
    more(rows);
    none.hidden = found.length > 0 || !lines.length;
    if (focused) body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    const counted = urgency.filter(Boolean).map((word) => [word, lines.filter((line) => line.phase === word).length]).filter(([, number]) => number);
    const phases = counted.map(([word, number]) => `${number} ${word}`).join(", ");
    count.textContent = `${found.length} of ${lines.length} flags and experiments. Rollouts of this Airflow: ${phases || "none"}.`;
    for (const header of headers) {
      const sorted = header.dataset.by === wanted.by;
      header.setAttribute("aria-sort", sorted ? (wanted.down ? "descending" : "ascending") : "none");
    }
  };
  const header = (by, text) => {
    const sort = () => {
      wanted.down = wanted.by === by ? !wanted.down : false;
      wanted.by = by;
      fill();
    };
    const made = element("th", { scope: "col", "data-by": by, class: `col-${by}` }, element("button", { type: "button", onclick: sort }, text));
    headers.push(made);
    return made;
  };
  const choice = (label, field, options) =>
    element("select", { "aria-label": label, onchange: (event) => ((wanted[field] = event.target.value), fill()) },
      options.map(([value, text]) => element("option", { value, selected: wanted[field] === value }, text)));
  const search = element("input", { type: "search", placeholder: "Search by key, name, tag or person ( / )", "aria-label": "Search", value: wanted.search,
    oninput: (event) => ((wanted.search = event.target.value), fill()) });
  const undo = () => {
    Object.assign(wanted, { search: "", kind: "", on: "", rollout: "", connection: "" });
    for (const field of shown.querySelectorAll(".tools input, .tools select")) field.value = "";
    fill();
    search.focus();
  };
  const notes = element("div", {}, problems);
  const watch = new IntersectionObserver((seen) => {
    if (!seen.some((entry) => entry.isIntersecting) || body.rows.length >= found.length) return;
    more();
    watch.unobserve(end); // an observer reports only changes, so this starts a new observation of the end
    watch.observe(end);
  }, { rootMargin: "600px" });
  watch.observe(end);
  const shown = element("div", { class: "list" },
    element("h1", {}, "Rollouts"), views("flags"),
    element("div", { class: "tools", role: "search" }, search,
      choice("Rollout", "rollout", [["", "With or without a rollout"], ["going", "Rollouts under way"], ...urgency.filter(Boolean).map((word) => [word, `Rollouts: ${word}`])]),
      choice("Kind", "kind", [["", "Flags and experiments"], ["flags", "Flags"], ["experiments", "Experiments"]]),
      choice("Enabled or disabled", "on", [["", "Enabled and disabled"], ["true", "Enabled"], ["false", "Disabled"]]),
      connections.length > 1 && choice("Connection", "connection", [["", "All connections"], ...connections.map((connection) => [connection, connection])])),
    count, notes,
    element("table", {},
      element("thead", {}, element("tr", {}, header("key", "Flag or experiment"), header("rollout", "Rollout in this Airflow"), header("percentage", "Who gets it"),
        header("on", "State"), header("changed", "Last change"))),
      body),
    none, end);
  return { view: shown, fill, problems: notes };
}

document.addEventListener("keydown", (event) => {
  const search = document.querySelector(".list input[type=search]");
  if (event.key !== "/" || !search || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName)) return;
  event.preventDefault();
  search.focus();
});

export const bar = (percentage, on, label) => {
  const known = typeof percentage === "number";
  return element("span", { class: `bar${on ? "" : " off"}` },
    element("span", { class: "track", "aria-hidden": "true" }, element("span", { class: "fill", style: { width: `${known ? Math.min(100, Math.max(0, percentage)) : 0}%` } })),
    element("span", { class: "number" }, percent(percentage)), label && element("span", { class: "label", title: label }, label));
};

export const badge = (on) => element("span", { class: on ? "badge on" : "badge off" }, on === true ? "● enabled" : on === false ? "○ disabled" : "? unknown");

function row(line) {
  const address = `#/${[line.connection, line.kind, line.id].map(encodeURIComponent).join("/")}`;
  return element("tr", {},
    element("td", {},
      element("a", { href: address, class: "key", title: line.key }, line.key),
      element("span", { class: "under" }, line.kind === "experiments" ? `experiment${line.state ? `, ${line.state}` : ""}` : "flag", line.name && line.name !== line.key ? ` · ${line.name}` : "")),
    element("td", {}, doing(line)),
    element("td", {}, bar(line.percentage, line.enabled, line.segments.length ? "All other users" : ""), line.segments.map((segment) => bar(segment.percentage, line.enabled, segment.name))),
    element("td", {}, badge(line.enabled)),
    element("td", {}, when(line.changed_at, line.changed_at ? ago(line.changed_at, line.now) : "unknown"), element("span", { class: "under" }, line.changed_by ? `by ${line.changed_by}` : "")));
}

function doing({ rollout, now }) {
  if (!rollout) return element("span", { class: "quiet" }, "none");
  const age = rollout.since && (rollout.is_over ? ago(rollout.since, now) : `for ${span(between(rollout.since, now))}`);
  const about = [sentence(rollout.label).slice(0, -1), age, place(rollout).toLowerCase(), rollout.segment && `segment ${rollout.segment}`].filter(Boolean).join(" · ");
  return [phase(rollout), element("span", { class: "under", title: rollout.why }, about), element("span", { class: "under" }, `Next: ${following(rollout, now, true)}`)];
}
