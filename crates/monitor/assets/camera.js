// A camera's page: its image with boxes, zones and lines, its tracks, and its history.

import { cameraPath, getJson, url } from "./api.js";
import { arrange, choice, field, h, setAttribute, setText } from "./dom.js";
import { drawBoxes, Picture } from "./picture.js";
import { Plot } from "./plot.js";
import * as words from "./words.js";
import { Zones } from "./zones.js";

const ASK_MS = 3000;
/** Number of frames whose tracks are kept: an image arrives later than the tracks of its frame. */
const KEPT_TRACKS = 60;
/** Maximum difference of the capture times of an image and the tracks that are drawn over it. */
const NEAR_MS = 100;
const MOST_CLASSES = 8;
const RANGES = [
  [60, "1 hour"],
  [360, "6 hours"],
  [1440, "24 hours"],
];

function facts() {
  const cells = new Map();
  const list = h("dl", { class: "facts large" });
  const names = ["owner", "fps", "age", "clock", "received", "delivered", "priority", "epoch", "last frame", "size"];
  for (const name of names) {
    const cell = h("dd");
    cells.set(name, cell);
    list.append(h("div", null, h("dt", null, name), cell));
  }
  return { list, cells };
}

function table(caption, heads) {
  const body = h("tbody");
  const row = h("tr", null, ...heads.map((text) => h("th", { scope: "col" }, text)));
  return { body, root: h("table", null, h("caption", null, caption), h("thead", null, row), body) };
}

const cells = (first, ...others) =>
  h("tr", null, h("th", { scope: "row" }, first), ...others.map((text) => h("td", null, text)));

/** Replaces the rows of a table if their text differs. */
function fillRows(body, rows, none, columns) {
  const wanted = rows.length ? rows.map((row) => cells(...row)) : [h("tr", null, h("td", { colspan: columns }, none))];
  const said = (list) => list.map((row) => [...row.children].map((cell) => cell.textContent).join("\t")).join("\n");
  if (said(wanted) !== said([...body.children])) body.replaceChildren(...wanted);
}

export function open(main, { store, id }) {
  const gone = new AbortController();
  const title = h("h1", { tabindex: -1 }, id);
  const status = words.statusElement("connecting");
  const reason = h("p", { class: "reason notice" });
  const alerts = h("a", { class: "badge", href: url(`/alerts?state=open&camera=${encodeURIComponent(id)}`) });
  const lastFrame = words.timeElement(null);
  const { list, cells: fact } = facts();
  fact.get("last frame").append(lastFrame);
  const drops = table("Frames without a record", ["cause", "frames", "meaning"]);
  const labels = h("p", { class: "hint" });
  const takenAt = h("p", { class: "hint" });
  const missing = h("p", { class: "notice bad" });
  missing.hidden = true;
  alerts.hidden = true;

  const history = [];
  let tracks = [];
  let live = false;
  const picture = new Picture(id, () => drawPicture());
  picture.setVisible(true);
  const stage = picture.root;
  stage.classList.add("stage");
  const zones = new Zones(id, stage);
  zones.reload = () => ask();

  /** Draws the boxes of the tracks of the image's frame, or its detections if no tracks of that frame are known. */
  function drawPicture() {
    const { shot } = picture;
    if (!shot) return;
    const { source } = shot;
    stage.style.aspectRatio = `${source.width} / ${source.height}`;
    stage.style.maxWidth = `calc(74vh * ${source.width / source.height})`;
    const scale = source.width / (stage.clientWidth || 640);
    const taken = Date.parse(shot.captured_at);
    const found = history.findLast((one) => Math.abs(Date.parse(one.captured_at) - taken) <= NEAR_MS);
    if (live && tracks.length) drawBoxes(picture.boxes, source, tracks, scale);
    else drawBoxes(picture.boxes, source, found?.tracks ?? shot.detections, scale);
    takenAt.replaceChildren("Image from ", words.timeElement(shot.captured_at));
  }

  const follow = h("input", { type: "checkbox" });
  follow.addEventListener("change", () => {
    live = follow.checked;
    drawPicture();
  });

  const trackTable = table("Current tracks", ["object", "id", "score", "tracked for", "in zones"]);
  const zoneTable = table("Objects in zones", ["zone", "objects"]);
  const lineTable = table("Line crossings", ["line", "left to right", "right to left"]);

  const plots = {
    counts: new Plot("Objects in the image by class", (value, tick) => (tick ? shortNumber(value) : value.toFixed(1))),
    fps: new Plot("Records per second", (value, tick) => (tick ? shortNumber(value) : value.toFixed(1))),
    age: new Plot("Age of the records", (value) => words.span(value)),
    drops: new Plot("Frames dropped", (value, tick) => (tick ? shortNumber(value) : words.count(Math.round(value)))),
  };
  let minutes = 60;
  const range = choice("60", RANGES, (value) => {
    minutes = Number(value);
    askHistory();
  });
  const timelineState = h("p", { class: "hint", role: "status" });

  main.append(
    h("div", { class: "bar camera-bar" }, title, status, alerts),
    missing,
    reason,
    h(
      "div",
      { class: "camera" },
      h(
        "section",
        { class: "view", "aria-label": "Image" },
        stage,
        h("div", { class: "under" }, takenAt, field("Latest boxes, ahead of the image", follow, { class: "field check" })),
      ),
      h(
        "div",
        { class: "side" },
        h("section", { class: "panel", "aria-labelledby": "now" }, h("h2", { id: "now" }, "Now"), list, labels),
        zones.panel,
        h(
          "section",
          { class: "panel", "aria-labelledby": "tracks" },
          h("h2", { id: "tracks" }, "Tracks"),
          h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Current tracks" }, trackTable.root),
          zoneTable.root,
          lineTable.root,
        ),
        h("section", { class: "panel", "aria-labelledby": "ledger" }, h("h2", { id: "ledger" }, "Drops"), drops.root),
      ),
      h(
        "section",
        { class: "panel timeline", "aria-labelledby": "timeline" },
        h("div", { class: "panel-head" }, h("h2", { id: "timeline" }, "Timeline"), field("Time range", range)),
        timelineState,
        h("div", { class: "plots" }, ...Object.values(plots).map((plot) => plot.root)),
      ),
    ),
  );

  function showCamera(camera) {
    missing.hidden = true;
    words.showStatus(status, camera.status);
    const why = words.reason(camera, store.now());
    setText(reason, why);
    reason.hidden = why === "";
    setAttribute(reason, "data-tone", status.dataset.tone);
    setText(alerts, camera.alerts_open === 1 ? "1 open alert" : `${words.count(camera.alerts_open)} open alerts`);
    alerts.hidden = !camera.alerts_open;
    const told = {
      owner: camera.worker ?? "none",
      fps: words.rate(camera.fps),
      age: words.span(camera.age_ms),
      clock: camera.clock ?? "–",
      received: words.count(camera.received),
      delivered: words.count(camera.delivered),
      priority: camera.priority ?? "–",
      epoch: camera.epoch,
      size: camera.source ? `${camera.source.width} × ${camera.source.height}` : "–",
    };
    for (const [name, value] of Object.entries(told)) setText(fact.get(name), value);
    words.showTime(lastFrame, camera.last_frame_at);
    const noted = Object.entries(camera.labels ?? {}).map(([key, value]) => `${key}: ${value}`);
    setText(labels, noted.join(", "));
    const lost = [...Object.entries(camera.dropped ?? {}), ...Object.entries(camera.expired ?? {})];
    fillRows(
      drops.body,
      lost.filter(([, number]) => number > 0).map(([cause, number]) => [cause, words.count(number), words.causeInWords(cause)]),
      "none",
      3,
    );
    picture.want(camera.snapshot_seq);
  }

  function showTracks() {
    const now = store.now();
    const rows = [...tracks]
      .sort((a, b) => a.id - b.id)
      .map((track) => [
        track.label,
        track.id,
        `${Math.round(track.score * 100)} %`,
        words.span(Math.max(0, now - Date.parse(track.first_seen_at))),
        (track.zones ?? []).map((stay) => `${stay.zone} ${words.span(stay.dwell_s * 1000)}`).join(", ") || "–",
      ]);
    fillRows(trackTable.body, rows, "none", 5);
  }

  function showCounts({ zones: zoneShapes, lines, zone_counts: inZones, line_totals: over }) {
    const zoneNames = [...new Set([...Object.keys(zoneShapes ?? {}), ...Object.keys(inZones ?? {})])];
    const lineNames = [...new Set([...Object.keys(lines ?? {}), ...Object.keys(over ?? {})])];
    zoneTable.root.hidden = zoneNames.length === 0;
    lineTable.root.hidden = lineNames.length === 0;
    fillRows(zoneTable.body, zoneNames.map((name) => [name, words.countsInWords(inZones?.[name]) || "none"]), "none", 2);
    const total = (name, way) => words.count(over?.[name]?.[way] ?? 0);
    const rows = lineNames.map((name) => [name, total(name, "left_to_right"), total(name, "right_to_left")]);
    fillRows(lineTable.body, rows, "none", 3);
  }

  async function ask() {
    try {
      const answer = await getJson(cameraPath(id), gone.signal);
      showCamera(answer.camera);
      zones.take(answer);
      showCounts(answer);
      if (performance.now() - tracksAt > ASK_MS) {
        tracks = answer.tracks;
        showTracks();
      }
    } catch (error) {
      if (gone.signal.aborted) return;
      setText(missing, error.status === 404 ? `Unknown camera ${id}.` : `Cannot load the camera: ${error.message}.`);
      missing.hidden = error.status === 0;
    }
  }

  async function askHistory() {
    const asked = minutes;
    try {
      const told = await getJson(`${cameraPath(id)}/history?minutes=${asked}`, gone.signal);
      if (asked !== minutes) return;
      setText(timelineState, "");
      showHistory(told);
    } catch (error) {
      if (!gone.signal.aborted) setText(timelineState, `Cannot load the timeline: ${error.message}.`);
    }
  }

  function showHistory(told) {
    const at = { from: Date.parse(told.from), step: told.step_s * 1000 };
    const classes = Object.entries(told.labels).map(([label, values]) => ({ label, values, color: words.colorOf(label) }));
    const weight = ({ values }) => values.reduce((total, value) => total + (value ?? 0), 0);
    classes.sort((a, b) => weight(b) - weight(a));
    const one = (label, values, color) => [{ label, values, color }];
    plots.counts.update({ ...at, series: classes.slice(0, MOST_CLASSES) });
    plots.fps.update({ ...at, series: one("records/s", told.fps, 1) });
    plots.age.update({ ...at, series: one("age", told.age_ms, 3) });
    plots.drops.update({ ...at, series: one("dropped", told.dropped, 2) });
    const left = classes.length - MOST_CLASSES;
    if (left > 0) setText(timelineState, `The ${MOST_CLASSES} most frequent classes are shown; ${left} others are not.`);
  }

  let tracksAt = -Infinity;
  let showing = 0;
  reason.hidden = true;
  const known = store.cameras.get(id);
  if (known) showCamera(known);
  ask();
  askHistory();
  const asking = setInterval(() => document.hidden || ask(), ASK_MS);
  const askingHistory = setInterval(() => document.hidden || askHistory(), 30_000);
  const resized = new ResizeObserver(() => drawPicture());
  resized.observe(stage);

  return {
    title: id,
    full: () => store.cameras.has(id) && showCamera(store.cameras.get(id)),
    overview: (changed) => changed.filter((camera) => camera.id === id).forEach(showCamera),
    snapshot: ({ camera, seq }) => camera === id && picture.want(seq),
    tracks(told) {
      tracks = told.tracks;
      tracksAt = performance.now();
      history.push(told);
      if (history.length > KEPT_TRACKS) history.shift();
      if (live) drawPicture();
      // Boxes are drawn at each event. The table is updated at most once per second, so that it stays readable.
      if (performance.now() - showing > 1000) {
        showing = performance.now();
        showTracks();
      }
    },
    unsaved: () => zones.editing && zones.dirty,
    leaving: () => !(zones.editing && zones.dirty) || confirm("Leave the page and discard your unsaved zones and lines?"),
    close() {
      gone.abort();
      clearInterval(asking);
      clearInterval(askingHistory);
      resized.disconnect();
      zones.destroy();
      picture.destroy();
      for (const plot of Object.values(plots)) plot.destroy();
    },
  };
}

const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 2 });
const shortNumber = (value) => short.format(value);
