// A camera's image with its boxes. Only images on the screen are fetched, and only a few at the same time.

import { cameraPath, getJson, url } from "./api.js";
import { h, s, setText } from "./dom.js";
import { colorOf } from "./words.js";

const AT_ONCE = 4;
const LEAST_BETWEEN_MS = 900;

const waiting = new Set();
let underWay = 0;
let timer = 0;

function pump() {
  clearTimeout(timer);
  const now = performance.now();
  let soonest = Infinity;
  // The camera that was fetched the longest time ago comes first.
  const ready = [...waiting].sort((a, b) => a.fetchedAt - b.fetchedAt);
  for (const picture of ready) {
    if (underWay >= AT_ONCE) return;
    const due = picture.fetchedAt + LEAST_BETWEEN_MS;
    if (due > now) {
      soonest = Math.min(soonest, due - now);
      continue;
    }
    waiting.delete(picture);
    underWay += 1;
    picture.fetch().finally(() => {
      underWay -= 1;
      pump();
    });
  }
  if (soonest < Infinity) timer = setTimeout(pump, soonest);
}

export class Picture {
  /** `shown(shot)` is called when an image was loaded. By default, the detections are drawn. */
  constructor(id, shown) {
    this.id = id;
    this.fetchedAt = -Infinity;
    this.shot = null;
    this.width = 0;
    this.image = h("img", { alt: "", decoding: "async", draggable: "false" });
    this.image.hidden = true;
    this.boxes = s("svg", { class: "boxes", "aria-hidden": "true" });
    this.none = h("p", { class: "none" }, "no image yet");
    this.root = h("div", { class: "picture" }, this.none, this.image, this.boxes);
    this.shown = shown ?? (() => this.draw());
    this.wanted = null;
    this.visible = false;
    this.gone = new AbortController();
  }

  /** Reports that the image with this sequence number is available. */
  want(seq) {
    if (seq === null || seq === undefined || seq === this.wanted) return;
    this.wanted = seq;
    this.queue();
  }

  setVisible(visible) {
    this.visible = visible;
    if (visible) this.queue();
    else waiting.delete(this);
  }

  queue() {
    if (!this.visible || this.wanted === null || this.wanted === this.shot?.seq) return;
    waiting.add(this);
    pump();
  }

  async fetch() {
    this.fetchedAt = performance.now();
    const asked = this.wanted;
    try {
      const shot = await getJson(`${cameraPath(this.id)}/snapshot`, this.gone.signal);
      this.image.src = url(`${cameraPath(this.id)}/snapshot.jpg?seq=${encodeURIComponent(shot.seq)}`);
      await this.image.decode();
      this.shot = shot;
      this.image.hidden = false;
      this.none.hidden = true;
      this.shown(shot);
    } catch {
      if (this.gone.signal.aborted) return;
      if (!this.shot) {
        this.image.hidden = true;
        this.none.hidden = false;
        setText(this.none, "no image yet");
      }
    }
    // A newer image may have become available in the meantime.
    if (this.wanted !== asked) this.queue();
  }

  draw() {
    const width = this.width || 240;
    drawBoxes(this.boxes, this.shot.source, this.shot.detections, this.shot.source.width / width);
  }

  destroy() {
    this.gone.abort();
    this.image.removeAttribute("src");
    waiting.delete(this);
  }
}

/**
 * Draws `boxes` (`label`, `box` in pixels of the source frame, and `id` or `score`) into an SVG that covers the image.
 * `scale` is the number of source pixels per screen pixel.
 */
export function drawBoxes(svg, source, boxes, scale) {
  svg.setAttribute("viewBox", `0 0 ${source.width} ${source.height}`);
  svg.replaceChildren(...boxes.map((one) => box(one, scale)));
}

function box({ label, score, id, box: [x1, y1, x2, y2] }, scale) {
  const text = id === undefined ? `${label} ${Math.round(score * 100)}` : `${label} ${id}`;
  const above = y1 > 14 * scale;
  return s(
    "g",
    { class: `box k${colorOf(label)}` },
    s("rect", { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) }),
    s("text", { x: x1 + 2 * scale, y: above ? y1 - 4 * scale : y1 + 13 * scale, "font-size": 12 * scale }, text),
  );
}
