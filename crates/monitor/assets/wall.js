// The start page: one card per camera.

import { url } from "./api.js";
import { arrange, choice, debounce, field, freshId, h, setAttribute, setText } from "./dom.js";
import { Picture } from "./picture.js";
import * as words from "./words.js";

const SORTS = [
  ["trouble", "problems first"],
  ["name", "name"],
  ["age", "oldest records"],
  ["fps", "lowest fps"],
  ["drops", "most dropped"],
];

const byName = (a, b) => a.id.localeCompare(b.id, undefined, { numeric: true });
const ORDERS = {
  trouble: (a, b) => words.rank(a) - words.rank(b),
  name: byName,
  age: (a, b) => (b.age_ms ?? -1) - (a.age_ms ?? -1),
  fps: (a, b) => a.fps - b.fps,
  drops: (a, b) => words.sum(b.dropped) - words.sum(a.dropped),
};

/** Number of cards that are created at first. The others follow in batches, while the page is already usable. */
const FIRST = 24;
const BATCH = 40;
/** Minimum time between two changes of the order. */
const REORDER_MS = 5000;
const TOUCHED_MS = 15_000;

class Card {
  constructor(id) {
    const href = url(`/cameras/${encodeURIComponent(id)}`);
    this.id = id;
    this.picture = new Picture(id);
    this.status = words.statusElement("connecting");
    this.reason = h("p", { class: "reason" });
    this.owner = h("dd", { class: "owner" });
    this.fps = h("dd");
    this.age = h("dd");
    this.dropped = h("summary");
    this.causes = h("ul");
    this.drops = h("details", { class: "drops" }, this.dropped, this.causes);
    this.counts = h("p", { class: "counts" });
    this.alerts = h("a", { class: "badge", href: url(`/alerts?state=open&camera=${encodeURIComponent(id)}`) });
    this.alerts.hidden = true;
    const heading = freshId("card");
    this.root = h(
      "li",
      { class: "card", "data-camera": id, "aria-labelledby": heading },
      h(
        "div",
        { class: "card-picture" },
        // The name below is a link to the same page, so this one is hidden from keyboard and screen readers.
        h("a", { href, tabindex: -1, "aria-hidden": "true" }, this.picture.root),
        this.reason,
      ),
      h(
        "div",
        { class: "card-head" },
        h("h2", { id: heading }, h("a", { href }, id)),
        this.alerts,
        this.status,
      ),
      h(
        "dl",
        { class: "facts" },
        h("div", null, h("dt", null, "fps"), this.fps),
        h("div", null, h("dt", null, "age"), this.age),
        h("div", { class: "wide" }, h("dt", null, "owner"), this.owner),
      ),
      this.counts,
      this.drops,
    );
  }

  update(camera, now) {
    this.picture.want(camera.snapshot_seq);
    words.showStatus(this.status, camera.status);
    const trouble = words.isTrouble(camera) && camera.status !== "running";
    setAttribute(this.root, "data-trouble", trouble && this.status.dataset.tone);
    const reason = words.reason(camera, now);
    setText(this.reason, reason);
    this.reason.hidden = reason === "";
    setText(this.owner, camera.worker ?? "none");
    setText(this.fps, words.rate(camera.fps));
    setText(this.age, words.span(camera.age_ms));
    const inPicture = words.countsInWords(camera.counts) || "no objects in the image";
    setText(this.counts, inPicture);
    setAttribute(this.counts, "title", inPicture);
    const lost = words.sum(camera.dropped) + words.sum(camera.expired);
    const share = lost > 0 && camera.received > 0 ? ` (${((100 * lost) / camera.received).toFixed(1)} %)` : "";
    setText(this.dropped, `${words.count(lost)} dropped${share}`);
    if (this.drops.open || this.causes.childElementCount === 0) this.tellCauses(camera);
    this.drops.ontoggle = () => this.tellCauses(camera);
    setText(this.alerts, camera.alerts_open === 1 ? "1 alert" : `${words.count(camera.alerts_open)} alerts`);
    this.alerts.hidden = !camera.alerts_open;
  }

  tellCauses(camera) {
    const all = [...Object.entries(camera.dropped ?? {}), ...Object.entries(camera.expired ?? {})];
    const lines = all
      .filter(([, number]) => number > 0)
      .map(([cause, number]) => `${cause}: ${words.count(number)}, ${words.causeInWords(cause)}`);
    if (lines.length === 0) lines.push("none");
    if (this.causes.textContent === lines.join("")) return;
    this.causes.replaceChildren(...lines.map((line) => h("li", null, line)));
  }

  destroy() {
    this.picture.destroy();
  }
}

/** Opens the start page in `main`. */
export function open(main, { store, query }) {
  const cards = new Map();
  const filter = {
    q: query.get("q") ?? "",
    status: query.get("status") ?? "all",
    sort: query.get("sort") ?? "trouble",
  };
  if (!ORDERS[filter.sort]) filter.sort = "trouble";

  const text = h("input", { type: "search", autocomplete: "off", spellcheck: "false", size: 18 });
  text.value = filter.q;
  text.addEventListener("input", debounce(120, () => change("q", text.value)));
  const statuses = [["all", "all"], ["trouble", "with problems"], ...words.STATUSES.map((one) => [one, one])];
  const status = choice(filter.status, statuses, (value) => change("status", value));
  if (status.selectedIndex < 0) status.value = filter.status = "all";
  const sort = choice(filter.sort, SORTS, (value) => change("sort", value));
  const showing = h("p", { class: "showing", role: "status" });
  const tally = h("ul", { class: "tally", "aria-label": "Cameras by status" });
  const tallies = new Map();
  const empty = h("p", { class: "empty" });
  empty.hidden = true;
  const grid = h("ul", { class: "wall", "aria-label": "Cameras" });
  main.append(
    h(
      "div",
      { class: "bar" },
      h("h1", { tabindex: -1 }, "Cameras"),
      tally,
      h(
        "form",
        { class: "filters", role: "search", submit: (event) => event.preventDefault() },
        field("Find", text),
        field("Status", status),
        field("Sort by", sort),
      ),
      showing,
    ),
    empty,
    grid,
  );

  const onScreen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        cards.get(target.dataset.camera)?.picture.setVisible(isIntersecting);
      }
    },
    { rootMargin: "100px 0px" },
  );
  let width = 240;
  const resized = new ResizeObserver(([entry]) => {
    width = entry.contentRect.width;
    for (const card of cards.values()) card.picture.width = width;
  });

  function change(key, value) {
    filter[key] = value;
    const kept = new URLSearchParams();
    if (filter.q) kept.set("q", filter.q);
    if (filter.status !== "all") kept.set("status", filter.status);
    if (filter.sort !== "trouble") kept.set("sort", filter.sort);
    history.replaceState(null, "", url(kept.size ? `/?${kept}` : "/"));
    order();
  }

  /** Returns whether a camera matches the filters. */
  function matches(camera) {
    if (filter.status === "trouble" && !words.isTrouble(camera)) return false;
    if (!["all", "trouble"].includes(filter.status) && camera.status !== filter.status) return false;
    const labels = Object.entries(camera.labels ?? {}).flat();
    const counted = Object.keys(camera.counts ?? {});
    const hay = [camera.id, camera.worker ?? "", ...labels, ...counted].join("\n").toLowerCase();
    return filter.q.toLowerCase().split(/\s+/).every((word) => hay.includes(word));
  }

  let ordered = 0;
  let building = 0;

  /** Shows the cards that match the filters, sorted; creates missing cards. */
  function order() {
    clearTimeout(building);
    ordered = performance.now();
    const wanted = [...store.cameras.values()].filter(matches);
    wanted.sort((a, b) => ORDERS[filter.sort](a, b) || byName(a, b));
    const total = store.cameras.size;
    const all = wanted.length === total;
    setText(showing, all ? `${words.count(total)} cameras` : `${words.count(wanted.length)} of ${words.count(total)}`);
    empty.hidden = wanted.length > 0 || !store.loaded;
    setText(empty, total ? "No camera matches the filters." : "No camera has reported yet.");
    place(wanted, FIRST);
  }

  function place(wanted, upTo) {
    const shown = wanted.slice(0, upTo);
    const focused = document.activeElement;
    arrange(grid, shown.map((camera) => card(camera).root));
    // An element that is moved loses the focus.
    if (focused !== document.activeElement && grid.contains(focused)) focused.focus({ preventScroll: true });
    if (upTo < wanted.length) building = setTimeout(() => place(wanted, upTo + BATCH), 0);
  }

  function card(camera) {
    let found = cards.get(camera.id);
    if (!found) {
      found = new Card(camera.id);
      found.picture.width = width;
      cards.set(camera.id, found);
      found.update(camera, store.now());
      onScreen.observe(found.root);
      if (cards.size === 1) resized.observe(found.picture.root);
    }
    return found;
  }

  function tell() {
    const numbers = new Map();
    for (const { status: one } of store.cameras.values()) numbers.set(one, (numbers.get(one) ?? 0) + 1);
    const wanted = words.STATUSES.filter((one) => numbers.has(one)).map((one) => {
      if (!tallies.has(one)) {
        const element = words.statusElement(one);
        const number = h("b");
        const press = () => {
          status.value = filter.status === one ? "all" : one;
          change("status", status.value);
          tell();
        };
        const button = h("button", { type: "button", click: press }, number, " ", element);
        tallies.set(one, { root: h("li", null, button), number, button });
      }
      const { root, number, button } = tallies.get(one);
      setText(number, words.count(numbers.get(one)));
      setAttribute(button, "aria-pressed", String(filter.status === one));
      return root;
    });
    arrange(tally, wanted);
  }

  let touched = -Infinity;
  for (const name of ["pointermove", "pointerdown", "keydown", "focusin"]) {
    grid.addEventListener(name, () => {
      touched = performance.now();
    });
  }

  /** Returns whether a card is in use: it has the pointer or the focus, and there was input recently. */
  const held = () =>
    performance.now() - touched < TOUCHED_MS && (grid.matches(":hover") || grid.contains(document.activeElement));

  function overview(changed) {
    const now = store.now();
    let strangers = false;
    for (const camera of changed) {
      const known = cards.get(camera.id);
      if (known) known.update(camera, now);
      else strangers = true;
    }
    tell();
    // Cards that are in use are not moved, and the order changes at most once per REORDER_MS.
    const due = performance.now() - ordered > REORDER_MS && !held();
    if (due || (strangers && cards.size === 0)) order();
  }

  function full() {
    for (const [id, gone] of cards) {
      if (store.cameras.has(id)) continue;
      onScreen.unobserve(gone.root);
      gone.destroy();
      gone.root.remove();
      cards.delete(id);
    }
    overview([...store.cameras.values()]);
    if (!held() || cards.size === 0) order();
  }

  if (store.loaded) full();
  else setText(showing, "Loading the cameras…");

  return {
    title: "Cameras",
    full,
    overview,
    snapshot: ({ camera, seq }) => cards.get(camera)?.picture.want(seq),
    close() {
      clearTimeout(building);
      onScreen.disconnect();
      resized.disconnect();
      for (const one of cards.values()) one.destroy();
    },
  };
}
