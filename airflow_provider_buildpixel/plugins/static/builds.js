// The list of builds: those that tasks of this Airflow wait for, and recent others.

import { dataUrl, el, formatDuration, pill, poll, root, setContent } from "./common.js";

const TONES = { success: "success", failed: "failed", upstream_failed: "failed", skipped: "neutral", removed: "neutral" };
const main = document.getElementById("page");
const notice = el("p", { class: "notice", role: "status", hidden: true });
const waiting = el("div", { class: "scroll" });
const recent = el("div", { class: "scroll" });

function table(rows, emptyText) {
  if (!rows.length) return el("p", { class: "muted" }, emptyText);
  const names = ["Status", "Build", "Branch", "Commit", "Task", "Time"];
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map(row)),
  );
}

function row(build) {
  const { dag_id: dag, run_id: run, task_id: task, map_index: index, state } = build.task;
  const status = build.status ? pill(build.status, build.tone) : pill(`task ${state}`, TONES[state] ?? "live");
  const name = index >= 0 ? `${task} [${index}]` : task;
  return el(
    "tr",
    {},
    el("td", {}, status),
    el("td", {}, el("a", { href: new URL(build.page, root).href }, build.title), el("small", {}, build.build)),
    el("td", {}, build.branch),
    el("td", { class: "code", title: build.commit }, build.commit.slice(0, 10)),
    el("td", { title: run }, el("span", {}, `${dag} · ${name}`), el("small", {}, run)),
    el("td", { class: "number" }, formatDuration(build.seconds)),
  );
}

function update(data) {
  main.removeAttribute("aria-busy");
  notice.hidden = !data.message;
  notice.textContent = data.message ?? "";
  if (!data.waiting) return;
  setContent(waiting, table(data.waiting, "No task waits for a build in the Dags that you may read."));
  setContent(recent, table(data.recent, "No task has had a build yet."));
}

document.title = "BuildPixel builds";
main.classList.add("list");
main.replaceChildren(
  el("h1", {}, "BuildPixel builds"),
  notice,
  el("section", { class: "card", "aria-label": "Builds that tasks wait for" }, el("h2", {}, "Builds that tasks wait for"), waiting),
  el("section", { class: "card", "aria-label": "Recent builds of tasks" }, el("h2", {}, "Recent builds of tasks"), recent),
);
poll(dataUrl, update);
