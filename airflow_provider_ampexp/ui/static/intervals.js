// The relative difference of users with and without the feature over time: a band chart for each guardrail that has one.
import { dates, sign, shapes } from "./chart.js";
import { ago, element, moment } from "./format.js";

const HEIGHT = 250;
const MARGIN = { left: 64, right: 16, top: 26, bottom: 34 };
const TIMES = [60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400, 28 * 86400, 84 * 86400];
const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
const SMALLEST = 0.005; // the least half height of a chart, so that a difference of nearly 0 looks like one

const seconds = (text) => Date.parse(text) / 1000;
const share = (value, digits = 1) => `${(100 * Math.abs(value)).toFixed(digits)} %`;
const signed = (value, digits = 1) => `${value < 0 ? "−" : value > 0 ? "+" : ""}${share(value, digits)}`;
const difference = (value) => (value === 0 ? "no difference" : `${share(value)} ${value < 0 ? "lower" : "higher"}`);
const checksOf = (series) => series.stages.flatMap(({ percentage, checks }) => checks.map((check) => ({ ...check, percentage })));

export function intervals({ intervals: listed, now }) {
  if (!listed?.length) return null;
  return element("section", { "aria-label": "Difference to the users without the feature" },
    element("h2", {}, "Difference to the users without the feature"),
    element("p", { class: "under" }, "Each check compares the users who have the feature with the users who do not have it yet. The interval is valid at any number of checks. Each stage starts a new comparison."),
    listed.map((series) => oneGuardrail(series, now)));
}

function oneGuardrail(series, now) {
  const place = element("div", { class: "interval" });
  const draw = () => place.clientWidth && place.replaceChildren(picture(series, place.clientWidth));
  new ResizeObserver(draw).observe(place);
  return element("figure", { "aria-label": series.name }, element("figcaption", {}, element("b", {}, series.name), ` ${newest(series, now)}`), place, key(series), table(series));
}

function newest(series, now) {
  const last = checksOf(series).at(-1);
  return `${difference(last.value)} with the feature (interval ${signed(last.low)} to ${signed(last.high)}), checked ${ago(last.at, now)} at ${last.percentage} %`;
}

const acceptable = ({ worse, at_most_worse }) => (at_most_worse === null ? null : worse === "lower" ? -at_most_worse : at_most_worse);

// Half of the height, as a difference. A wide interval of a stage that has just begun is cut off: the others stay readable.
function reach(series) {
  const last = series.stages.map(({ checks }) => checks.at(-1));
  const narrowest = Math.min(...last.map(({ low, high }) => Math.max(Math.abs(low), Math.abs(high))));
  return Math.max(SMALLEST, 1.6 * narrowest, 1.2 * Math.max(...last.map(({ value }) => Math.abs(value))), 1.5 * Math.abs(acceptable(series) ?? 0));
}

function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat());
  return made;
}

function picture(series, width) {
  const times = checksOf(series).map(({ at }) => seconds(at));
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const span = last - first || 3600;
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, HEIGHT - MARGIN.bottom];
  const half = reach(series);
  const x = (at) => left + 8 + ((right - left - 16) * (at - first)) / span;
  const y = (value) => top + ((bottom - top) * (half - Math.max(-half, Math.min(half, value)))) / (2 * half);
  const frame = { left, right, top, bottom, x, y, half, ends: [first, first + span] };
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", class: "band-chart" },
    shape("title", {}, `${series.name}: difference to the users without the feature over time`), shape("desc", {}, described(series)));
  svg.append(...ground(series, frame), ...series.stages.flatMap((stage) => ofStage(stage, frame)), ...lines(series, frame));
  return svg;
}

const text = (said, x, y, anchor = "start", name = "quiet") => shape("text", { x, y, "text-anchor": anchor, class: `label ${name}` }, said);
const line = (name, x1, y1, x2, y2) => shape("line", { class: name, x1, y1, x2, y2 });

// The worse half, the steps of both axes.
function ground({ worse }, { left, right, top, bottom, x, y, half, ends }) {
  const [from, to] = worse === "lower" ? [y(0), bottom] : [top, y(0)];
  const made = [shape("rect", { class: "worse", x: left, y: from, width: right - left, height: to - from })];
  const step = STEPS.find((one) => half / one <= 3.5) ?? half;
  const digits = step < 0.01 ? 1 : 0;
  for (let at = 0; at <= half; at += step)
    for (const value of at ? [at, -at] : [0]) made.push(line("grid", left, y(value), right, y(value)), text(signed(value, digits), left - 8, y(value) + 4, "end"));
  const every = TIMES.find((seconds) => (ends[1] - ends[0]) / seconds <= (right - left) / 110) ?? TIMES.at(-1);
  const splits = [];
  for (let at = Math.ceil(ends[0] / every) * every; at <= ends[1]; at += every) splits.push(at);
  dates(splits).forEach((said, place) => said.split("\n").forEach((part, row) => made.push(text(part, x(splits[place]), bottom + 15 + 13 * row, "middle"))));
  return made;
}

function ofStage({ percentage, checks }, { top, bottom, x, y, half }) {
  const at = checks.map((check) => x(seconds(check.at)));
  const points = (name) => checks.map((check, place) => `${at[place]},${y(check[name])}`);
  const made = [line("stage", at[0], top, at[0], bottom), text(`${percentage} %`, at[0] + 4, top - 8, "start", "ink")];
  made.push(shape("polygon", { class: "band", points: [...points("high"), ...points("low").reverse()].join(" ") }));
  if (checks.length === 1) made.push(line("band", at[0], y(checks[0].high), at[0], y(checks[0].low)));
  made.push(shape("polyline", { class: "measured", points: points("value").join(" ") }));
  checks.forEach((check, place) => {
    if (Math.abs(check.value) > half) return;
    if (check.verdict !== "fail") made.push(shape("circle", { class: "measured", cx: at[place], cy: y(check.value), r: checks.length > 40 ? 1.5 : 3 }));
    else made.push(shape("polygon", { class: "red", points: shapes.cross.join(" "), transform: `translate(${at[place]} ${y(check.value)})` }));
  });
  return made;
}

function lines(series, { left, right, top, bottom, y }) {
  const made = [line("zero", left, y(0), right, y(0))];
  const most = acceptable(series);
  if (most !== null) made.push(line("acceptable", left, y(most), right, y(most)), text(`${+(100 * Math.abs(most)).toFixed(2)} % worse is acceptable`, left + 8, y(most) + (most < 0 ? 15 : -6), "start", "ink"));
  const isLower = series.worse === "lower";
  made.push(text("worse", right - 6, isLower ? bottom - 7 : top + 15, "end"), text("better", right - 6, isLower ? top + 15 : bottom - 7, "end"));
  return made;
}

function described(series) {
  const most = acceptable(series);
  const said = series.stages.map(({ percentage, checks }) => {
    const last = checks.at(-1);
    return `At ${percentage} %: ${difference(last.value)}, from ${signed(last.low)} to ${signed(last.high)}, at ${moment(last.at)}.`;
  });
  return [`A ${series.worse} value is worse.`, most !== null && `${+(100 * Math.abs(most)).toFixed(2)} % worse is acceptable.`, ...said].filter(Boolean).join(" ");
}

function key(series) {
  const failed = checksOf(series).some(({ verdict }) => verdict === "fail");
  const sample = (name) => element("span", { class: `sample ${name}`, "aria-hidden": "true" });
  return element("div", { class: "key" }, element("ul", {}, element("li", {}, sample("measured"), "measured difference"), element("li", {}, sample("band"), "always-valid interval; the edge of the chart cuts off a wider interval"),
    failed && element("li", {}, sign("cross"), "guardrail failed")));
}

function table(series) {
  const rows = checksOf(series).reverse().map((check) => element("tr", {}, element("td", {}, moment(check.at)), element("td", { class: "figure" }, `${check.percentage} %`),
    ...["value", "low", "high"].map((name) => element("td", { class: "figure" }, signed(check[name], 2))), element("td", {}, check.verdict)));
  const heads = ["Checked at", "Stage", "Difference", "From", "To", "Verdict"];
  return element("details", {}, element("summary", {}, `Show ${rows.length} checks as a table`), element("table", {}, element("thead", {}, element("tr", {},
    heads.map((head) => element("th", { scope: "col", class: /Checked|Verdict/.test(head) ? null : "figure" }, head)))), element("tbody", {}, rows)));
}
