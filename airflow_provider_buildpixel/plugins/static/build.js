// The page of a build: in the tab of a task instance, and as a page of its own.

import { history, Phases, timeline } from "./charts.js";
import {
  dataUrl,
  el,
  formatDuration,
  formatTimeShort,
  isTopLevel,
  pagePath,
  pill,
  poll,
  request,
  root,
  setContent,
} from "./common.js";
import { Log } from "./log.js";

const MONOSPACE = new Set(["Commit", "Changelist", "Build"]);
const FORMATS = { Commit: (value) => value.slice(0, 12), "Queued at": formatTimeShort, "Finished at": formatTimeShort };

const main = document.getElementById("page");
const phases = new Phases();
const log = new Log();
const parts = {
  links: el("nav", { class: "links" }),
  status: el("span", { role: "status" }),
  title: el("h1", {}),
  elapsed: el("span", { class: "elapsed" }),
  message: el("p", { class: "message" }),
  actions: el("div", { class: "actions" }),
  notice: el("p", { class: "notice", role: "status", hidden: true }),
  newer: el("p", { class: "notice neutral", hidden: true }),
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
    el("div", { class: "headline" }, parts.status, parts.title, parts.elapsed),
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
let elapsed = { seconds: null, measuredAt: 0, running: false };

function showLinks() {
  const query = new URLSearchParams(location.search);
  const ids = ["dag_id", "run_id", "task_id"].map((name) => query.get(name));
  const links = pagePath === "task" ? [] : [el("a", { href: new URL("builds", root).href }, "All builds")];
  if (isTopLevel && ids.every(Boolean)) {
    const [dag, run, task] = ids.map(encodeURIComponent);
    const index = /^\d+$/.test(query.get("map_index") ?? "") ? `/mapped/${query.get("map_index")}` : "";
    const url = new URL(`../dags/${dag}/runs/${run}/tasks/${task}${index}`, root);
    links.push(el("a", { href: url.href }, `Task ${query.get("task_id")} in Airflow`));
  }
  setContent(parts.links, ...links);
}

function update(data) {
  main.removeAttribute("aria-busy");
  if (data.kind === "build") showBuild(data);
  else if (shown === null || data.kind === "unavailable") showMessage(data);
  else showNotice(`${data.message} The page may be out of date.`);
}

function showNotice(text) {
  parts.notice.hidden = !text;
  parts.notice.textContent = text;
}

function showMessage(data) {
  shown = null;
  const spinner = data.kind === "waiting" ? el("i", { class: "spinner", "aria-hidden": "true" }) : null;
  const prefix = data.kind === "error" ? "The build could not be read from BuildPixel. " : "";
  main.replaceChildren(parts.links, el("p", { class: "empty", role: "status" }, spinner, prefix, data.message));
}

function showBuild(data) {
  if (shown === null) main.replaceChildren(parts.links, parts.notice, build);
  if (shown === null || shown.id !== data.id) document.title = `${data.title} · BuildPixel`;
  shown = data;
  showNotice("");
  setContent(parts.status, pill(data.status, data.tone));
  setContent(parts.title, data.title);
  setContent(parts.message, data.message);
  elapsed = { seconds: data.seconds, measuredAt: performance.now(), running: data.refresh_after !== null };
  showElapsed();
  showActions(data);
  showNewer(data.newer);
  showFailure(data.failure);
  setContent(parts.phases, ...timeline(phases.merge(data.phases)));
  setContent(parts.facts, ...facts(data));
  setContent(parts.history, ...history(data.history));
  log.update(data.log);
}

function facts(data) {
  return [...data.facts, ["Connection", data.connection]].flatMap(([name, value]) => [
    el("dt", {}, name),
    el("dd", { title: FORMATS[name] ? value : null, class: MONOSPACE.has(name) ? "code" : null }, FORMATS[name]?.(value) ?? value),
  ]);
}

function showElapsed() {
  const { seconds, measuredAt, running } = elapsed;
  const sinceThen = running ? (performance.now() - measuredAt) / 1000 : 0;
  parts.elapsed.textContent = seconds === null ? "" : formatDuration(seconds + sinceThen);
}

function showActions(data) {
  if (data.has_artifact && !parts.actions.querySelector("button")) {
    const button = el("button", { type: "button" }, "Download artifact");
    button.addEventListener("click", () => download(button));
    parts.actions.append(button);
  }
  // Airflow's UI does not let a frame open another site.
  if (isTopLevel && data.dashboard_url && !parts.actions.querySelector("a")) {
    parts.actions.append(el("a", { href: data.dashboard_url, rel: "noreferrer" }, "Open in BuildPixel"));
  }
}

async function download(button) {
  button.disabled = true;
  const data = await request(dataUrl, "POST");
  button.disabled = false;
  if (data.url && /^https?:/.test(data.url)) location.assign(data.url);
  else showNotice(data.message ?? "BuildPixel returned no download URL.");
}

function showNewer(newer) {
  parts.newer.hidden = newer === null;
  if (newer === null) return;
  const connection = encodeURIComponent(shown.connection);
  const url = new URL(`builds/${connection}/${encodeURIComponent(newer.id)}`, root);
  const details = [
    newer.commit && `of ${newer.commit.slice(0, 10)}`,
    newer.triggered_by && `triggered by ${newer.triggered_by}`,
  ].filter(Boolean);
  setContent(parts.newer, "Superseded by build ", el("a", { href: url.href }, newer.id), details.length ? ` (${details.join(", ")})` : "", ", which is ", newer.status, ".");
}

function showFailure(failure) {
  parts.failure.hidden = failure === null;
  if (failure === null) return;
  setContent(
    parts.failure,
    el("h2", {}, failure.phase ? `Failed in ${failure.phase}` : "Failed"),
    failure.errors.length ? el("pre", {}, failure.errors.join("\n")) : null,
    failure.advice ? el("p", {}, `What to do: ${failure.advice}.`) : null,
  );
}

showLinks();
setInterval(showElapsed, 1000);
poll(dataUrl, update);
