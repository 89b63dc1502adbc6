// The page of a build: in the tab of a task instance, and by itself.

import { history, Phases, timeline } from "./charts.js";
import { alone, ask, duration, el, follow, here, moment, pill, root, show, source } from "./common.js";
import { Log } from "./log.js";

const CODE = new Set(["Commit", "Changelist", "Build"]);
const SHORT = { Commit: (value) => value.slice(0, 12), "Queued at": moment, "Finished at": moment };

const main = document.getElementById("page");
const phases = new Phases();
const log = new Log();
const parts = {
  ways: el("nav", { class: "ways" }),
  status: el("span", { role: "status" }),
  title: el("h1", {}),
  clock: el("span", { class: "clock" }),
  message: el("p", { class: "message" }),
  actions: el("div", { class: "actions" }),
  notice: el("p", { class: "notice", role: "status", hidden: true }),
  newer: el("p", { class: "notice gone", hidden: true }),
  failure: el("section", { class: "card failure", hidden: true, "aria-label": "Why it failed" }),
  phases: el("div", {}),
  facts: el("dl", {}),
  history: el("div", { class: "history" }),
};
const build = el(
  "div",
  { class: "build" },
  el(
    "header",
    {},
    el("div", { class: "what" }, parts.status, parts.title, parts.clock),
    parts.actions,
    parts.message,
  ),
  parts.newer,
  parts.failure,
  el("section", { class: "card phases", "aria-label": "Phases" }, parts.phases),
  el(
    "div",
    { class: "columns" },
    log.element,
    el(
      "div",
      { class: "side" },
      el("section", { class: "card", "aria-label": "Facts" }, el("h2", {}, "Build"), parts.facts),
      el("section", { class: "card", "aria-label": "Builds of this setting" }, el("h2", {}, "Builds of this setting"), parts.history),
    ),
  ),
);

let shown = null;
let clock = { seconds: null, since: 0, runs: false };

function ways() {
  const query = new URLSearchParams(location.search);
  const place = ["dag_id", "run_id", "task_id"].map((name) => query.get(name));
  const links = here === "task" ? [] : [el("a", { href: new URL("builds", root).href }, "All builds")];
  if (alone && place.every(Boolean)) {
    const [dag, run, task] = place.map(encodeURIComponent);
    const index = /^\d+$/.test(query.get("map_index") ?? "") ? `/mapped/${query.get("map_index")}` : "";
    const address = new URL(`../dags/${dag}/runs/${run}/tasks/${task}${index}`, root);
    links.push(el("a", { href: address.href }, `Task ${query.get("task_id")} in Airflow`));
  }
  show(parts.ways, ...links);
}

function take(told) {
  main.removeAttribute("aria-busy");
  if (told.kind === "build") showBuild(told);
  else if (shown === null || told.kind === "none") showMessage(told);
  else say(`${told.message} What is shown may be out of date.`);
}

function say(text) {
  parts.notice.hidden = !text;
  parts.notice.textContent = text;
}

function showMessage(told) {
  shown = null;
  const waits = told.kind === "waiting" ? el("i", { class: "spinner", "aria-hidden": "true" }) : null;
  const trouble = told.kind === "trouble" ? "BuildPixel could not be asked. " : "";
  main.replaceChildren(parts.ways, el("p", { class: "empty", role: "status" }, waits, trouble, told.message));
}

function showBuild(told) {
  if (shown === null) main.replaceChildren(parts.ways, parts.notice, build);
  if (shown === null || shown.id !== told.id) document.title = `${told.title} · BuildPixel`;
  shown = told;
  say("");
  show(parts.status, pill(told.status, told.tone));
  show(parts.title, told.title);
  show(parts.message, told.message);
  clock = { seconds: told.seconds, since: performance.now(), runs: told.again !== null };
  tick();
  showActions(told);
  showNewer(told.newer);
  showFailure(told.failure);
  show(parts.phases, ...timeline(phases.learn(told.phases)));
  show(parts.facts, ...facts(told));
  show(parts.history, ...history(told.history));
  log.take(told.log);
}

function facts(told) {
  return [...told.facts, ["Connection", told.connection]].flatMap(([name, value]) => [
    el("dt", {}, name),
    el("dd", { title: SHORT[name] ? value : null, class: CODE.has(name) ? "code" : null }, SHORT[name]?.(value) ?? value),
  ]);
}

function tick() {
  const more = clock.runs ? (performance.now() - clock.since) / 1000 : 0;
  parts.clock.textContent = clock.seconds === null ? "" : duration(clock.seconds + more);
}

function showActions(told) {
  if (told.artifact && !parts.actions.querySelector("button")) {
    const button = el("button", { type: "button" }, "Download artifact");
    button.addEventListener("click", () => download(button));
    parts.actions.append(button);
  }
  // A frame of Airflow's UI may open no other site.
  if (alone && told.dashboard && !parts.actions.querySelector("a")) {
    parts.actions.append(el("a", { href: told.dashboard, rel: "noreferrer" }, "Open in BuildPixel"));
  }
}

async function download(button) {
  button.disabled = true;
  const told = await ask(source, "POST");
  button.disabled = false;
  if (told.url && /^https?:/.test(told.url)) location.assign(told.url);
  else say(told.message ?? "There is no address to download from.");
}

function showNewer(newer) {
  parts.newer.hidden = newer === null;
  if (newer === null) return;
  const connection = encodeURIComponent(shown.connection);
  const address = new URL(`builds/${connection}/${encodeURIComponent(newer.id)}`, root);
  const by = [newer.commit && `of ${newer.commit.slice(0, 10)}`, newer.author && `triggered by ${newer.author}`];
  const why = by.filter(Boolean).join(", ");
  show(parts.newer, "Superseded by build ", el("a", { href: address.href }, newer.id), why ? ` (${why})` : "", ", which is ", newer.status, ".");
}

function showFailure(failure) {
  parts.failure.hidden = failure === null;
  if (failure === null) return;
  show(
    parts.failure,
    el("h2", {}, failure.phase ? `Failed in ${failure.phase}` : "Failed"),
    failure.errors.length ? el("pre", {}, failure.errors.join("\n")) : null,
    failure.advice ? el("p", {}, `What to do: ${failure.advice}.`) : null,
  );
}

ways();
setInterval(tick, 1000);
follow(source, take);
