// What all pages share. Everything that comes from BuildPixel goes into the page as text, through
// `el`, and in no other way.

/** The address below which the provider's routes are, whatever the base path. */
export const root = new URL("..", import.meta.url);

/** This page's path below it, such as "task" or "builds/<connection>/<build>". */
export const here = location.pathname.slice(root.pathname.length);

/** The address of this page's data. */
export const source = new URL(`data/${here}${location.search}`, root);

/** Whether the page is a page of its own, and not in a frame of Airflow's UI. */
export const alone = window.top === window;

/** Makes an element; children that are strings become text. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Makes an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Replaces what is in an element, unless it would look the same: so focus and selection stay. */
export function show(element, ...children) {
  const fresh = [...el("div", {}, ...children).childNodes];
  const there = element.childNodes;
  const same = fresh.length === there.length && fresh.every((node, at) => node.isEqualNode(there[at]));
  if (!same) element.replaceChildren(...fresh);
}

/** Says a duration for people. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Says an instant in the viewer's time zone; what is no instant is shown as it is. */
export function instant(text, options = { dateStyle: "medium", timeStyle: "medium" }) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : new Intl.DateTimeFormat(undefined, options).format(at);
}

/** Says an instant in little room. */
export function moment(text) {
  return instant(text, { day: "numeric", month: "short", hour: "numeric", minute: "2-digit", second: "2-digit" });
}

const ENDED = "Your session has ended. Reload Airflow and log in again.";
const AWAY = "Airflow does not answer.";

/** Asks a route; gives what it says, or a message where it says nothing that could be read. */
export async function ask(address, method = "GET") {
  let answer;
  try {
    answer = await fetch(address, { method, headers: { Accept: "application/json" } });
  } catch {
    return { kind: "trouble", message: AWAY, again: 5 };
  }
  if (answer.status === 401 || answer.status === 403) {
    return { kind: "none", message: ENDED, again: null };
  }
  try {
    return await answer.json();
  } catch {
    return { kind: "trouble", message: `Airflow answered ${answer.status}.`, again: 10 };
  }
}

/** Asks again and again, as often as the answers say, while somebody looks. */
export async function follow(address, take) {
  for (let troubles = 0; ; ) {
    const told = await ask(address);
    troubles = told.kind === "trouble" ? troubles + 1 : 0;
    take(told);
    if (told.again === null || told.again === undefined) return;
    await pause(told.again * Math.min(2 ** Math.max(0, troubles - 1), 12));
    await seen();
  }
}

function pause(seconds) {
  return new Promise((done) => setTimeout(done, seconds * 1000));
}

/** Waits until the page can be seen. */
function seen() {
  if (!document.hidden) return undefined;
  return new Promise((done) => {
    document.addEventListener("visibilitychange", done, { once: true });
  });
}

/** A status as a small coloured label. */
export function pill(status, tone) {
  return el("span", { class: `pill ${tone}` }, el("i", { "aria-hidden": "true" }), status);
}
