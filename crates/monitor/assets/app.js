// Frame of all pages: routing, shared data, and the header.

import { base, Live, url } from "./api.js";
import * as alerts from "./alerts.js";
import * as camera from "./camera.js";
import { announce, h, setAttribute, setText } from "./dom.js";
import * as fleet from "./fleet.js";
import * as wall from "./wall.js";
import * as words from "./words.js";

const main = document.getElementById("main");
const connection = document.getElementById("connection");

/** Data shared by all pages: the latest that the monitor has sent. */
const store = {
  loaded: false,
  cameras: new Map(),
  workers: [],
  meta: {},
  offset: 0,
  /** Returns the monitor's time, to which all ages relate. */
  now: () => Date.now() + store.offset,
};

let page = null;
let leaving = null;
let heardAt = new Date();

function take(overview, whole) {
  store.offset = Date.parse(overview.now) - Date.now();
  heardAt = new Date();
  if (whole) store.cameras.clear();
  for (const one of overview.cameras) store.cameras.set(one.id, one);
  for (const id of overview.gone ?? []) store.cameras.delete(id);
  store.workers = overview.workers;
  store.meta = overview;
  store.loaded = true;
  const { alerts_open: open } = overview;
  const badge = document.getElementById("open-alerts");
  badge.hidden = !open;
  setText(badge, words.count(open));
  setAttribute(document.getElementById("nav-alerts"), "aria-label", open ? `Alerts, ${words.count(open)} open` : null);
  setText(document.getElementById("records"), words.count(Math.round(overview.records_per_s)));
  setText(document.getElementById("lag"), words.span(overview.lag_s * 1000));
  const notices = document.getElementById("notices");
  setText(notices, (overview.notices ?? []).join(". "));
  notices.hidden = !overview.notices?.length;
  showTitle();
  document.getElementById("logout").hidden = !overview.auth;
}

/** Sets the document's title, with the number of open alerts, so that a background tab shows it too. */
function showTitle() {
  const open = store.meta.alerts_open ? `(${words.count(store.meta.alerts_open)}) ` : "";
  const wanted = `${open}${page.title} · Lookout`;
  if (document.title !== wanted) document.title = wanted;
}

const unannounced = [];
let announcing = 0;

/** Announces new alerts to screen readers. Alerts that arrive within 500 ms share one announcement. */
function tellAlert({ alert, acknowledged }) {
  if (alert.state !== "raised" || alert.version !== 1 || acknowledged) return;
  unannounced.push(`${alert.level}: ${alert.message}`);
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    const [first, ...others] = unannounced.splice(0);
    announce(others.length ? `${others.length + 1} new alerts. The first is ${first}` : `New alert, ${first}`);
  }, 500);
}

function showState(state) {
  document.documentElement.dataset.connection = state;
  const said = {
    connecting: "Connecting…",
    live: "Live",
    lost: `Connection lost. The data is from ${words.clockTime(heardAt)}; reconnecting…`,
  };
  setText(connection, said[state]);
}

const live = new Live({
  state: showState,
  full(overview) {
    take(overview, true);
    page.full?.();
  },
  overview(overview) {
    take(overview, false);
    if (overview.gone?.length) page.full?.();
    else page.overview?.(overview.cameras);
  },
  alert(alert) {
    tellAlert(alert);
    page.alert?.(alert);
  },
  snapshot: (told) => page.snapshot?.(told),
  tracks: (told) => page.tracks?.(told),
});

const nowhere = {
  open(target) {
    target.append(
      h("h1", { tabindex: -1 }, "Page not found"),
      h("p", null, h("a", { href: url("/") }, "Go to the cameras")),
    );
    return { title: "Page not found" };
  },
};

function route(path) {
  if (path === "/") return { module: wall, place: "/" };
  if (path === "/alerts") return { module: alerts, place: "/alerts" };
  if (path === "/fleet") return { module: fleet, place: "/fleet" };
  const [, id] = path.match(/^\/cameras\/([^/]+)$/) ?? [];
  try {
    if (id) return { module: camera, place: "/", id: decodeURIComponent(id) };
  } catch {
    // An id with an invalid percent-encoding is not a camera.
  }
  return { module: nowhere, place: "" };
}

let streamed;
let shown = "";

function show() {
  shown = location.pathname + location.search;
  page?.close?.();
  main.replaceChildren();
  const { module, place, id } = route(location.pathname.slice(base.length) || "/");
  for (const link of document.querySelectorAll("#nav a")) {
    setAttribute(link, "aria-current", link.getAttribute("href") === url(place) ? "page" : null);
  }
  page = module.open(main, { store, id, query: new URLSearchParams(location.search) });
  leaving = page.leaving ?? null;
  showTitle();
  if (streamed !== (id ?? null)) {
    streamed = id ?? null;
    live.open(streamed);
  }
}

/** Shows another page without reloading the document. */
function go(href) {
  if (leaving && !leaving()) return;
  history.pushState(null, "", href);
  show();
  scrollTo(0, 0);
  // Moving the focus makes screen readers announce the new page.
  main.querySelector("h1")?.focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
  if (!link || !plain || event.defaultPrevented || link.target || link.origin !== location.origin) return;
  if (link.hash && link.pathname === location.pathname) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
addEventListener("popstate", () => {
  // The address has already changed. Restore it if the user stays on the page.
  if (leaving && !leaving()) history.pushState(null, "", shown);
  else show();
});
addEventListener("beforeunload", (event) => {
  if (page?.unsaved?.()) event.preventDefault();
});
// Updates times such as "12 s ago" while no event arrives.
setInterval(() => page?.tick?.(), 1000);

show();
