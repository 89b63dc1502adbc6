// The two charts: the durations of the phases, and of the previous builds.

import { el, formatDuration, formatTime, svg } from "./common.js";

const STATES = {
  done: "done",
  running: "running",
  failed: "failed here",
  superseded: "superseded here",
  upcoming: "",
  unreached: "not reached",
};

/** Remembers the start and end of each phase: later responses may lack them, as the log moves on. */
export class Phases {
  constructor() {
    this.known = [];
  }

  /** Merges the phases of a response with the known times; returns the result. */
  merge(phases) {
    const lastReached = (list) => list.findLastIndex((phase) => phase.state !== "upcoming");
    const ended = phases.every((phase) => phase.state !== "running" && phase.state !== "upcoming");
    if (!ended && lastReached(phases) < lastReached(this.known)) return this.known;
    this.known = phases.map((phase, index) => {
      const start = phase.start ?? this.known[index]?.start ?? null;
      const end = phase.end ?? this.known[index]?.end ?? null;
      const seconds = start && end ? Math.max(0, (Date.parse(end) - Date.parse(start)) / 1000) : null;
      return { ...phase, start, end, seconds };
    });
    return this.known;
  }
}

/** Creates a bar with one segment per phase, and below it their names and durations. */
export function timeline(phases) {
  const known = phases.map((phase) => phase.seconds).filter((seconds) => seconds !== null);
  const average = known.length ? known.reduce((sum, seconds) => sum + seconds, 0) / known.length : 1;
  const segments = phases.map((phase) => {
    const segment = el("span", { class: `segment ${phase.state}` });
    // Each segment is wide enough to be visible, even if its phase has just begun.
    segment.style.flexGrow = String(Math.max(phase.seconds ?? average, average * 0.2) || 1);
    return segment;
  });
  const names = phases.map((phase) =>
    el(
      "li",
      { class: phase.state },
      el("i", { "aria-hidden": "true" }),
      el("b", {}, phase.name),
      el("span", {}, formatDuration(phase.seconds) || STATES[phase.state] || "–"),
    ),
  );
  return [el("div", { class: "bar", "aria-hidden": "true" }, segments), el("ol", { class: "names" }, names)];
}

const WIDTH = 320;
const HEIGHT = 96;
const GAP = 4;

/** Creates a bar chart of the setting's builds by duration, and the same as text. */
export function history({ bars, median_seconds: median }) {
  const longest = Math.max(median ?? 0, ...bars.map((bar) => bar.seconds ?? 0), 1);
  const step = WIDTH / Math.max(bars.length, 10);
  const height = (seconds) => Math.max(4, (seconds / longest) * (HEIGHT - 8));
  const shapes = bars.map((bar, index) => {
    const barHeight = height(bar.seconds ?? 0);
    return svg(
      "rect",
      {
        class: `${bar.tone}${bar.current ? " current" : ""}`,
        x: index * step + GAP / 2,
        y: HEIGHT - barHeight,
        width: step - GAP,
        height: barHeight,
        rx: 2,
      },
      svg("title", {}, describe(bar)),
    );
  });
  if (median !== null) {
    const y = HEIGHT - height(median);
    shapes.push(svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y }));
  }
  return [
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, shapes),
    el("p", { class: "muted" }, median === null ? "No build has succeeded yet." : `Median: ${formatDuration(median)}.`),
    el("ol", { class: "visually-hidden" }, bars.map((bar) => el("li", {}, describe(bar)))),
  ];
}

function describe(bar) {
  const facts = [bar.status, formatDuration(bar.seconds), bar.commit.slice(0, 10)];
  const createdAt = bar.created_at ? formatTime(bar.created_at) : "";
  return `${bar.current ? "This build: " : ""}${[...facts, createdAt].filter(Boolean).join(", ")}`;
}
