// Formatting of numbers, times and states.

import { h, s, setAttribute, setText } from "./dom.js";

/** Mark, tone and rank of each status (rank 0 is the worst). */
const STATUS = {
  failed: { mark: "cross", tone: "bad", rank: 0 },
  silent: { mark: "cross", tone: "bad", rank: 0 },
  retrying: { mark: "triangle", tone: "warn", rank: 1 },
  unknown: { mark: "ring", tone: "warn", rank: 1 },
  connecting: { mark: "ring", tone: "wait", rank: 2 },
  running: { mark: "dot", tone: "good", rank: 5 },
  stopped: { mark: "bar", tone: "idle", rank: 6 },
  ended: { mark: "bar", tone: "idle", rank: 7 },
  disabled: { mark: "bar", tone: "idle", rank: 8 },
};

export const STATUSES = Object.keys(STATUS);

const RETRY = {
  unreachable: "it can't be reached",
  unauthorized: "its user name or password was rejected",
  untrusted: "its certificate isn't trusted",
  not_found: "the file, device or stream doesn't exist",
  undecodable: "its stream can't be decoded",
  end_of_stream: "its stream ended",
  stalled: "no frames arrive any more",
  pipeline_error: "its pipeline failed",
};

const CAUSES = {
  fps_limit: "above the configured frame rate",
  skipped: "only one frame in N is processed",
  queue_full: "the worker was behind",
  stale: "too old to be processed",
  no_key_frame: "before the first key frame",
  corrupt: "the decoder marked it as corrupt",
  convert: "the frame could not be converted",
  infer: "inference failed",
  shutdown: "the worker stopped",
  stage_failed: "a stage failed",
  buffer_full: "Kafka was unavailable for too long",
  rejected: "Kafka refused the record",
  sink_failed: "the Kafka producer failed",
};

export const causeInWords = (cause) => CAUSES[cause] ?? cause.replaceAll("_", " ");

const look = (status) => STATUS[status] ?? { mark: "ring", tone: "idle", rank: 4 };

/** Returns the rank of a camera for sorting: cameras with problems have lower ranks. */
export function rank(camera) {
  const { rank: own } = look(camera.status);
  if (own < 5) return own;
  if (camera.status === "stopped" && camera.detail) return 2;
  if (camera.alerts_open > 0) return 3;
  return camera.degraded ? 4 : own;
}

export const isTrouble = (camera) => rank(camera) < 5;

/** Returns a sentence about the problem of a camera; empty if there is none. */
export function reason(camera, now) {
  const why = camera.detail || (camera.retry && (RETRY[camera.retry] ?? camera.retry.replaceAll("_", " ")));
  switch (camera.status) {
    case "silent": {
      const last = camera.last_frame_at ? `; the last frame arrived ${ago(camera.last_frame_at, now)}` : "";
      const before = why ? `; before that: ${why}` : "";
      return `No records are received${camera.worker ? ` from ${camera.worker}` : ""}${last}${before}.`;
    }
    case "failed":
      return `Failed: ${why || "no reason reported"}`;
    case "retrying":
      return `Reconnecting: ${why || "no reason reported"}`;
    case "connecting":
      return "Connecting; no frame received yet";
    case "unknown":
      return "In the registry, but not reported by any worker yet";
    case "disabled":
      return "Disabled in the registry";
    case "stopped":
      return camera.detail || "Stopped";
    case "ended":
      return camera.detail || "The file was read to its end";
    default:
      return camera.degraded
        ? `Its worker exceeds its latency budget and processes 1 frame in ${camera.degraded}`
        : "";
  }
}

const MARKS = {
  dot: () => s("circle", { cx: 8, cy: 8, r: 5 }),
  ring: () => s("circle", { cx: 8, cy: 8, r: 4.5, class: "hollow" }),
  triangle: () => s("path", { d: "M8 2 15 14H1Z" }),
  cross: () => s("path", { d: "M3 3l10 10M13 3 3 13", class: "stroke" }),
  bar: () => s("path", { d: "M3 8h10", class: "stroke" }),
};

function mark(shape) {
  return s("svg", { class: "mark", viewBox: "0 0 16 16", "aria-hidden": "true" }, MARKS[shape]());
}

/** Creates an element that shows a status as a mark and a word; `showStatus` updates it. */
export function statusElement(status) {
  const element = h("span", { class: "status" });
  showStatus(element, status);
  return element;
}

export function showStatus(element, status, word = status) {
  if (element.dataset.status === status && element.dataset.word === word) return;
  const { tone, mark: shape } = look(status);
  element.dataset.status = status;
  element.dataset.word = word;
  element.dataset.tone = tone;
  element.replaceChildren(mark(shape), h("span", null, word));
}

const LEVEL_TONES = { critical: ["cross", "bad"], warning: ["triangle", "warn"], info: ["dot", "info"] };

export function levelElement(level) {
  const [shape, tone] = LEVEL_TONES[level] ?? ["ring", "idle"];
  return h("span", { class: "status level", "data-tone": tone }, mark(shape), h("span", null, level));
}

/** Shows the state of a worker, or that it is down, with the marks of a camera's status. */
export function showWorkerState(element, worker) {
  if (worker.down) showStatus(element, "silent", "down");
  else {
    const like = { running: "running", starting: "connecting", draining: "retrying", stopped: "stopped" };
    showStatus(element, like[worker.state] ?? worker.state, worker.state);
  }
}

const whole = new Intl.NumberFormat();
const oneDigit = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const count = (number) => whole.format(number ?? 0);
export const rate = (number) => (number === null || number === undefined ? "–" : oneDigit.format(number));
export const percent = (part) => (part === null || part === undefined ? "–" : `${Math.round(part * 100)} %`);

/** Formats a duration in a suitable unit. */
export function span(ms) {
  if (ms === null || ms === undefined) return "–";
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (size < 10_000) return `${seconds.toFixed(1)} s`;
  if (size < 120_000) return `${Math.round(seconds)} s`;
  if (size < 7_200_000) return `${Math.round(seconds / 60)} min`;
  if (size < 172_800_000) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export function ago(at, now) {
  const ms = Math.max(0, now - Date.parse(at));
  return ms < 1000 ? "now" : `${span(Math.round(ms / 1000) * 1000).replace(".0", "")} ago`;
}

export const sum = (counts) => Object.values(counts ?? {}).reduce((total, one) => total + one, 0);

/** Formats counts as `person 3, car 1`, the highest first. */
export function countsInWords(counts) {
  const entries = Object.entries(counts ?? {}).filter(([, number]) => number > 0);
  entries.sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
  return entries.map(([label, number]) => `${label} ${count(number)}`).join(", ");
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const clockTime = (date) => clock.format(date);
export const minuteTime = (date) => minute.format(date);
export const dayAndMinute = (date) => `${day.format(date)}, ${minute.format(date)}`;

/** Creates an element that shows a time in the browser's time zone, with the exact UTC time as its title. */
export function timeElement(at) {
  const element = h("time");
  showTime(element, at);
  return element;
}

export function showTime(element, at) {
  if (!at) {
    element.removeAttribute("datetime");
    element.removeAttribute("title");
    setText(element, "–");
    return;
  }
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  setAttribute(element, "datetime", at);
  setAttribute(element, "title", `${at.replace("T", " ").replace("Z", "")} UTC`);
  setText(element, today ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`);
}

const USUAL = ["person", "car", "truck", "bicycle", "bus", "motorcycle", "dog", "traffic light"];

/** Returns the index of a class's color, 0 to 7. It depends only on the label, so it is always the same. */
export function colorOf(label) {
  const usual = USUAL.indexOf(label);
  if (usual >= 0) return usual;
  let hash = 0;
  for (const letter of label) hash = (hash * 31 + letter.codePointAt(0)) % 65_521;
  return hash % 8;
}
