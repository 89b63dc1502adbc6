// The end of a build's log: grows while the build runs, filtered by level and by words.

import { el } from "./common.js";

const KEPT = 5000;
const LEVELS = { info: 0, warn: 1, error: 2 };

const key = (line) => line.join("\u0000");

/**
 * Gives those lines of an answer that are new. An answer holds the last lines there are, so its
 * beginning repeats the end of what is there; where nothing repeats, some lines were missed.
 */
export function fresh(known, told) {
  const ours = known.map(key);
  const theirs = told.map(key);
  for (let count = Math.min(ours.length, theirs.length); count > 0; count -= 1) {
    if (theirs.slice(0, count).every((line, at) => line === ours[ours.length - count + at])) {
      return { lines: told.slice(count), gap: false };
    }
  }
  return { lines: told, gap: known.length > 0 && told.length > 0 };
}

export class Log {
  constructor() {
    this.known = [];
    this.level = "info";
    this.words = "";
    this.lines = el("div", { class: "lines", tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Log lines" });
    this.count = el("output", { class: "quiet" });
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
        this.levels(),
        this.search,
        el("label", { class: "check", for: "follow" }, this.follow, "Follow"),
        this.count,
      ),
      this.lines,
    );
    this.listen();
  }

  levels() {
    const choices = [
      ["info", "All"],
      ["warn", "Warnings"],
      ["error", "Errors"],
    ].map(([level, name]) => {
      const input = el("input", { type: "radio", name: "level", value: level, id: `level-${level}` });
      input.checked = level === this.level;
      input.addEventListener("change", () => {
        this.level = level;
        this.refresh();
      });
      return [input, el("label", { for: `level-${level}` }, name)];
    });
    return el("fieldset", { class: "levels" }, el("legend", { class: "aside" }, "Level"), choices.flat());
  }

  listen() {
    this.search.addEventListener("input", () => {
      this.words = this.search.value.toLowerCase();
      this.refresh();
    });
    this.follow.addEventListener("change", () => this.scroll());
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

  /** Takes the lines of an answer. */
  take(told) {
    const { lines, gap } = fresh(this.known, told);
    if (gap) this.lines.append(el("p", { class: "gap" }, "… some lines are only in BuildPixel and in the task's log …"));
    this.known.push(...lines);
    this.lines.append(...lines.map((line) => this.line(line)));
    this.forget();
    if (lines.length || !this.known.length) this.tell();
    if (lines.length) this.scroll();
  }

  forget() {
    const excess = this.known.length - KEPT;
    if (excess <= 0) return;
    this.known.splice(0, excess);
    [...this.lines.querySelectorAll(".line")].slice(0, excess).forEach((line) => line.remove());
  }

  line([time, level, text]) {
    const clock = /T(\d\d:\d\d:\d\d)/.exec(time ?? "")?.[1] ?? "";
    const element = el(
      "div",
      { class: `line ${level}` },
      el("time", { datetime: time, title: time }, clock),
      el("span", { class: "text" }, text),
    );
    this.filter(element, level, text);
    return element;
  }

  filter(element, level, text) {
    const found = text.toLowerCase().includes(this.words);
    element.hidden = LEVELS[level] < LEVELS[this.level] || !found;
    const span = element.querySelector(".text");
    if (element.hidden) return;
    span.replaceChildren(...(this.words ? marked(text, this.words) : [text]));
  }

  refresh() {
    [...this.lines.querySelectorAll(".line")].forEach((element, at) => {
      const [, level, text] = this.known[at];
      this.filter(element, level, text);
    });
    this.tell();
    this.scroll();
  }

  tell() {
    const shown = this.lines.querySelectorAll(".line:not([hidden])").length;
    const all = this.known.length;
    this.count.textContent = shown === all ? `${all} lines` : `${shown} of ${all} lines`;
  }

  scroll() {
    if (this.follow.checked) this.lines.scrollTop = this.lines.scrollHeight;
  }
}

/** Cuts a text into pieces, those that were searched for as marks. */
function marked(text, words) {
  const pieces = [];
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(words); at >= 0; at = lower.indexOf(words, from)) {
    pieces.push(text.slice(from, at), el("mark", {}, text.slice(at, at + words.length)));
    from = at + words.length;
  }
  return [...pieces, text.slice(from)];
}
