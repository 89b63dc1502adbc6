// The end of a build's log: grows while the build runs; can be filtered by level and searched.

import { el } from "./common.js";

const MAX_LINES = 5000;
const LEVELS = { info: 0, warn: 1, error: 2 };

const key = (line) => line.join("\u0000");

/**
 * Returns the lines of a response that are new. A response has the most recent lines, so its first
 * lines repeat the last known ones. If none is repeated, some lines were missed: `gap` is true.
 */
export function newLines(known, received) {
  const ours = known.map(key);
  const theirs = received.map(key);
  for (let count = Math.min(ours.length, theirs.length); count > 0; count -= 1) {
    if (theirs.slice(0, count).every((line, index) => line === ours[ours.length - count + index])) {
      return { lines: received.slice(count), gap: false };
    }
  }
  return { lines: received, gap: known.length > 0 && received.length > 0 };
}

export class Log {
  constructor() {
    this.known = [];
    this.level = "info";
    this.searchText = "";
    this.lines = el("div", { class: "lines", tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Log lines" });
    this.count = el("output", { class: "muted" });
    this.follow = el("input", { type: "checkbox", id: "follow" });
    this.follow.checked = true;
    this.search = el("input", {
      type: "search",
      placeholder: "Search  ( / )",
      "aria-label": "Search in the log",
      spellcheck: "false",
      autocomplete: "off",
    });
    this.element = el(
      "section",
      { class: "card log", "aria-label": "Log" },
      el(
        "div",
        { class: "tools" },
        el("h2", {}, "Log"),
        this.levelFilter(),
        this.search,
        el("label", { class: "check", for: "follow" }, this.follow, "Follow"),
        this.count,
      ),
      this.lines,
    );
    this.addListeners();
  }

  levelFilter() {
    const choices = [
      ["info", "All"],
      ["warn", "Warnings"],
      ["error", "Errors"],
    ].map(([level, name]) => {
      const input = el("input", { type: "radio", name: "level", value: level, id: `level-${level}` });
      input.checked = level === this.level;
      input.addEventListener("change", () => {
        this.level = level;
        this.applyFilters();
      });
      return [input, el("label", { for: `level-${level}` }, name)];
    });
    return el("fieldset", { class: "levels" }, el("legend", { class: "visually-hidden" }, "Level"), choices.flat());
  }

  addListeners() {
    this.search.addEventListener("input", () => {
      this.searchText = this.search.value.toLowerCase();
      this.applyFilters();
    });
    this.follow.addEventListener("change", () => this.scrollToEnd());
    this.lines.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = this.lines;
      this.follow.checked = scrollHeight - scrollTop - clientHeight < 30;
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && !event.ctrlKey && !event.metaKey && document.activeElement !== this.search) {
        event.preventDefault();
        this.search.focus();
      }
      if (event.key === "Escape" && document.activeElement === this.search) {
        this.search.value = "";
        this.search.dispatchEvent(new Event("input"));
        this.lines.focus();
      }
    });
  }

  /** Appends the new lines of a response. */
  update(received) {
    const { lines, gap } = newLines(this.known, received);
    if (gap) this.lines.append(el("p", { class: "gap" }, "… some lines are missing here: see BuildPixel or the task's log …"));
    this.known.push(...lines);
    this.lines.append(...lines.map((line) => this.lineElement(line)));
    this.trim();
    if (lines.length || !this.known.length) this.updateCount();
    if (lines.length) this.scrollToEnd();
  }

  trim() {
    const excess = this.known.length - MAX_LINES;
    if (excess <= 0) return;
    this.known.splice(0, excess);
    [...this.lines.querySelectorAll(".line")].slice(0, excess).forEach((line) => line.remove());
  }

  lineElement([time, level, text]) {
    const clock = /T(\d\d:\d\d:\d\d)/.exec(time ?? "")?.[1] ?? "";
    const element = el(
      "div",
      { class: `line ${level}` },
      el("time", { datetime: time, title: time }, clock),
      el("span", { class: "text" }, text),
    );
    this.filterLine(element, level, text);
    return element;
  }

  filterLine(element, level, text) {
    const matches = text.toLowerCase().includes(this.searchText);
    element.hidden = LEVELS[level] < LEVELS[this.level] || !matches;
    const span = element.querySelector(".text");
    if (element.hidden) return;
    span.replaceChildren(...(this.searchText ? highlight(text, this.searchText) : [text]));
  }

  applyFilters() {
    [...this.lines.querySelectorAll(".line")].forEach((element, index) => {
      const [, level, text] = this.known[index];
      this.filterLine(element, level, text);
    });
    this.updateCount();
    this.scrollToEnd();
  }

  updateCount() {
    const shown = this.lines.querySelectorAll(".line:not([hidden])").length;
    const total = this.known.length;
    this.count.textContent = shown === total ? `${total} lines` : `${shown} of ${total} lines`;
  }

  scrollToEnd() {
    if (this.follow.checked) this.lines.scrollTop = this.lines.scrollHeight;
  }
}

/** Splits a text into strings and marks: each match of the search text becomes a mark. */
function highlight(text, searchText) {
  const parts = [];
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(searchText); at >= 0; at = lower.indexOf(searchText, from)) {
    parts.push(text.slice(from, at), el("mark", {}, text.slice(at, at + searchText.length)));
    from = at + searchText.length;
  }
  return [...parts, text.slice(from)];
}
