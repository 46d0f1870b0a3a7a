// Light or dark as in Airflow around this frame, or as in the system without a frame. It runs before the first paint.
"use strict";
(() => {
  const around = (() => {
    try {
      return window.parent !== window ? window.parent.document.documentElement : null;
    } catch {
      return null;
    }
  })();
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = around ? around.classList.contains("dark") : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    window.dispatchEvent(new Event("themechange"));
  };
  show();
  system.addEventListener("change", show);
  if (around) new MutationObserver(show).observe(around, { attributes: true, attributeFilter: ["class"] });
})();
