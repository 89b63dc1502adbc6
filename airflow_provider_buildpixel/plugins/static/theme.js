"use strict";

// Runs before the first paint: the theme is Airflow's, as far as it can be known. Airflow's UI marks
// its own document with the theme in use and keeps the user's choice; else the system decides.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");

  function marked() {
    try {
      if (parent === window) return null;
      const classes = parent.document.documentElement.classList;
      return ["dark", "light"].find((theme) => classes.contains(theme)) ?? null;
    } catch {
      return null; // framed by something of another origin
    }
  }

  function chosen() {
    try {
      const kept = localStorage.getItem("theme");
      return kept === "dark" || kept === "light" ? kept : null;
    } catch {
      return null; // storage is switched off
    }
  }

  function apply() {
    document.documentElement.dataset.theme = marked() ?? chosen() ?? (system.matches ? "dark" : "light");
  }

  document.documentElement.toggleAttribute("data-framed", parent !== window);
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
  try {
    const watched = { attributes: true, attributeFilter: ["class"] };
    if (parent !== window) new MutationObserver(apply).observe(parent.document.documentElement, watched);
  } catch {
    // As above.
  }
})();
