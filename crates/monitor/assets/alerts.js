// The page of alerts: current and past alerts, with filters and acknowledgement.

import { Failure, getJson, send, url } from "./api.js";
import { arrange, choice, debounce, field, freshId, h, setAttribute, setText } from "./dom.js";
import * as words from "./words.js";

const PAGE = 50;
const FILTERS = ["state", "acknowledged", "level", "camera", "rule"];
const NAME_KEY = "lookout-name";

/** Returns the stored user name; empty if there is none or the browser denies access to the storage. */
function remembered() {
  try {
    return localStorage.getItem(NAME_KEY) ?? "";
  } catch {
    return "";
  }
}

function remember(name) {
  try {
    localStorage.setItem(NAME_KEY, name);
  } catch {
    // Without storage, the name has to be entered again after a reload.
  }
}

const plain = (value) => value === null || typeof value !== "object";
const tellValue = (value) =>
  typeof value === "number" && !Number.isInteger(value) ? String(Math.round(value * 1000) / 1000) : String(value ?? "–");

/** The evidence of an alert as a list of names and values. */
function evidenceList(evidence) {
  const list = h("dl", { class: "evidence" });
  for (const [key, value] of Object.entries(evidence)) {
    const told = plain(value)
      ? tellValue(value)
      : Array.isArray(value) && value.every(plain)
        ? value.map(tellValue).join(", ")
        : evidenceList(value);
    list.append(h("div", null, h("dt", null, key.replaceAll("_", " ")), h("dd", null, told)));
  }
  return list;
}

class Item {
  constructor(alert, name, changed) {
    this.name = name;
    this.changed = changed;
    const heading = freshId("alert");
    this.message = h("h2", { id: heading });
    this.level = h("span");
    this.state = h("span", { class: "tag" });
    this.where = h("span", { class: "where" });
    this.when = h("span", { class: "when" });
    this.details = h("details", null, h("summary", null, "Evidence"));
    this.act = h("div", { class: "act" });
    this.root = h(
      "li",
      { class: "alert", "aria-labelledby": heading },
      h("div", { class: "alert-head" }, this.level, this.message),
      h("p", { class: "alert-facts" }, this.state, this.when, this.where),
      this.details,
      this.act,
    );
    this.update(alert);
  }

  update(told) {
    // Versions can arrive out of order: an acknowledgement is in the response and in the event stream.
    if (this.told && this.told.alert.version > told.alert.version) return;
    this.told = told;
    const { alert, acknowledged } = told;
    setAttribute(this.root, "data-level", alert.level);
    setAttribute(this.root, "data-open", alert.state !== "cleared");
    setAttribute(this.root, "data-alert", alert.id);
    this.level.replaceChildren(words.levelElement(alert.level));
    setText(this.message, alert.message);
    setText(this.state, alert.state);
    const when = [words.timeElement(alert.raised_at)];
    if (alert.state !== "raised") when.push(` ${alert.state} `, words.timeElement(alert.at));
    this.when.replaceChildren(...when);
    const where = [];
    if (alert.camera) where.push(h("a", { href: url(`/cameras/${encodeURIComponent(alert.camera)}`) }, alert.camera));
    if (alert.worker) where.push(h("span", null, `worker ${alert.worker}`));
    where.push(h("span", null, `rule ${alert.rule}`), h("span", null, `by ${alert.consumer}`));
    this.where.replaceChildren(...where);
    const { frame } = alert;
    const more = frame ? { ...alert.evidence, frame, "alert id": alert.id } : { ...alert.evidence, "alert id": alert.id };
    this.details.replaceChildren(this.details.firstChild, evidenceList(more));
    this.showAct(acknowledged);
  }

  showAct(acknowledged) {
    if (acknowledged) {
      const by = acknowledged.by ? ` by ${acknowledged.by}` : "";
      const note = acknowledged.note ? `: ${acknowledged.note}` : "";
      const text = h("p", { class: "acknowledged" }, "Acknowledged", by, " at ", words.timeElement(acknowledged.at), note);
      this.act.replaceChildren(text);
      this.note = null;
      return;
    }
    if (this.note) return;
    this.note = h("input", { type: "text", maxlength: 500, autocomplete: "off" });
    this.button = h("button", { type: "submit", "aria-describedby": this.message.id }, "Acknowledge");
    this.problem = h("span", { class: "message", role: "status", "data-tone": "bad" });
    const submit = (event) => {
      event.preventDefault();
      this.acknowledge();
    };
    const form = h("form", { class: "acknowledge", submit }, field("Note", this.note), this.button, this.problem);
    this.act.replaceChildren(form);
  }

  async acknowledge() {
    this.button.disabled = true;
    try {
      const asked = { id: this.told.alert.id, by: this.name.value.trim(), note: this.note.value.trim() };
      const answer = await send("POST", "/api/alerts/acknowledge", asked);
      remember(asked.by);
      this.update(answer);
      this.changed(answer);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.button.disabled = false;
      setText(this.problem, `Not acknowledged: ${error.message}`);
    }
  }
}

/** Opens the alerts in `main`. */
export function open(main, { query }) {
  const gone = new AbortController();
  const filter = Object.fromEntries(FILTERS.map((key) => [key, query.get(key) ?? ""]));
  if (filter.state !== "all") filter.state = "open";
  const items = new Map();
  let more = false;
  let asked = 0;

  const name = h("input", { type: "text", maxlength: 64, autocomplete: "name" });
  name.value = remembered();
  const select = (key, choices) => choice(filter[key], choices, (value) => change(key, value));
  const text = (key) => {
    const input = h("input", { type: "search", autocomplete: "off", spellcheck: "false", size: 14 });
    input.value = filter[key];
    input.addEventListener("input", debounce(250, () => change(key, input.value.trim())));
    return input;
  };
  const anyLevel = [["", "all"], ...["critical", "warning", "info"].map((one) => [one, one])];
  const showing = h("p", { class: "showing", role: "status" });
  const list = h("ol", { class: "alerts", "aria-label": "Alerts, newest first" });
  const older = h("button", { type: "button", click: () => ask(true) }, "Show older alerts");
  older.hidden = true;
  const held = h("button", { type: "button", class: "primary held", click: () => arrangeAll(true) });
  held.hidden = true;
  main.append(
    h(
      "div",
      { class: "bar" },
      h("h1", { tabindex: -1 }, "Alerts"),
      h(
        "form",
        { class: "filters", role: "search", submit: (event) => event.preventDefault() },
        field("State", select("state", [["open", "open"], ["all", "all"]])),
        field("Acknowledged", select("acknowledged", [["", "all"], ["false", "not yet"], ["true", "acknowledged"]])),
        field("Level", select("level", anyLevel)),
        field("Camera", text("camera")),
        field("Rule", text("rule")),
        field("Acknowledge as", name),
      ),
      showing,
    ),
    h("div", { class: "alerts-page" }, held, list, older),
  );

  function change(key, value) {
    filter[key] = value;
    const kept = new URLSearchParams(FILTERS.filter((one) => filter[one]).map((one) => [one, filter[one]]));
    history.replaceState(null, "", url(`/alerts?${kept}`));
    ask(false);
  }

  function matches({ alert, acknowledged }) {
    if (filter.state === "open" && alert.state === "cleared") return false;
    if (filter.acknowledged && filter.acknowledged !== String(acknowledged !== null)) return false;
    if (filter.level && filter.level !== alert.level) return false;
    if (filter.camera && filter.camera !== alert.camera) return false;
    return !filter.rule || filter.rule === alert.rule;
  }

  const newestFirst = (a, b) => (a.told.alert.raised_at < b.told.alert.raised_at ? 1 : -1);

  async function ask(onward) {
    asked += 1;
    const mine = asked;
    const parameters = new URLSearchParams(FILTERS.filter((one) => filter[one]).map((one) => [one, filter[one]]));
    parameters.set("limit", PAGE);
    const last = [...items.values()].sort(newestFirst).at(-1);
    if (onward && last) parameters.set("before", last.told.alert.raised_at);
    try {
      const answer = await getJson(`/api/alerts?${parameters}`, gone.signal);
      if (mine !== asked) return;
      if (!onward) items.clear();
      answer.alerts.forEach(put);
      ({ more } = answer);
      arrangeAll(true);
    } catch (error) {
      if (!gone.signal.aborted) setText(showing, `Cannot load the alerts: ${error.message}.`);
    }
  }

  function put(told) {
    const known = items.get(told.alert.id);
    if (known) known.update(told);
    else items.set(told.alert.id, new Item(told, name, alert));
  }

  const busy = () => list.matches(":hover") || list.contains(document.activeElement);

  /** Sorts the alerts. While the pointer or the focus is in the list, new alerts are held back behind a button. */
  function arrangeAll(now) {
    const sorted = [...items.values()].sort(newestFirst);
    const fresh = sorted.filter((item) => !item.root.isConnected);
    const waits = !now && busy() && fresh.length > 0;
    held.hidden = !waits;
    setText(held, fresh.length === 1 ? "Show 1 new alert" : `Show ${fresh.length} new alerts`);
    if (!waits) arrange(list, sorted.map((item) => item.root));
    older.hidden = !more;
    const shown = sorted.length - (waits ? fresh.length : 0);
    const told = `${words.count(shown)} shown${more ? "; older ones available" : ""}`;
    setText(showing, shown ? told : "No alert matches the filters.");
  }

  /** Handles a new or changed alert. An alert that no longer matches the filter is kept until the list is reloaded. */
  function alert(told) {
    const known = items.has(told.alert.id);
    if (!known && !matches(told)) return;
    put(told);
    arrangeAll(false);
  }

  setText(showing, "Loading the alerts…");
  ask(false);

  return {
    title: "Alerts",
    alert,
    // Events may have been missed while the stream was disconnected.
    full: debounce(0, () => items.size && !busy() && ask(false)),
    close: () => gone.abort(),
  };
}
