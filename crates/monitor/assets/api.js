// The monitor's HTTP API and its event stream.

/** Path prefix under which a reverse proxy serves the monitor; empty without a prefix. */
export const base = document.querySelector("meta[name=lookout-base]").content;

/** Returns the URL of a path of the monitor, such as "/alerts". */
export const url = (path) => base + path;

/** An error response, or no response (status 0). */
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
    // The browser leaves this page. A promise that never resolves keeps callers from continuing without a response.
    return new Promise(() => {});
  }
  if (!response.ok) {
    throw new Failure(response.status, body?.error ?? `the monitor returned HTTP status ${response.status}`, body);
  }
  return body;
}

export const getJson = (path, signal) => ask(path, { signal });

/** Sends a change. Pages of other sites cannot send the header `x-lookout`, which prevents request forgery. */
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
 * The event stream, which reconnects by itself. `handlers` has `state` (called with "connecting", "live" or "lost"),
 * `full` (called with a complete overview), and one function per event: `overview`, `alert`, `snapshot`, `tracks`.
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

  /** Opens the stream; with the tracks of `camera`, if it is not null. */
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
      // The browser reconnects by itself unless the response was not an event stream.
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

  /** Loads the complete overview, because events contain only changes. Returns whether that succeeded. */
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

  /** Reconnects if no event has arrived for a long time, because a dead connection is not always reported. */
  #watch() {
    if (this.#source && Date.now() - this.#heard > QUIET_MS) this.#later();
  }

  /** Closes the stream of a hidden page, because browsers limit the number of connections per host. */
  #visibility() {
    clearTimeout(this.#hidden);
    if (document.hidden) this.#hidden = setTimeout(() => this.#close(), HIDDEN_MS);
    else if (!this.#source) this.open(this.#camera);
  }
}
