// The fleet page: the workers with their state and load.

import { url } from "./api.js";
import { arrange, h, setAttribute, setText } from "./dom.js";
import * as words from "./words.js";

const COLUMNS = [
  ["worker", "Worker"],
  ["state", "State"],
  ["device", "Device"],
  ["busy", "Busy"],
  ["batch", "Batch"],
  ["cameras", "Cameras"],
  ["age", "Age, p90"],
  ["budget", "Budget"],
  ["degraded", "Degraded"],
  ["partitions", "Partitions"],
  ["seen", "Last seen"],
];

class Row {
  constructor(id) {
    this.cells = new Map(
      COLUMNS.map(([key, head]) => [key, h(key === "worker" ? "th" : "td", { "data-head": head, "data-key": key })]),
    );
    const worker = this.cells.get("worker");
    for (const [key, cell] of this.cells) setAttribute(cell, "role", key === "worker" ? "rowheader" : "cell");
    worker.scope = "row";
    this.state = words.statusElement("connecting");
    this.cells.get("state").append(this.state);
    this.seen = words.timeElement(null);
    this.ago = h("span", { class: "hint" });
    this.cells.get("seen").append(this.seen, " ", this.ago);
    this.busy = h("meter", { min: 0, max: 1, high: 0.9, optimum: 0.5, "aria-label": `${id}, share of time busy` });
    this.share = h("span");
    this.cells.get("busy").append(this.busy, " ", this.share);
    this.name = h("a", { href: url(`/?q=${encodeURIComponent(id)}`) }, id);
    this.model = h("span", { class: "hint" });
    this.bad = h("details", { class: "bad-records" });
    worker.append(this.name, this.model, this.bad);
    this.root = h("tr", { role: "row", "data-worker": id }, ...this.cells.values());
  }

  update(worker, now) {
    this.worker = worker;
    words.showWorkerState(this.state, worker);
    setAttribute(this.root, "data-trouble", worker.down);
    const model = worker.model ? `${worker.model.arch}, ${worker.model.precision}` : "";
    setText(this.model, [model, worker.version && `Lookout ${worker.version}`].filter(Boolean).join(", "));
    setAttribute(this.model, "title", worker.model?.weights);
    this.busy.value = worker.device_busy ?? 0;
    setText(this.share, words.percent(worker.device_busy));
    const parts = worker.partitions;
    const told = {
      device: worker.device,
      batch: words.rate(worker.batch_size),
      cameras: words.count(worker.cameras),
      age: words.span(worker.age_ms),
      budget: words.span(worker.latency_budget_ms),
      degraded: words.count(worker.degraded_cameras),
      partitions: parts === null || parts === undefined ? "pipeline file" : parts.join(", ") || "none, standby",
    };
    for (const [key, value] of Object.entries(told)) setText(this.cells.get(key), value);
    const late = worker.latency_budget_ms !== null && worker.age_ms > worker.latency_budget_ms;
    setAttribute(this.cells.get("age"), "data-tone", late ? "warn" : null);
    setAttribute(this.cells.get("degraded"), "data-tone", worker.degraded_cameras > 0 ? "warn" : null);
    words.showTime(this.seen, worker.last_seen_at);
    this.tick(now);
    this.showNotes(worker);
  }

  /** Shows invalid registry records and stage restarts. */
  showNotes(worker) {
    const notes = [...(worker.invalid_records ?? [])];
    const restarts = worker.stage_restarts;
    const heads = [];
    if (notes.length) heads.push(notes.length === 1 ? "1 bad record" : `${words.count(notes.length)} bad records`);
    if (restarts) heads.push(restarts === 1 ? "1 stage restart" : `${words.count(restarts)} stage restarts`);
    this.bad.hidden = heads.length === 0;
    if (restarts) notes.push(`Stages restarted after a failure since the worker started: ${words.count(restarts)}`);
    const said = `${heads.join(", ")}\n${notes.join("\n")}`;
    if (this.bad.dataset.said === said) return;
    this.bad.dataset.said = said;
    this.bad.replaceChildren(
      h("summary", null, heads.join(", ")),
      h("ul", null, ...notes.map((note) => h("li", null, note))),
    );
  }

  tick(now) {
    setText(this.ago, this.worker ? words.ago(this.worker.last_seen_at, now) : "");
  }
}

/** Opens the fleet page in `main`. */
export function open(main, { store }) {
  const rows = new Map();
  const showing = h("p", { class: "showing", role: "status" }, "Loading the workers…");
  const body = h("tbody", { role: "rowgroup" });
  const heads = COLUMNS.map(([, head]) => h("th", { scope: "col", role: "columnheader" }, head));
  // Explicit roles, because on narrow screens the style sheet does not display the table as one.
  const table = h(
    "table",
    { class: "fleet", role: "table", "aria-label": "Workers" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads)),
    body,
  );
  main.append(h("div", { class: "bar" }, h("h1", { tabindex: -1 }, "Fleet"), showing), h("div", { class: "fleet-page" }, table));

  function update() {
    if (!store.loaded) return;
    const now = store.now();
    const workers = [...store.workers].sort((a, b) => a.id.localeCompare(b.id, undefined, { numeric: true }));
    for (const worker of workers) {
      if (!rows.has(worker.id)) rows.set(worker.id, new Row(worker.id));
      rows.get(worker.id).update(worker, now);
    }
    arrange(body, workers.map((worker) => rows.get(worker.id).root));
    const down = workers.filter((worker) => worker.down).length;
    const cameras = workers.reduce((total, worker) => total + worker.cameras, 0);
    const workersTold = workers.length === 1 ? "1 worker" : `${words.count(workers.length)} workers`;
    const told = workers.length ? `${workersTold}, ${words.count(cameras)} cameras` : "No worker has reported yet.";
    setText(showing, down ? `${told}; ${words.count(down)} down` : told);
  }

  update();
  return {
    title: "Fleet",
    full: update,
    overview: update,
    tick: () => rows.forEach((row) => row.tick(store.now())),
  };
}
