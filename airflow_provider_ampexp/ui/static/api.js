// Requests to Airflow, and the number of requests to Amplitude in the footer.
import { element, moment, span } from "./format.js";

export class Refused extends Error {}

export async function ask(...parts) {
  const path = parts.map((part) => (typeof part === "string" ? encodeURIComponent(part) : part.query)).join("/");
  const response = await fetch(path.replace("/?", "?"), { credentials: "same-origin", headers: { Accept: "application/json" } });
  if (response.ok) return response.json();
  if (response.status === 401) throw new Refused("Reading Airflow failed: you are not logged in. Nothing new is shown. Reload Airflow to log in.");
  if (response.status === 403) throw new Refused("This page needs the right to read connections, and you do not have it. Of Airflow's default roles Op and Admin have that right. Ask an administrator of this Airflow.");
  const body = await response.json().catch(() => ({}));
  throw new Refused(typeof body.detail === "string" ? body.detail : `Reading Airflow failed: status ${response.status}. Nothing new is shown. The page retries in 30 s.`);
}

export function showRequests(uses) {
  const lines = uses.map(({ connection, used, used_since, read_at, now, kept_for }) => {
    const count = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
    const sent = `${count(used.lists, "list request")}, ${count(used.histories, "history request")}, ${count(used.others, "other")}`;
    const age = span((Date.parse(now) - Date.parse(read_at)) / 1000);
    return element("span", { "data-connection": connection, "data-lists": used.lists, "data-histories": used.histories, "data-others": used.others },
      element("b", {}, connection), ` ${sent} to Amplitude for all viewers since ${moment(used_since)}; read ${age} ago, kept for ${kept_for} s`);
  });
  document.getElementById("footer").replaceChildren(...lines);
}

export const problem = (error) => element("p", { class: "problem", role: "alert" }, error.message);
