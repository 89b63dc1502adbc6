// The two pictures: how long each phase took, and how long the builds before this one took.

import { duration, el, instant, svg } from "./common.js";

const STATES = {
  done: "done",
  now: "under way",
  bad: "failed here",
  cut: "cut off here",
  ahead: "",
  never: "not reached",
};

/** What was learnt of the phases earlier: a log that has moved on shows their starts no more. */
export class Phases {
  constructor() {
    this.known = [];
  }

  /** Takes the phases of an answer; gives them with what was known before. */
  learn(told) {
    const reached = (phases) => phases.findLastIndex((phase) => phase.state !== "ahead");
    const over = told.every((phase) => phase.state !== "now" && phase.state !== "ahead");
    if (!over && reached(told) < reached(this.known)) return this.known;
    this.known = told.map((phase, place) => {
      const start = phase.start ?? this.known[place]?.start ?? null;
      const end = phase.end ?? this.known[place]?.end ?? null;
      const seconds = start && end ? Math.max(0, (Date.parse(end) - Date.parse(start)) / 1000) : null;
      return { ...phase, start, end, seconds };
    });
    return this.known;
  }
}

/** A bar with a piece for each phase, and below it their names and durations. */
export function timeline(phases) {
  const known = phases.map((phase) => phase.seconds).filter((seconds) => seconds !== null);
  const usual = known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : 1;
  const pieces = phases.map((phase) => {
    const piece = el("span", { class: `piece ${phase.state}` });
    // Every piece stays wide enough to be seen, also the one that has just begun.
    piece.style.flexGrow = String(Math.max(phase.seconds ?? usual, usual * 0.2) || 1);
    return piece;
  });
  const names = phases.map((phase) =>
    el(
      "li",
      { class: phase.state },
      el("i", { "aria-hidden": "true" }),
      el("b", {}, phase.name),
      el("span", {}, duration(phase.seconds) || STATES[phase.state] || "–"),
    ),
  );
  return [el("div", { class: "bar", "aria-hidden": "true" }, pieces), el("ol", { class: "names" }, names)];
}

const WIDTH = 320;
const HEIGHT = 96;
const GAP = 4;

/** The builds of the setting as bars, the higher the longer, and the same in words. */
export function history({ bars, usual_seconds: usual }) {
  const most = Math.max(usual ?? 0, ...bars.map((bar) => bar.seconds ?? 0), 1);
  const step = WIDTH / Math.max(bars.length, 10);
  const height = (seconds) => Math.max(4, (seconds / most) * (HEIGHT - 8));
  const pieces = bars.map((bar, place) => {
    const tall = height(bar.seconds ?? 0);
    return svg(
      "rect",
      {
        class: `${bar.tone}${bar.current ? " current" : ""}`,
        x: place * step + GAP / 2,
        y: HEIGHT - tall,
        width: step - GAP,
        height: tall,
        rx: 2,
      },
      svg("title", {}, words(bar)),
    );
  });
  if (usual !== null) {
    const y = HEIGHT - height(usual);
    pieces.push(svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y }));
  }
  return [
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, pieces),
    el("p", { class: "quiet" }, usual === null ? "None has succeeded yet." : `Usually ${duration(usual)}.`),
    el("ol", { class: "aside" }, bars.map((bar) => el("li", {}, words(bar)))),
  ];
}

function words(bar) {
  const facts = [bar.status, duration(bar.seconds), bar.commit.slice(0, 10)];
  const when = bar.created_at ? instant(bar.created_at) : "";
  return `${bar.current ? "This build: " : ""}${[...facts, when].filter(Boolean).join(", ")}`;
}
