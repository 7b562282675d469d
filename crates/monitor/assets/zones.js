// Draws the zones and lines of a camera over its image, and edits them with mouse or keyboard.

import { cameraPath, Failure, send } from "./api.js";
import { announce, field, freshId, h, s, setAttribute, setText } from "./dom.js";

/** Points within this distance, in screen pixels, count as the same position. */
const NEAR = 9;
const STEP = 0.01;
const BIG_STEP = 0.05;

const clamp = (part) => Math.min(1, Math.max(0, part));
const tidy = ([x, y]) => [Math.round(clamp(x) * 1e4) / 1e4, Math.round(clamp(y) * 1e4) / 1e4];
const percent = (part) => `${(part * 100).toFixed(1)} %`;
const least = (shape) => (shape.kind === "zone" ? 3 : 2);

/** Converts the zones and lines of an API response to the editor's shapes. */
function shapesOf({ zones, lines }) {
  const list = (kind, named) =>
    Object.entries(named ?? {}).map(([name, points]) => ({ kind, name, points: points.map((point) => [...point]) }));
  return [...list("zone", zones), ...list("line", lines)];
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

export class Zones {
  constructor(id, stage) {
    this.id = id;
    this.saved = [];
    this.shapes = [];
    this.version = null;
    this.editing = false;
    this.drawing = null;
    this.selected = null;
    this.corner = null;
    this.dragging = false;
    this.cross = [0.5, 0.5];
    this.size = { width: 1, height: 1 };
    this.help = h(
      "p",
      { id: freshId("zones-help"), class: "hint" },
      "Mouse: click the corners; a double click, or a click on the first corner, closes the zone. Drag corners to ",
      "move them, and the dots between them to add one. Keyboard, with the image focused: arrow keys move the ",
      "crosshair (with Shift in larger steps), Enter sets a corner, Enter again at the same place closes, Backspace ",
      "removes the last corner, Escape cancels, Delete removes the selection. The corners can also be typed below.",
    );
    this.svg = s("svg", { class: "shapes", "aria-hidden": "true" });
    this.svg.addEventListener("pointerdown", (event) => this.press(event));
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerup", () => this.release());
    this.svg.addEventListener("pointercancel", () => this.release());
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("focus", () => this.draw());
    this.svg.addEventListener("blur", () => this.draw());
    stage.append(this.svg);
    this.resized = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      this.size = { width: Math.max(1, width), height: Math.max(1, height) };
      this.draw();
    });
    this.resized.observe(stage);
    this.message = h("p", { class: "message", role: "status" });
    this.body = h("div", { class: "zones-body" });
    this.panel = h(
      "section",
      { class: "panel zones", "aria-labelledby": "zones-title" },
      h("h2", { id: "zones-title" }, "Zones and lines"),
      this.message,
      this.body,
    );
    this.render();
  }

  get dirty() {
    return this.drawing !== null || !same(this.shapes, this.saved);
  }

  /** Takes over the shapes of an API response. While the user is editing, only remembers a newer version. */
  take(answer) {
    const shapes = shapesOf(answer);
    const version = answer.registry?.version ?? null;
    if (this.editing) {
      this.newer = version !== null && version !== this.version ? { shapes, version } : null;
      return;
    }
    if (same(shapes, this.saved) && version === this.version && this.known) return;
    this.known = true;
    this.version = version;
    this.set(shapes);
  }

  set(shapes) {
    this.saved = shapes;
    this.shapes = structuredClone(shapes);
    this.drawing = null;
    this.selected = null;
    this.corner = null;
    this.render();
  }

  say(text, tone) {
    setText(this.message, text);
    setAttribute(this.message, "data-tone", tone);
  }

  // Drawing over the image.

  at([x, y]) {
    return [x * this.size.width, y * this.size.height];
  }

  path(points, closed) {
    return `M${points.map((point) => this.at(point).map((part) => part.toFixed(1)).join(" ")).join("L")}${closed ? "Z" : ""}`;
  }

  draw() {
    const { width, height } = this.size;
    setAttribute(this.svg, "viewBox", `0 0 ${width} ${height}`);
    const parts = this.shapes.flatMap((shape) => this.drawShape(shape));
    if (this.drawing) {
      const points = [...this.drawing.points, this.cross];
      parts.push(s("path", { class: "draft", d: this.path(points, false) }));
      parts.push(...this.drawing.points.map((point, at) => this.handle(point, at === 0 ? "first" : "")));
    }
    const focused = document.activeElement === this.svg;
    if (this.editing && (this.drawing || (focused && this.corner === null))) {
      const [x, y] = this.at(this.cross);
      parts.push(s("path", { class: "cross", d: `M${x - 12} ${y}h24M${x} ${y - 12}v24` }));
    }
    this.svg.replaceChildren(...parts);
  }

  drawShape(shape) {
    const selected = shape === this.selected;
    const closed = shape.kind === "zone";
    const d = this.path(shape.points, closed);
    const group = s("g", { class: `shape ${shape.kind}${selected ? " selected" : ""}` });
    group.shape = shape;
    group.append(s("path", { class: "hit", d }), s("path", { class: "outline", d }));
    if (!closed) group.append(s("path", { class: "outline", d: this.arrow(shape.points) }));
    const [x, y] = this.at(shape.points.reduce((a, b) => (b[1] < a[1] ? b : a)));
    const place = { x: Math.min(x + 4, this.size.width - 40), y: Math.max(14, y - 6) };
    group.append(s("text", place, shape.name));
    if (!selected || !this.editing) return [group];
    shape.points.forEach((point, corner) => {
      const next = shape.points[(corner + 1) % shape.points.length];
      if (closed) {
        const middle = [(point[0] + next[0]) / 2, (point[1] + next[1]) / 2];
        group.append(this.handle(middle, "between", { between: corner }));
      }
    });
    shape.points.forEach((point, corner) => {
      group.append(this.handle(point, corner === this.corner ? "chosen" : "", { corner }));
    });
    return [group];
  }

  handle(point, kind, data) {
    const [cx, cy] = this.at(point);
    return s("circle", {
      class: `handle ${kind}`,
      cx,
      cy,
      r: kind === "between" ? 4 : 6,
      "data-corner": data?.corner,
      "data-between": data?.between,
    });
  }

  /** Returns the path of an arrow from the middle of a line to its right side, looking from its first point. */
  arrow([from, to]) {
    const [x1, y1] = this.at(from);
    const [x2, y2] = this.at(to);
    const length = Math.hypot(x2 - x1, y2 - y1) || 1;
    const [dx, dy] = [(x2 - x1) / length, (y2 - y1) / length];
    const [mx, my] = [(x1 + x2) / 2, (y1 + y2) / 2];
    const [tx, ty] = [mx - dy * 18, my + dx * 18];
    const head = (side) => `M${tx} ${ty}L${tx + dy * 6 + side * dx * 5} ${ty - dx * 6 + side * dy * 5}`;
    return `M${mx} ${my}L${tx} ${ty}${head(1)}${head(-1)}`;
  }

  // Mouse and pen.

  place(event) {
    const { left, top } = this.svg.getBoundingClientRect();
    return [clamp((event.clientX - left) / this.size.width), clamp((event.clientY - top) / this.size.height)];
  }

  near(a, b) {
    const [ax, ay] = this.at(a);
    const [bx, by] = this.at(b);
    return Math.hypot(ax - bx, ay - by) <= NEAR;
  }

  press(event) {
    if (!this.editing || event.button !== 0) return;
    event.preventDefault();
    this.svg.focus({ preventScroll: true });
    const point = this.place(event);
    this.cross = point;
    if (this.drawing) {
      this.addCorner();
      return;
    }
    const { corner, between } = event.target.dataset;
    if (corner !== undefined || between !== undefined) {
      this.corner = Number(corner ?? between);
      if (between !== undefined) {
        this.corner += 1;
        this.selected.points.splice(this.corner, 0, tidy(point));
      }
      this.dragging = true;
      this.svg.setPointerCapture(event.pointerId);
      this.render();
      return;
    }
    this.select(event.target.closest("g")?.shape ?? null);
  }

  move(event) {
    if (!this.editing || !(this.drawing || this.dragging)) return;
    const point = this.place(event);
    if (this.dragging) this.moveCorner(point);
    else this.cross = point;
    this.draw();
  }

  release() {
    if (!this.dragging) return;
    this.dragging = false;
    this.render();
  }

  moveCorner(point) {
    this.selected.points[this.corner] = tidy(point);
    this.corners?.(this.corner);
    this.tellDirty();
  }

  select(shape) {
    this.selected = shape;
    this.corner = null;
    this.render();
  }

  // Keyboard.

  key(event) {
    if (!this.editing || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? BIG_STEP : STEP;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way) this.nudge(way[0] * step, way[1] * step);
    else if (event.key === "Enter") this.enter();
    else if (event.key === "Escape") this.cancel();
    else if (event.key === "Delete") this.remove();
    else if (event.key === "Backspace" && this.drawing) this.takeBack();
    else if (event.key === "[" || event.key === "]") this.nextCorner(event.key === "]" ? 1 : -1);
    else return;
    event.preventDefault();
  }

  nudge(dx, dy) {
    const corner = !this.drawing && this.selected && this.corner !== null;
    const [x, y] = corner ? this.selected.points[this.corner] : this.cross;
    const point = tidy([x + dx, y + dy]);
    if (corner) this.moveCorner(point);
    else this.cross = point;
    announce(`${corner ? `corner ${this.corner + 1} ` : ""}${percent(point[0])}, ${percent(point[1])}`);
    this.draw();
  }

  enter() {
    if (this.drawing) {
      this.addCorner();
      return;
    }
    const under = this.shapes.find((shape) => shape.points.some((point) => this.near(point, this.cross)));
    this.select(under ?? null);
    if (under) this.corner = under.points.findIndex((point) => this.near(point, this.cross));
    this.render();
    announce(under ? `${under.kind} ${under.name}, corner ${this.corner + 1}` : "no corner at this position");
  }

  nextCorner(by) {
    if (!this.selected) return;
    const { length } = this.selected.points;
    this.corner = ((this.corner ?? (by > 0 ? -1 : 0)) + by + length) % length;
    this.render();
    announce(`corner ${this.corner + 1} of ${length}`);
  }

  // Drawing a new shape.

  begin(kind) {
    this.selected = null;
    this.corner = null;
    this.drawing = { kind, points: [] };
    this.say(kind === "zone" ? "Set the zone's corners in the image." : "Set the line's two end points in the image.");
    this.render();
    this.svg.focus();
    this.svg.scrollIntoView({ block: "nearest" });
  }

  addCorner() {
    const { kind, points } = this.drawing;
    const point = tidy(this.cross);
    const again = points.length > 0 && this.near(points.at(-1), point);
    const around = kind === "zone" && points.length >= 3 && this.near(points[0], point);
    if (again || around) {
      this.finish();
      return;
    }
    points.push(point);
    announce(`corner ${points.length} set at ${percent(point[0])}, ${percent(point[1])}`);
    if (kind === "line" && points.length === 2) this.finish();
    else this.render();
  }

  takeBack() {
    this.drawing.points.pop();
    announce(`${this.drawing.points.length} corners`);
    this.render();
  }

  finish() {
    const { kind, points } = this.drawing;
    if (points.length < least(this.drawing)) {
      this.say(kind === "zone" ? "A zone needs at least three corners." : "A line needs two end points.", "bad");
      return;
    }
    const taken = new Set(this.shapes.map((shape) => shape.name));
    let number = 1;
    while (taken.has(`${kind}-${number}`)) number += 1;
    const shape = { kind, name: `${kind}-${number}`, points };
    this.shapes.push(shape);
    this.drawing = null;
    this.select(shape);
    this.say(`Drawn. Give the ${kind} a name, then save.`);
    this.focusName(shape);
  }

  focusName(shape) {
    const input = this.body.querySelector(`[data-shape="${this.shapes.indexOf(shape)}"] input`);
    input?.focus();
    input?.select();
  }

  cancel() {
    if (this.drawing) {
      this.drawing = null;
      this.say("");
    }
    this.select(null);
  }

  remove() {
    const shape = this.selected;
    if (!shape) return;
    if (this.corner !== null && shape.points.length > least(shape)) {
      shape.points.splice(this.corner, 1);
      this.corner = null;
      announce("corner removed");
    } else if (this.corner === null) {
      this.shapes.splice(this.shapes.indexOf(shape), 1);
      this.selected = null;
      announce(`${shape.kind} ${shape.name} removed`);
    } else {
      this.say(shape.kind === "zone" ? "A zone needs at least three corners." : "A line needs two end points.", "bad");
    }
    this.render();
  }

  // The panel.

  render() {
    setAttribute(this.svg, "tabindex", this.editing ? 0 : null);
    setAttribute(this.svg, "aria-hidden", this.editing ? null : "true");
    setAttribute(this.svg, "role", this.editing ? "application" : null);
    setAttribute(this.svg, "aria-label", this.editing ? "Image for drawing zones and lines" : null);
    setAttribute(this.svg, "aria-describedby", this.editing ? this.help.id : null);
    this.svg.classList.toggle("editing", this.editing);
    this.svg.classList.toggle("drawing", this.drawing !== null);
    this.corners = null;
    this.tellDirty = () => {};
    this.body.replaceChildren(...(this.editing ? this.editor() : this.reading()));
    this.draw();
  }

  reading() {
    const list = h("ul", { class: "shape-list" });
    for (const { kind, name, points } of this.shapes) {
      list.append(h("li", null, h("b", null, name), ` ${kind}${kind === "zone" ? `, ${points.length} corners` : ""}`));
    }
    const parts = [this.shapes.length ? list : h("p", { class: "hint" }, "No zones or lines are defined.")];
    if (this.version !== null) {
      const edit = h("button", { type: "button", click: () => this.edit() }, "Edit zones and lines");
      parts.push(h("div", { class: "buttons" }, edit));
    } else if (this.known) {
      const why = "This camera isn't in the registry: its zones and lines are set in the monitor's file.";
      parts.push(h("p", { class: "hint" }, why));
    }
    return parts;
  }

  edit() {
    this.editing = true;
    this.say("");
    this.render();
    this.body.querySelector("button").focus();
  }

  editor() {
    const button = (text, click, attributes) => h("button", { type: "button", click, ...attributes }, text);
    const tools = this.drawing
      ? [
          button(this.drawing.kind === "zone" ? "Close the zone" : "Finish the line", () => this.finish(), {
            disabled: this.drawing.points.length < least(this.drawing),
          }),
          button("Cancel drawing", () => {
            this.cancel();
            this.body.querySelector("button").focus();
          }),
        ]
      : [button("New zone", () => this.begin("zone")), button("New line", () => this.begin("line"))];
    const save = button("Save", () => this.save(this.version), { class: "primary" });
    const leave = button("Stop editing", () => this.leave());
    this.tellDirty = () => {
      setText(leave, this.dirty ? "Discard changes" : "Stop editing");
      save.disabled = !this.dirty || this.drawing !== null;
    };
    this.tellDirty();
    return [
      h("div", { class: "buttons" }, ...tools),
      this.help,
      ...this.shapes.map((shape, at) => this.shapeField(shape, at)),
      h("div", { class: "buttons" }, save, leave),
    ];
  }

  shapeField(shape, at) {
    const selected = shape === this.selected;
    const name = h("input", { type: "text", maxlength: 64, autocomplete: "off", spellcheck: "false" });
    name.value = shape.name;
    name.addEventListener("input", () => {
      shape.name = name.value.trim();
      this.tellDirty();
      this.draw();
    });
    const toggle = h(
      "button",
      {
        type: "button",
        "aria-expanded": String(selected),
        click: () => {
          this.select(selected ? null : shape);
          this.body.querySelector(`[data-shape="${at}"] button`)?.focus();
        },
      },
      "Corners",
    );
    const remove = h(
      "button",
      {
        type: "button",
        "aria-label": `Remove ${shape.kind} ${shape.name}`,
        click: () => {
          this.selected = shape;
          this.corner = null;
          this.remove();
          this.body.querySelector("button").focus();
        },
      },
      "Remove",
    );
    const head = h("div", { class: "shape-head" }, field(shape.kind === "zone" ? "Zone" : "Line", name), toggle, remove);
    const root = h("div", { class: `shape-field${selected ? " selected" : ""}`, "data-shape": at }, head);
    if (selected) root.append(this.cornerTable(shape));
    return root;
  }

  cornerTable(shape) {
    const inputs = [];
    const body = h("tbody");
    shape.points.forEach((point, corner) => {
      inputs[corner] = [0, 1].map((axis) => {
        const label = `corner ${corner + 1}, ${axis ? "y" : "x"} in percent`;
        const input = h("input", { type: "number", min: 0, max: 100, step: 0.1, "aria-label": label });
        input.value = (point[axis] * 100).toFixed(1);
        input.addEventListener("focus", () => {
          this.corner = corner;
          this.draw();
        });
        input.addEventListener("input", () => {
          if (input.value === "" || !Number.isFinite(input.valueAsNumber)) return;
          const moved = [...shape.points[corner]];
          moved[axis] = input.valueAsNumber / 100;
          shape.points[corner] = tidy(moved);
          this.tellDirty();
          this.draw();
        });
        return input;
      });
      const after = () => {
        const next = shape.points[(corner + 1) % shape.points.length];
        shape.points.splice(corner + 1, 0, tidy([(point[0] + next[0]) / 2, (point[1] + next[1]) / 2]));
        this.corner = corner + 1;
        this.render();
        this.body.querySelectorAll(".corners tbody tr")[corner + 1]?.querySelector("input").focus();
      };
      const drop = () => {
        this.corner = corner;
        this.remove();
        this.body.querySelector(".corners input")?.focus();
      };
      const acts = h("td");
      if (shape.kind === "zone") {
        acts.append(h("button", { type: "button", click: after, "aria-label": `add a corner after ${corner + 1}` }, "+"));
        const few = shape.points.length <= 3;
        acts.append(
          h("button", { type: "button", click: drop, disabled: few, "aria-label": `remove corner ${corner + 1}` }, "−"),
        );
      }
      body.append(
        h("tr", null, h("th", { scope: "row" }, corner + 1), ...inputs[corner].map((one) => h("td", null, one)), acts),
      );
    });
    this.corners = (corner) => {
      inputs[corner]?.forEach((input, axis) => {
        if (document.activeElement !== input) input.value = (shape.points[corner][axis] * 100).toFixed(1);
      });
    };
    const heads = ["corner", "x, %", "y, %", ""].map((text) => (text ? h("th", { scope: "col" }, text) : h("td")));
    const table = h("table", { class: "corners" }, h("thead", null, h("tr", null, ...heads)), body);
    const hint = shape.kind === "line" ? "The arrow points from the left side of the line to its right side." : null;
    return h("div", null, table, hint && h("p", { class: "hint" }, hint));
  }

  leave() {
    if (this.dirty && !confirm("Discard your unsaved changes?")) return;
    this.done(this.saved);
    this.say("");
  }

  done(shapes) {
    this.editing = false;
    if (this.newer) ({ shapes, version: this.version } = this.newer);
    this.newer = null;
    this.set(shapes);
    this.body.querySelector("button")?.focus();
  }

  /** Returns why the shapes cannot be saved, or null. */
  mistake() {
    for (const kind of ["zone", "line"]) {
      const names = this.shapes.filter((shape) => shape.kind === kind).map((shape) => shape.name);
      if (names.includes("")) return `Each ${kind} needs a name.`;
      const twice = names.find((name, at) => names.indexOf(name) !== at);
      if (twice) return `Two ${kind}s are called “${twice}”; give one of them another name.`;
    }
    return null;
  }

  async save(version) {
    const mistake = this.mistake();
    if (mistake) {
      this.say(mistake, "bad");
      return;
    }
    const named = (kind) =>
      Object.fromEntries(this.shapes.filter((one) => one.kind === kind).map((one) => [one.name, one.points]));
    this.say("Saving…");
    try {
      const path = `${cameraPath(this.id)}/zones`;
      const answer = await send("PUT", path, { version, zones: named("zone"), lines: named("line") });
      this.version = answer.version;
      this.newer = null;
      this.done(structuredClone(this.shapes));
      this.say("Saved in the registry.", "good");
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.status === 409) this.conflict(error);
      else this.say(`Not saved: ${error.message}`, "bad");
    }
  }

  conflict(error) {
    this.say("Not saved: someone else has changed this camera in the meantime.", "bad");
    const version = error.body?.version ?? this.newer?.version;
    const reload = () => {
      this.editing = false;
      this.newer = null;
      this.known = false;
      this.say("");
      this.reload();
    };
    const choices = [h("button", { type: "button", click: reload }, "Load the new version and discard my changes")];
    if (Number.isInteger(version)) {
      choices.push(h("button", { type: "button", click: () => this.save(version) }, "Overwrite with my changes"));
    }
    this.message.append(" ", ...choices);
  }

  destroy() {
    this.resized.disconnect();
  }
}
