// A plot of values over time as SVG, with a cursor for mouse and keyboard, and a table of the same values.

import { h, s, setAttribute, setText } from "./dom.js";
import * as words from "./words.js";

const HEIGHT = 150;
const LEFT = 46;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 22;
const MINUTE = 60_000;
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720].map((minutes) => minutes * MINUTE);

/** Returns a step of 1, 2 or 5 times a power of ten that reaches `top` in at most `most` steps. */
function niceStep(top, most) {
  const power = 10 ** Math.floor(Math.log10(top / most));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => top / step <= most);
}

/** Returns the SVG path of the values; missing values are gaps. */
function path(values, x, y) {
  let line = "";
  let pen = false;
  values.forEach((value, at) => {
    if (value === null || value === undefined) {
      pen = false;
      return;
    }
    line += `${pen ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = true;
  });
  return line;
}

export class Plot {
  /** `format(value, isTick)` returns a value as text, with its unit. */
  constructor(title, format) {
    this.title = title;
    this.format = format;
    this.data = { from: 0, step: MINUTE, series: [] };
    this.length = 0;
    this.cursor = null;
    this.width = 600;
    this.svg = s("svg", { class: "plot", height: HEIGHT, role: "slider", tabindex: 0, "aria-label": `${title}, at` });
    this.legend = h("ul", { class: "legend" });
    this.at = h("span", { class: "at" });
    this.table = h("details", { toggle: () => this.tell() }, h("summary", null, `${title} as a table`));
    this.root = h(
      "figure",
      { class: "plot-figure" },
      h("figcaption", null, h("h3", null, title), this.at),
      this.svg,
      this.legend,
      this.table,
    );
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerdown", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.choose(null));
    this.svg.addEventListener("blur", () => this.choose(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.resized = new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width > 0 && width !== this.width) {
        this.width = width;
        this.draw();
      }
    });
    this.resized.observe(this.root);
  }

  /** `data` has `from` and `step` in ms, and `series`, a list of `{label, values, color}`. */
  update(data) {
    this.data = data;
    this.length = Math.max(0, ...data.series.map((one) => one.values.length));
    if (this.cursor !== null && this.cursor >= this.length) this.cursor = null;
    this.legend.replaceChildren(
      ...data.series.map((one) => {
        one.value = h("b");
        return h("li", { class: `k${one.color}` }, swatch(one.color), h("span", null, one.label), " ", one.value);
      }),
    );
    this.draw();
    this.tell();
  }

  x(at) {
    const steps = Math.max(1, this.length - 1);
    return LEFT + (at / steps) * (this.width - LEFT - RIGHT);
  }

  draw() {
    const { from, step, series } = this.data;
    const { width } = this;
    setAttribute(this.svg, "viewBox", `0 0 ${width} ${HEIGHT}`);
    setAttribute(this.svg, "width", width);
    const known = series.flatMap((one) => one.values).filter((value) => value !== null && value !== undefined);
    const highest = Math.max(...known, 0);
    const tick = niceStep(highest > 0 ? highest : 1, 4);
    const top = Math.max(tick, Math.ceil(highest / tick - 1e-9) * tick);
    const floor = HEIGHT - BOTTOM;
    const y = (value) => floor - (Math.max(0, value) / top) * (floor - TOP);
    const parts = [];
    for (let value = 0; value <= top + tick / 2; value += tick) {
      parts.push(
        s("path", { class: "grid", d: `M${LEFT} ${y(value)}H${width - RIGHT}` }),
        s("text", { class: "tick", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, this.format(value, true)),
      );
    }
    const span = step * Math.max(1, this.length - 1);
    const most = Math.max(2, Math.floor((width - LEFT) / 90));
    const wide = TIME_STEPS.find((one) => span / one <= most) ?? TIME_STEPS.at(-1);
    const zone = new Date(from).getTimezoneOffset() * MINUTE;
    for (let time = Math.ceil((from - zone) / wide) * wide + zone; time <= from + span; time += wide) {
      const x = this.x((time - from) / step);
      if (x > width - RIGHT - 14 || x < LEFT + 8) continue;
      parts.push(
        s("path", { class: "grid", d: `M${x.toFixed(1)} ${floor}v4` }),
        s("text", { class: "tick", x, y: HEIGHT - 4, "text-anchor": "middle" }, words.minuteTime(new Date(time))),
      );
    }
    for (const one of series) {
      parts.push(s("path", { class: `series k${one.color}`, d: path(one.values, (at) => this.x(at), y) }));
      // A value between two gaps has no line, so it is drawn as a point.
      one.values.forEach((value, at) => {
        const known = (beside) => (one.values[beside] ?? null) !== null;
        if (!known(at) || known(at - 1) || known(at + 1)) return;
        parts.push(s("circle", { class: `k${one.color}`, cx: this.x(at), cy: y(value), r: 2.5 }));
      });
    }
    if (known.length === 0) {
      const middle = { x: (LEFT + width) / 2, y: HEIGHT / 2, "text-anchor": "middle" };
      parts.push(s("text", { class: "tick", ...middle }, "no data in this time range"));
    }
    this.needle = s("path", { class: "needle" });
    this.dots = s("g");
    this.y = y;
    this.svg.replaceChildren(...parts, this.needle, this.dots);
    this.choose(this.cursor);
  }

  point(x) {
    const inside = (x - LEFT) / (this.width - LEFT - RIGHT);
    if (this.length) this.choose(Math.round(Math.min(1, Math.max(0, inside)) * (this.length - 1)));
  }

  key(event) {
    const last = this.length - 1;
    const at = this.cursor ?? last;
    const to = {
      ArrowLeft: at - 1,
      ArrowDown: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at + 1,
      PageDown: at - 10,
      PageUp: at + 10,
      Home: 0,
      End: last,
      Escape: null,
    }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.choose(to === null ? null : Math.min(last, Math.max(0, to)));
  }

  /** Shows the values at one step, or at the last step if `at` is null. */
  choose(at) {
    this.cursor = at;
    const { from, step, series } = this.data;
    const shown = at ?? this.length - 1;
    const time = new Date(from + shown * step);
    const x = this.x(shown).toFixed(1);
    setAttribute(this.needle, "d", at === null ? null : `M${x} ${TOP}V${HEIGHT - BOTTOM}`);
    const dots = [];
    const said = [];
    for (const one of series) {
      const value = one.values[shown] ?? null;
      setText(one.value, value === null ? "–" : this.format(value));
      said.push(`${series.length > 1 ? `${one.label} ` : ""}${value === null ? "none" : this.format(value)}`);
      if (at !== null && value !== null) {
        dots.push(s("circle", { class: `k${one.color}`, cx: x, cy: this.y(value), r: 3.5 }));
      }
    }
    this.dots.replaceChildren(...dots);
    const when = this.length ? words.dayAndMinute(time) : "";
    setText(this.at, when);
    setAttribute(this.svg, "aria-valuemin", 0);
    setAttribute(this.svg, "aria-valuemax", Math.max(0, this.length - 1));
    setAttribute(this.svg, "aria-valuenow", Math.max(0, shown));
    setAttribute(this.svg, "aria-valuetext", this.length ? `${when}: ${said.join(", ")}` : "no data");
  }

  /** Fills the table, which has one row per step, if it is open. */
  tell() {
    if (!this.table.open) return;
    const { from, step, series } = this.data;
    const head = h("tr", null, h("th", { scope: "col" }, "time"));
    for (const one of series) head.append(h("th", { scope: "col" }, one.label));
    const body = h("tbody");
    for (let at = this.length - 1; at >= 0; at -= 1) {
      const values = series.map((one) => one.values[at] ?? null);
      if (values.every((value) => value === null)) continue;
      const row = h("tr", null, h("th", { scope: "row" }, words.dayAndMinute(new Date(from + at * step))));
      row.append(...values.map((value) => h("td", null, value === null ? "–" : this.format(value))));
      body.append(row);
    }
    const table = h("table", null, h("thead", null, head), body);
    const attributes = { class: "scroll", tabindex: 0, role: "region", "aria-label": `${this.title} as a table` };
    const old = this.table.querySelector(".scroll");
    const scroll = h("div", attributes, table);
    if (old) old.replaceWith(scroll);
    else this.table.append(scroll);
  }

  destroy() {
    this.resized.disconnect();
  }
}

function swatch(color) {
  const line = s("path", { class: `series k${color}`, d: "M1 6h20" });
  return s("svg", { class: "swatch", viewBox: "0 0 22 12", width: 22, height: 12, "aria-hidden": "true" }, line);
}
