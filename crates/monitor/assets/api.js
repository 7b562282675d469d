// The monitor's API, and its stream of events.

/** The path under which a reverse proxy serves the monitor; empty where it has a host of its own. */
export const base = document.querySelector("meta[name=lookout-base]").content;

/** The address of a path of the monitor, such as "/alerts". */
export const url = (path) => base + path;

/** An answer that is an error, or none at all. */
export class Failure extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(url(path), { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(0, "the monitor can't be reached; is it running?");
  }
  const body = await response.json().catch(() => null);
  if (response.status === 401) {
    location.assign(url(`/login?next=${encodeURIComponent(location.pathname.slice(base.length))}`));
    // The page is about to go; whoever waits for the answer is not to go on without one.
    return new Promise(() => {});
  }
  if (!response.ok) {
    throw new Failure(response.status, body?.error ?? `the monitor returned HTTP status ${response.status}`, body);
  }
  return body;
}

export const getJson = (path, signal) => ask(path, { signal });

/** Changes something; the header is one that another site's page cannot send. */
export function send(method, path, body) {
  return ask(path, {
    method,
    headers: { "content-type": "application/json", "x-lookout": "1" },
    body: JSON.stringify(body),
  });
}

export const cameraPath = (id) => `/api/cameras/${encodeURIComponent(id)}`;

const QUIET_MS = 20_000;
const LONGEST_WAIT_MS = 15_000;
const HIDDEN_MS = 60_000;

/**
 * The stream of events, which comes back by itself. `handlers` has `state` ("connecting", "live", "lost"),
 * `full` (a whole overview), and one function for each event: `overview`, `alert`, `snapshot`, `tracks`.
 */
export class Live {
  #handlers;
  #source = null;
  #camera = null;
  #state = "";
  #heard = 0;
  #wait = 1000;
  #retry = 0;
  #hidden = 0;

  constructor(handlers) {
    this.#handlers = handlers;
    setInterval(() => this.#watch(), 5000);
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  /** Begins the stream, with the tracks of `camera` where one is named. */
  open(camera) {
    this.#close();
    this.#camera = camera;
    if (this.#state === "") this.#say("connecting");
    const query = camera ? `?camera=${encodeURIComponent(camera)}` : "";
    const source = new EventSource(url(`/api/events${query}`));
    this.#source = source;
    this.#heard = Date.now();
    source.onopen = async () => {
      this.#wait = 1000;
      if (await this.#whole()) this.#say("live");
    };
    source.onerror = () => {
      if (this.#source !== source) return;
      this.#say("lost");
      // The browser tries again by itself unless it was given an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) this.#later();
    };
    for (const name of ["overview", "alert", "snapshot", "tracks"]) {
      source.addEventListener(name, (event) => {
        if (this.#source !== source) return;
        this.#heard = Date.now();
        this.#say("live");
        this.#handlers[name](JSON.parse(event.data));
      });
    }
  }

  #close() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #say(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#handlers.state(state);
  }

  /** Events tell only what changed, so each new stream begins with all there is. */
  async #whole() {
    try {
      const overview = await getJson("/api/overview");
      this.#heard = Date.now();
      this.#handlers.full(overview);
      return true;
    } catch {
      this.#say("lost");
      return false;
    }
  }

  #later() {
    this.#close();
    this.#retry = setTimeout(async () => {
      if (await this.#whole()) this.open(this.#camera);
      else this.#later();
    }, this.#wait);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
  }

  /** A connection that died without a word looks like a quiet one: ask. */
  #watch() {
    if (this.#source && Date.now() - this.#heard > QUIET_MS) this.#later();
  }

  /** A page that nobody sees gives its connection back, of which a browser has few. */
  #visibility() {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.#close(), HIDDEN_MS);
    else if (!this.#source) this.open(this.#camera);
  }
}
