// The stale flags that tasks of this Airflow listed. The page reads them from Airflow, without a request to Amplitude.
import { ask, showRequests } from "./api.js";
import { ago, between, element, moment, out, runOf, taskOf, views, when } from "./format.js";

const wanted = { search: "" };

export async function showStale(refreshed) {
  const { lists, now } = await ask("stale");
  showRequests([]);
  if (refreshed && document.activeElement?.tagName === "INPUT") return null; // a person is typing
  return element("article", { class: "stale" }, element("h1", {}, "Stale flags"), views("stale"),
    lists.length ? tables(lists, now) : firstList());
}

function tables(lists, now) {
  const made = lists.map((list) => ofTask(list, now));
  const fill = () => made.forEach(({ fill }) => fill(wanted.search.toLowerCase().split(/\s+/).filter(Boolean)));
  const search = element("input", { type: "search", placeholder: "Search by key, name, reason or person", "aria-label": "Search", value: wanted.search,
    oninput: (event) => ((wanted.search = event.target.value), fill()) });
  fill();
  return [element("p", {}, "These flags are no longer of use. Remove a flag from the code first, then archive it."),
    made.some(({ rows }) => rows) ? element("div", { class: "tools" }, search) : null, ...made.map(({ section }) => section)];
}

function ofTask(list, now) {
  const body = element("tbody");
  const count = element("p", { class: "quiet count", role: "status" });
  const { dag_id, task_id, connection, rows } = list;
  const fill = (words) => {
    const found = rows?.filter((row) => words.every((word) => textOf(row).includes(word))) ?? [];
    body.replaceChildren(...found.map((row) => lineOf(row, connection, now)));
    const shown = found.length === list.count ? `${list.count}` : `${found.length} of ${list.count}`;
    count.replaceChildren(...summary(list, shown), ` Listed ${ago(list.at, now)}, at ${moment(list.at)}, with the connection ${connection}.`);
  };
  const heads = ["Flag or experiment", "Why it is stale", "Since", "Owner", "Needed by"];
  const table = rows?.length ? element("table", { class: "stale-flags" }, element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))), body) : null;
  const section = element("section", { "aria-label": `${dag_id} ${task_id}` }, element("h2", {}, dag_id),
    element("nav", { class: "links", "aria-label": `Task of ${dag_id}` }, out(runOf(list), "DAG run"), out(taskOf(list), `Task ${task_id}`)), count, table);
  return { section, fill, rows };
}

function summary({ count, days, rows }, shown) {
  const unchanged = days === null ? "" : ` for ${days} day${days === 1 ? "" : "s"} or more`;
  if (rows) return [count ? `${shown} flags and experiments, stale${unchanged}.` : `No flag or experiment is stale${unchanged}.`];
  return [count === null ? "The task keeps no result in Airflow." : `${count} flags and experiments, stale${unchanged}. They are in the file that the task wrote.`];
}

const textOf = (row) => [row.key, row.name, row.created_by, row.last_modified_by, ...row.depended_on_by, ...row.reasons.map(([reason]) => reason)].join("\n").toLowerCase();

const days = (at, now) => ((count) => `${count} day${count === 1 ? "" : "s"}`)(Math.floor(between(at, now) / 86400));

function lineOf(row, connection, now) {
  const detail = `#/${[connection, row.kind, row.id].map(encodeURIComponent).join("/")}`;
  const reasons = row.reasons.map(([reason, at]) => element("li", { title: moment(at) }, reason, element("span", { class: "quiet" }, Number.isNaN(Date.parse(at)) ? "" : ` for ${days(at, now)}`)));
  const editor = row.last_modified_by && row.last_modified_by !== row.created_by ? `last edited by ${row.last_modified_by}` : "";
  return element("tr", {},
    element("td", {}, row.id ? element("a", { class: "key", href: detail }, row.key) : element("b", {}, row.key),
      element("span", { class: "under" }, row.kind === "flags" ? "flag" : "experiment", row.name && row.name !== row.key ? ` · ${row.name}` : ""), row.url ? element("span", { class: "under links" }, out(row.url, "Open in Amplitude", "elsewhere")) : null),
    element("td", {}, element("ul", { class: "changes" }, reasons)),
    element("td", {}, row.since ? when(row.since, row.since.slice(0, 10)) : "unknown"),
    element("td", {}, row.created_by || "unknown", element("span", { class: "under" }, editor)),
    element("td", {}, row.depended_on_by.length ? element("ul", { class: "changes" }, row.depended_on_by.map((name) => element("li", {}, name))) : element("span", { class: "quiet" }, "none")));
}

const CODE = `from airflow.sdk import DAG

from airflow_provider_ampexp.operators.stale import AmplitudeStaleFlagsOperator

with DAG("stale_flags", schedule="@weekly") as dag:
    AmplitudeStaleFlagsOperator(
        task_id="stale",
        days=60,  # unchanged for so many days
    )`;

const firstList = () => element("section", { class: "start", "aria-label": "How to start" },
  element("h2", {}, "No list of stale flags yet"),
  element("p", {}, "A flag is stale if it is no longer of use, such as a flag at 100 % for 60 days. A DAG lists such flags, and this page shows the latest list. No DAG that you may read has listed any."),
  element("ol", {}, element("li", {}, "Save this file in the folder of your DAGs."), element("li", {}, "Unpause the DAG and trigger it."), element("li", {}, "The list appears on this page when the task is done.")),
  element("pre", { tabindex: "0", "aria-label": "DAG file" }, element("code", {}, CODE)));
