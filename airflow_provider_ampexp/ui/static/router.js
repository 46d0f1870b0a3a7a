// Which view is shown: the list, or the detail of one flag, by the part of the address after "#".
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

// The frame may open no window and move no page around it. A link that leads out is followed by Airflow's own document.
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

// Airflow keeps the address of the frame in its own, and so a detail can be linked to. Airflow notices loads of the frame only.
function tellAirflow() {
  const around = window.parent;
  if (around === window || !around.location.pathname.endsWith(location.pathname)) return;
  around.history.replaceState(around.history.state, "", around.location.pathname + location.hash);
}

window.addEventListener("hashchange", () => {
  tellAirflow();
  show();
});
show();
