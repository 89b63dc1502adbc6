// The list of builds: those that tasks of this Airflow wait for, and the latest others.

import { duration, el, follow, pill, root, show, source } from "./common.js";

const TONES = { success: "good", failed: "bad", upstream_failed: "bad", skipped: "gone", removed: "gone" };
const main = document.getElementById("page");
const notice = el("p", { class: "notice", role: "status", hidden: true });
const waited = el("div", { class: "scroll" });
const recent = el("div", { class: "scroll" });

function table(rows, empty) {
  if (!rows.length) return el("p", { class: "quiet" }, empty);
  const names = ["Status", "Build", "Branch", "Commit", "Task", "Time"];
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map(row)),
  );
}

function row(told) {
  const { dag_id: dag, run_id: run, task_id: task, map_index: index, state } = told.task;
  const status = told.status ? pill(told.status, told.tone) : pill(`task ${state}`, TONES[state] ?? "live");
  const name = index >= 0 ? `${task} [${index}]` : task;
  return el(
    "tr",
    {},
    el("td", {}, status),
    el("td", {}, el("a", { href: new URL(told.page, root).href }, told.title), el("small", {}, told.build)),
    el("td", {}, told.branch),
    el("td", { class: "code", title: told.commit }, told.commit.slice(0, 10)),
    el("td", { title: run }, el("span", {}, `${dag} · ${name}`), el("small", {}, run)),
    el("td", { class: "number" }, duration(told.seconds)),
  );
}

function take(told) {
  main.removeAttribute("aria-busy");
  notice.hidden = !told.message;
  notice.textContent = told.message ?? "";
  if (!told.waited) return;
  show(waited, table(told.waited, "No task of a Dag that you may read waits for a build."));
  show(recent, table(told.recent, "No task has had a build yet."));
}

document.title = "BuildPixel builds";
main.classList.add("list");
main.replaceChildren(
  el("h1", {}, "BuildPixel builds"),
  notice,
  el("section", { class: "card", "aria-label": "Builds that tasks wait for" }, el("h2", {}, "Builds that tasks wait for"), waited),
  el("section", { class: "card", "aria-label": "Recent builds of tasks" }, el("h2", {}, "Recent builds of tasks"), recent),
);
follow(source, take);
