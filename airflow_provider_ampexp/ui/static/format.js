// Elements, times and percentages in words. A text is always set as text, so a name cannot become markup.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(made.style, value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const percent = (value) => (typeof value === "number" ? `${+value.toFixed(2)} %` : "unknown");

export function moment(text) {
  if (!text || Number.isNaN(Date.parse(text))) return "an unknown time";
  const iso = new Date(text).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC`;
}

export function span(seconds) {
  const parts = [["d", 86400], ["h", 3600], ["min", 60]];
  let left = Math.max(0, Math.round(seconds));
  if (left < 60) return `${left} s`;
  const said = [];
  for (const [unit, size] of parts) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) said.push(`${count} ${unit}`);
    if (said.length === 2 || (said.length === 1 && unit === "min")) break;
  }
  return said.join(" ");
}

export const between = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;
export const ago = (text, now) => (text ? `${span(between(text, now))} ago` : "");

export function until(text, now) {
  const seconds = between(now, text);
  return seconds <= 0 ? "now" : `in ${span(seconds)}`;
}

export const when = (text, shown) =>
  element("time", { datetime: text ?? "", title: text ? moment(text) : "" }, shown ?? moment(text));

export const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "");

// The server sends the word and its colour. page.css adds a sign, because some people do not see the colour.
export const phase = ({ phase, colour, label, why }) =>
  element("span", { class: `phase tone-${colour}`, title: `${label}: ${why}` }, phase);

export const place = ({ stage, stages, is_over }) => (stage ? `Stage ${stage} of ${stages}` : stage === 0 && !is_over ? `Before stage 1 of ${stages}` : "");

// The next step, as a sentence without its full stop.
export function following({ next, when: at, next_step, is_over }, now, isShort) {
  if (next_step || is_over) return next_step;
  const what = next === null ? "the rollout ends" : `${next} %`;
  if (!at) return `${what}, at a time that is not known yet`;
  return isShort ? `${what} ${until(at, now)}` : `${what} ${until(at, now)}, at ${moment(at)} at the earliest`;
}

// A link out of the frame: to a page of Airflow, or elsewhere in a new tab.
export const out = (href, text, where = "airflow") => element("a", { href, "data-out": where, rel: "noopener noreferrer", target: where === "elsewhere" ? "_blank" : "_top" }, text);

// The pages of Airflow with a DAG run and with its task.
export const runOf = ({ dag_id, run_id }) => `../dags/${encodeURIComponent(dag_id)}/runs/${encodeURIComponent(run_id)}`;
export const taskOf = (task) => `${runOf(task)}/tasks/${encodeURIComponent(task.task_id)}${task.map_index >= 0 ? `/mapped/${task.map_index}` : ""}`;

// The two views of this page that are no detail.
export const views = (shown) => element("nav", { class: "views", "aria-label": "Views" },
  [["flags", "#/", "Flags and rollouts"], ["stale", "#/stale", "Stale flags"]].map(([name, href, text]) => element("a", { href, "aria-current": name === shown ? "page" : null }, text)));

export const marks = {
  pass: { shape: "up", says: "guardrail passed" },
  fail: { shape: "cross", says: "guardrail failed" },
  inconclusive: { shape: "diamond", says: "guardrail was inconclusive" },
  error: { shape: "diamond", says: "guardrail raised an error" },
  rollback: { shape: "down", says: "rolled back" },
  hold: { shape: "square", says: "failed, not rolled back" },
  stop: { shape: "square", says: "stopped" },
};
