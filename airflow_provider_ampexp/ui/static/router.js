// The view by the part of the address after "#": the list, the stale flags, or the detail of one flag.
import { problem } from "./api.js";
import { showDetail } from "./detail.js";
import { showList } from "./list.js";
import { showStale } from "./stale.js";
import { element } from "./format.js";

const REFRESH = 30_000;
const page = document.getElementById("page");
let shown = 0;
let timer = 0;

async function show(refreshed = false) {
  const mine = ++shown;
  clearTimeout(timer);
  const [connection, kind, id] = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean).map(decodeURIComponent);
  try {
    const view = id ? await showDetail(connection, kind, id, refreshed) : connection === "stale" ? await showStale(refreshed) : await showList(refreshed);
    if (mine !== shown) return;
    if (view) page.replaceChildren(view);
    if (!refreshed && view) page.focus({ preventScroll: true });
    if (!refreshed) window.scrollTo(0, 0);
  } catch (error) {
    if (mine !== shown) return;
    const back = id ? element("p", {}, element("a", { href: "#/" }, "All flags")) : null;
    page.replaceChildren(...[back, problem(error)].filter(Boolean));
  }
  document.body.dataset.ready = String(mine);
  timer = setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", () => show(true), { once: true }) : show(true)), REFRESH);
}

// The frame may not open a window or leave its page. So Airflow's document follows a link that leads out of the frame.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-out]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const outer = window.parent.document.createElement("a");
  outer.href = link.href;
  outer.rel = "noopener noreferrer";
  if (link.dataset.out === "elsewhere" || event.ctrlKey || event.metaKey) outer.target = "_blank";
  outer.click();
});

// Airflow has the address of the frame in its own address, so a person can link to a detail. Airflow observes only loads of the frame.
function showAddress() {
  const around = window.parent;
  if (around === window || !around.location.pathname.endsWith(location.pathname)) return;
  around.history.replaceState(around.history.state, "", around.location.pathname + location.hash);
}

window.addEventListener("hashchange", () => {
  showAddress();
  show();
});
show();
