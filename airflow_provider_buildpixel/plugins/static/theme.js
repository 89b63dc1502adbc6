"use strict";

// Sets the theme before the first paint. In a frame it is the class that Airflow's UI sets on its own
// document, else the user's choice that Airflow has stored, else the system's setting.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");

  function frameTheme() {
    try {
      if (parent === window) return null;
      const classes = parent.document.documentElement.classList;
      return ["dark", "light"].find((theme) => classes.contains(theme)) ?? null;
    } catch {
      return null; // the frame belongs to another origin
    }
  }

  function storedTheme() {
    try {
      const stored = localStorage.getItem("theme");
      return stored === "dark" || stored === "light" ? stored : null;
    } catch {
      return null; // storage is disabled
    }
  }

  function apply() {
    document.documentElement.dataset.theme = frameTheme() ?? storedTheme() ?? (system.matches ? "dark" : "light");
  }

  document.documentElement.toggleAttribute("data-framed", parent !== window);
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
  try {
    const options = { attributes: true, attributeFilter: ["class"] };
    if (parent !== window) new MutationObserver(apply).observe(parent.document.documentElement, options);
  } catch {
    // The frame belongs to another origin.
  }
})();
