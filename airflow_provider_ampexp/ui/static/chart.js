// The step chart by uPlot. This file draws the rest on the canvas: times with the flag disabled, names and marks.
import { element, marks as known, moment } from "./format.js";

let drawn = null; // the chart on the page and its element

const seconds = (text) => Date.parse(text) / 1000;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function chart(place, picture, marks, rollout, now, range) {
  drawn?.plot.destroy();
  drawn = null;
  place.replaceChildren();
  if (!picture.points.length) return place.append(element("p", { class: "quiet" }, "The version history does not show the percentage."));
  const data = rows(picture, rollout, now);
  const start = range === "rollout" && rollout?.began ? startOfRollout(picture, rollout) : data[0][0];
  const last = Math.max(...data[0], rollout?.end ? seconds(rollout.end) : 0);
  const margin = Math.max(60, (last - start) * 0.06);
  if (rollout?.end && data[2].at(-1) !== null) for (const [row, value] of [last + margin, null, data[2].at(-1)].entries()) data[row].push(value); // the last percentage continues

  const shows = { picture, marks, rollout, now: seconds(now) };
  const axis = { stroke: () => colour("quiet"), grid: { stroke: () => colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const plot = new uPlot({
    width: place.clientWidth, height: 340, padding: [26, 16, 0, 0], tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "UTC"),
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
    legend: { show: true, live: true },
    scales: { x: { range: (u, low, high) => (u.zoomed ? [low, high] : [start - margin, last + margin]) }, y: { range: [0, 105] } },
    axes: [{ ...axis, space: 90, values: (u, splits) => dates(splits) }, { ...axis, size: 56, splits: () => [0, 25, 50, 75, 100], values: (u, splits) => splits.map((split) => `${split} %`) }],
    series: [
      { label: "When (UTC)", value: (u, at) => (at ? moment(at * 1000) : "–") },
      { label: "Users", stroke: () => colour("blue"), width: 3, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, fill: () => colour("wash"), value: (u, value) => (value == null ? "–" : `${value} %`) },
      { label: "Planned", stroke: () => colour("blue"), width: 1.25, dash: [6, 5], paths: uPlot.paths.stepped({ align: 1 }), points: { show: false }, value: (u, value) => (value == null ? "–" : `${value} %`) },
    ],
    hooks: {
      init: [(u) => { u.root.setAttribute("role", "img"); u.root.setAttribute("aria-label", described(picture, rollout)); }],
      setSelect: [(u) => (u.zoomed = u.select.width > 0)],
      drawClear: [(u) => drawOff(u, shows)],
      draw: [(u) => drawOver(u, shows)],
    },
  }, data, place);
  plot.over.addEventListener("dblclick", () => (plot.zoomed = false));
  drawn = { plot, place };
}

const redraw = () => drawn?.plot.redraw(false);
window.addEventListener("themechange", redraw);
window.addEventListener("resize", () => drawn?.plot.setSize({ width: drawn.place.clientWidth, height: 340 }));

function startOfRollout(picture, rollout) {
  // The version of the first raise is some seconds older than its line in the record.
  const began = seconds(rollout.began) - 5;
  const steps = picture.steps.map((step) => seconds(step.at)).filter((at) => at >= began);
  return Math.min(...steps, seconds(rollout.stands_since ?? rollout.began), seconds(picture.points.at(-1).at));
}

function rows({ points }, rollout, now) {
  const at = points.map((point) => seconds(point.at));
  const users = points.map((point) => point.percentage);
  const planned = at.map(() => null);
  planned[planned.length - 1] = rollout?.ahead.length ? users.at(-1) : null;
  for (const [percentage, moment] of rollout?.ahead ?? []) {
    if (!moment) break;
    const when = Math.max(seconds(moment), seconds(now) + 1);
    at.push(when);
    users.push(null);
    planned.push(percentage);
  }
  if (rollout?.end && planned.at(-1) !== null && at.length > points.length) {
    at.push(Math.max(seconds(rollout.end), at.at(-1) + 1));
    users.push(null);
    planned.push(planned.at(-1));
  }
  return [at, users, planned];
}

export const dates = (splits) => splits.map((at, place) => {
  const iso = new Date(at * 1000).toISOString();
  const before = place ? new Date(splits[place - 1] * 1000).toISOString() : "";
  const short = splits.length > 1 && splits[1] - splits[0] < 86400;
  const day = iso.slice(0, 10) !== before.slice(0, 10) ? iso.slice(0, 10) : "";
  return short ? `${iso.slice(11, splits[1] - splits[0] < 60 ? 19 : 16)}${day ? `\n${day}` : ""}` : day;
});

function described({ steps }, rollout) {
  const said = steps.map((step) => `${moment(step.at)}: from ${step.from} to ${step.to} by ${step.by}`);
  const ahead = (rollout?.ahead ?? []).map(([percentage, at]) => `planned: ${percentage} %${at ? ` at ${moment(at)}` : ""}`);
  return `Percentage over time. ${[...said, ...ahead].join("; ")}`.slice(0, 2000);
}

function within(u, act) {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height + 9 * uPlot.pxRatio);
  ctx.clip();
  act(ctx, uPlot.pxRatio);
  ctx.restore();
}

function drawOff(u, { picture }) {
  within(u, (ctx, ratio) => {
    const { top, height } = u.bbox;
    for (const [from, to] of picture.off) {
      const left = u.valToPos(seconds(from), "x", true);
      const right = u.valToPos(seconds(to), "x", true);
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, Math.max(1, right - left), height);
      ctx.clip();
      ctx.fillStyle = colour("off");
      ctx.fill();
      ctx.strokeStyle = colour("hatch");
      ctx.lineWidth = ratio;
      for (let x = left - height; x < right; x += 9 * ratio) line(ctx, x, top + height, x + height, top);
      if (right - left > 60 * ratio) text(ctx, ratio, "disabled", (Math.max(left, u.bbox.left) + right) / 2, top + 16 * ratio, "center", "quiet");
      ctx.restore();
    }
  });
}

function line(ctx, ...ends) {
  ctx.beginPath();
  ctx.moveTo(ends[0], ends[1]);
  ctx.lineTo(ends[2], ends[3]);
  ctx.stroke();
}

function setFont(ctx, ratio, weight) {
  ctx.font = `${weight} ${12 * ratio}px system-ui, sans-serif`;
}

function textWidth(ctx, ratio, said, weight) {
  setFont(ctx, ratio, weight);
  return ctx.measureText(said).width;
}

function text(ctx, ratio, said, x, y, align, name, weight = "") {
  setFont(ctx, ratio, weight);
  ctx.textAlign = align;
  ctx.lineWidth = 3 * ratio;
  ctx.lineJoin = "round";
  ctx.strokeStyle = colour("ground");
  ctx.strokeText(said, x, y);
  ctx.fillStyle = colour(name);
  ctx.fillText(said, x, y);
}

function drawOver(u, { picture, marks, rollout, now }) {
  within(u, (ctx, ratio) => {
    const x = (at) => u.valToPos(at, "x", true);
    const y = (value) => u.valToPos(value, "y", true);
    const { top, height, left, width } = u.bbox;
    ctx.strokeStyle = colour("quiet");
    ctx.lineWidth = ratio;
    line(ctx, x(now), top, x(now), top + height);
    text(ctx, ratio, "now", x(now), top - 10 * ratio, x(now) > left + width - 24 * ratio ? "right" : "center", "quiet");
    const taken = [];
    // Write a label beside a step: to its left where it would not fit to its right, and not over another label.
    const label = (said, at, percentage, name, weight) => {
      const wide = textWidth(ctx, ratio, said, weight);
      const align = at + wide + 8 * ratio > left + width ? "right" : "left";
      const beside = at + (align === "right" ? -6 : 4) * ratio;
      const up = Math.max(y(percentage) - 8 * ratio, top + 12 * ratio);
      const from = align === "right" ? beside - wide : beside;
      const box = [from - 4 * ratio, up - 14 * ratio, from + wide + 4 * ratio, up + 4 * ratio];
      if (box[0] < left || taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) return;
      taken.push(box);
      text(ctx, ratio, said, beside, up, align, name, weight);
    };
    for (const step of [...picture.steps].reverse()) {
      const at = x(seconds(step.at));
      const said = `${step.is_enabled ? `${step.percentage} %` : "disabled"} · ${step.by.length > 24 ? `${step.by.slice(0, 23)}…` : step.by}`;
      if (at >= left) label(said, at, step.percentage, "ink", "600");
    }
    for (const [percentage, at] of rollout?.ahead ?? []) {
      if (!at) break;
      label(`${percentage} % planned`, x(Math.max(seconds(at), now + 1)), percentage, "quiet", "");
    }
    const set = [];
    for (const mark of marks) {
      const at = x(seconds(mark.at));
      let up = y(typeof mark.percentage === "number" ? mark.percentage : 0);
      while (set.some(([a, b]) => Math.abs(a - at) < 10 * ratio && Math.abs(b - up) < 13 * ratio)) up += (up > top + height / 2 ? -14 : 14) * ratio;
      set.push([at, up]);
      shape(ctx, ratio, known[mark.what]?.shape ?? "diamond", at, up);
    }
  });
}

export const shapes = {
  up: [[0, -6], [6, 5], [-6, 5]],
  down: [[0, 7], [7, -6], [-7, -6]],
  diamond: [[0, -7], [7, 0], [0, 7], [-7, 0]],
  square: [[-5, -5], [5, -5], [5, 5], [-5, 5]],
  cross: [[-6, -3], [-3, -6], [0, -3], [3, -6], [6, -3], [3, 0], [6, 3], [3, 6], [0, 3], [-3, 6], [-6, 3], [-3, 0]],
};
const colours = { up: "green", down: "red", cross: "red", diamond: "orange", square: "ink" };

function shape(ctx, ratio, name, x, y) {
  ctx.beginPath();
  for (const [dx, dy] of shapes[name]) ctx.lineTo(x + dx * ratio, y + dy * ratio);
  ctx.closePath();
  ctx.fillStyle = colour(colours[name]);
  ctx.strokeStyle = colour("ground");
  ctx.lineWidth = 1.5 * ratio;
  ctx.fill();
  ctx.stroke();
}

// The sign of a mark as a picture, for legends and stages.
export function sign(name) {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  path.setAttribute("viewBox", "-8 -8 16 16");
  path.setAttribute("aria-hidden", "true");
  path.setAttribute("class", "sign");
  const polygon = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
  polygon.setAttribute("points", shapes[name].join(" "));
  polygon.setAttribute("class", colours[name]);
  path.append(polygon);
  return path;
}

export function key(marks, rollout) {
  const said = [...new Set(marks.map((mark) => mark.what))].filter((what) => known[what]).map((what) => element("li", {}, sign(known[what].shape), known[what].says));
  const verdicts = marks.slice(-12).reverse().map((mark) => element("li", {}, `${moment(mark.at)}: ${known[mark.what]?.says ?? mark.what}${mark.name ? ` (${mark.name})` : ""}${typeof mark.percentage === "number" ? ` at ${mark.percentage} %` : ""}${mark.why ? `: ${mark.why}` : ""}`));
  return element("div", { class: "key" },
    element("ul", {}, said, element("li", {}, element("span", { class: "sample off", "aria-hidden": "true" }), "disabled"), rollout?.ahead.some(([, at]) => at) ? element("li", {}, element("span", { class: "sample planned", "aria-hidden": "true" }), "planned, at the earliest") : null),
    verdicts.length ? element("details", {}, element("summary", {}, `The last ${verdicts.length} results of guardrails, and the end`), element("ul", { class: "verdicts" }, verdicts)) : null);
}

// The chart with its title and the state of the flag, for a release review.
export function save(place, flag) {
  const chart = place.querySelector("canvas");
  if (!chart) return;
  const ratio = uPlot.pxRatio;
  const top = 64 * ratio;
  const canvas = document.createElement("canvas");
  canvas.width = chart.width;
  canvas.height = chart.height + top;
  const ctx = canvas.getContext("2d");
  ctx.fillStyle = colour("ground");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.fillStyle = colour("ink");
  ctx.font = `600 ${18 * ratio}px system-ui, sans-serif`;
  ctx.fillText(flag.key, 12 * ratio, 26 * ratio);
  ctx.font = `${13 * ratio}px system-ui, sans-serif`;
  ctx.fillText(document.querySelector(".headline")?.innerText.split("\n").filter(Boolean).slice(0, 2).join(" · ") ?? "", 12 * ratio, 50 * ratio);
  ctx.drawImage(chart, 0, top);
  canvas.toBlob((blob) => {
    const link = element("a", { href: URL.createObjectURL(blob), download: `${flag.key.replace(/[^\w.-]+/g, "_")}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}
