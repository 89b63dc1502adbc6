// Shared by all pages. Everything that comes from BuildPixel is inserted as text, and only through `el`.

/** The root URL of the provider's routes, below any base path. */
export const root = new URL("..", import.meta.url);

/** This page's path below the root, such as "task" or "builds/<connection>/<build>". */
export const pagePath = location.pathname.slice(root.pathname.length);

/** The URL of this page's data. */
export const dataUrl = new URL(`data/${pagePath}${location.search}`, root);

/** Whether this is a page of its own and not in a frame of Airflow's UI. */
export const isTopLevel = window.top === window;

/** Creates an element; children that are strings become text. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Creates an SVG element. */
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

/** Replaces the content of an element, unless it is equal: focus and selection are then kept. */
export function setContent(element, ...children) {
  const updated = [...el("div", {}, ...children).childNodes];
  const current = element.childNodes;
  const equal =
    updated.length === current.length && updated.every((node, index) => node.isEqualNode(current[index]));
  if (!equal) element.replaceChildren(...updated);
}

/** Formats a duration, such as "3 min 20 s". */
export function formatDuration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const rounded = Math.round(seconds);
  if (rounded < 60) return `${rounded} s`;
  const minutes = Math.floor(rounded / 60);
  if (minutes < 60) return `${minutes} min ${rounded % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Formats a timestamp in the viewer's time zone; any other text is returned unchanged. */
export function formatTime(text, options = { dateStyle: "medium", timeStyle: "medium" }) {
  const date = new Date(text);
  return Number.isNaN(date.getTime()) ? text : new Intl.DateTimeFormat(undefined, options).format(date);
}

/** Formats a timestamp in a short form. */
export function formatTimeShort(text) {
  return formatTime(text, { day: "numeric", month: "short", hour: "numeric", minute: "2-digit", second: "2-digit" });
}

const LOGGED_OUT = "Your session has ended. Reload Airflow and log in again.";
const UNREACHABLE = "Airflow does not respond.";

/** Sends a request; returns its JSON, or a message of the same form if it has none. */
export async function request(url, method = "GET") {
  let response;
  try {
    response = await fetch(url, { method, headers: { Accept: "application/json" } });
  } catch {
    return { kind: "error", message: UNREACHABLE, refresh_after: 5 };
  }
  if (response.status === 401 || response.status === 403) {
    return { kind: "unavailable", message: LOGGED_OUT, refresh_after: null };
  }
  try {
    return await response.json();
  } catch {
    return { kind: "error", message: `Airflow answered with HTTP status ${response.status}.`, refresh_after: 10 };
  }
}

/** Requests data repeatedly while the page is visible, after the pauses that the responses name. */
export async function poll(url, onData) {
  for (let errors = 0; ; ) {
    const data = await request(url);
    errors = data.kind === "error" ? errors + 1 : 0;
    onData(data);
    if (data.refresh_after === null || data.refresh_after === undefined) return;
    await pause(data.refresh_after * Math.min(2 ** Math.max(0, errors - 1), 12));
    await untilVisible();
  }
}

function pause(seconds) {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

/** Waits until the page is visible. */
function untilVisible() {
  if (!document.hidden) return undefined;
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}

/** Creates a small coloured label for a status. */
export function pill(status, tone) {
  return el("span", { class: `pill ${tone}` }, el("i", { "aria-hidden": "true" }), status);
}
