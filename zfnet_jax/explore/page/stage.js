// The photo and what lies over it: receptive fields, a map's activity, the square, occlusion.

import { ask, Newest, picture, release } from "./api.js";
import { cells, fire } from "./colours.js";
import { $, clamp, svg, tell } from "./dom.js";
import { net, set, state } from "./state.js";

const FINE = 4; // canvas pixels for each of the crop's
const STEP = 1 / 16; // of the photo's side that an arrow moves the square or the place

export class Stage {
  #photo = null; // the crop, an <img>
  #fields = [null, null]; // of the units shown
  #slot = new Newest("crop", (text) => text !== "" && tell($("stage-trouble"), text));

  /** on: {seen(crop)}: a crop is shown. */
  constructor(on) {
    this.on = on;
    const stage = $("stage");
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => {
      if (stage.hasPointerCapture(event.pointerId)) this.#point(event, true);
    });
    stage.addEventListener("keydown", (event) => this.#key(event));
  }

  get crop() {
    return net().crop;
  }

  get source() {
    return this.#photo?.src ?? null;
  }

  update(changed) {
    const pending = [];
    if (changed.has("run")) {
      const [rows, columns] = this.crop;
      $("stage").style.aspectRatio = `${columns} / ${rows}`;
      $("marks").setAttribute("viewBox", `0 0 ${columns} ${rows}`);
      for (const id of ["heat", "covered"]) {
        Object.assign($(id), { width: columns * FINE, height: rows * FINE });
      }
      $("stage").classList.toggle("coarse", Math.max(rows, columns) <= 40);
    }
    if (state.photo && (changed.has("run") || changed.has("photo") || !$("stage-trouble").hidden)) {
      pending.push(this.#load());
    }
    if (changed.has("photo")) this.clear("heat");
    this.#mark();
    return pending;
  }

  #load() {
    const { run, photo } = state;
    return this.#slot.run(async () => {
      const image = await picture("photo.png", { run, photo });
      return () => {
        release(this.#photo);
        this.#photo = image;
        $("photo").src = image.src;
        $("photo").hidden = false;
        $("photo").alt = "The photo as the net sees it";
        $("empty").hidden = true;
        this.on.seen(image);
      };
    });
  }

  /** Draws the receptive field [top, left, bottom, right] of the unit of a side; null: none. */
  field(side, rectangle) {
    this.#fields[side] = rectangle;
    this.#mark();
  }

  /** Lays a map's activity, values from 0 to 1, over the photo. */
  heat(values, rows, columns, { start, field, jump }) {
    const share = [field[0] - jump[0], field[1] - jump[1]];
    this.lay("heat", [rows, columns], [start[0] + share[0] / 2, start[1] + share[1] / 2], jump,
      (n) => [...fire(values[n]), 255 * (0.15 + 0.75 * values[n])], true);
  }

  /** Lays cells over the photo: rows and columns of them, the first pixel of the first one, their
   * sides, and the colour of each. The outermost reach the photo's edge. */
  lay(id, [rows, columns], first, sides, colour, smooth) {
    const canvas = $(id);
    const more = [rows, columns].map((count, axis) => [
      Math.max(0, Math.ceil(first[axis] / sides[axis])),
      Math.max(0, Math.ceil((this.crop[axis] - first[axis]) / sides[axis] - count)),
    ]);
    const [[above, below], [left, right]] = more;
    const across = left + columns + right;
    const down = above + rows + below;
    const picture = cells(down, across, (n) => {
      const row = clamp(Math.floor(n / across) - above, 0, rows - 1);
      return colour(row * columns + clamp((n % across) - left, 0, columns - 1));
    });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = smooth;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, FINE * (first[1] - left * sides[1]), FINE * (first[0] - above * sides[0]),
      FINE * across * sides[1], FINE * down * sides[0]);
    canvas.hidden = false;
    this.#dim();
  }

  clear(id) {
    $(id).hidden = true;
    this.#dim();
  }

  #dim() {
    $("stage").classList.toggle("dim", !$("heat").hidden || !$("covered").hidden);
  }

  #mark() {
    if (!state.photo) return;
    const [height, width] = this.crop;
    const marks = [];
    const box = ([top, left, bottom, right]) => // its part inside the photo
      `M${Math.max(left, 0)} ${Math.max(top, 0)}H${Math.min(right, width)}` +
      `V${Math.min(bottom, height)}H${Math.max(left, 0)}Z`;
    const [first, second] = this.#fields;
    if (first) {
      if (!state.square) {
        marks.push(svg("path", { class: "shade", d: `M0 0H${width}V${height}H0Z${box(first)}` }));
      }
      marks.push(svg("path", { class: "box", d: box(first) }));
    }
    if (second) marks.push(svg("path", { class: "box second", d: box(second) }));
    if (state.place) {
      const [y, x] = state.place;
      marks.push(svg("circle", { class: "halo", cx: x + 0.5, cy: y + 0.5, r: width / 60 }),
        svg("circle", { class: "point", cx: x + 0.5, cy: y + 0.5, r: width / 60 }));
    }
    if (state.square) {
      const [y, x, size] = state.square;
      marks.push(svg("rect", { class: "grey", x, y, width: size, height: size }));
    }
    $("marks").replaceChildren(...marks);
  }

  // ---- Pointer and keys: the square where it is on, else the place

  #down(event) {
    if (!state.photo || event.button !== 0) return;
    $("stage").setPointerCapture(event.pointerId);
    this.#point(event, false);
  }

  #point(event, drags) {
    const bounds = $("stage").getBoundingClientRect();
    const [height, width] = this.crop;
    const y = ((event.clientY - bounds.top) / bounds.height) * height;
    const x = ((event.clientX - bounds.left) / bounds.width) * width;
    if (state.square) this.#moveSquare(y - state.square[2] / 2, x - state.square[2] / 2, drags);
    else this.#movePlace(y, x, drags);
    event.preventDefault();
    $("stage").focus({ preventScroll: true });
  }

  #moveSquare(y, x) {
    const [height, width] = this.crop;
    const size = state.square[2];
    const square = [clamp(Math.round(y), 0, height - size), clamp(Math.round(x), 0, width - size), size];
    if (String(square) !== String(state.square)) set({ square }, { replace: true });
  }

  #movePlace(y, x, replace) {
    const [height, width] = this.crop;
    const place = [clamp(Math.floor(y), 0, height - 1), clamp(Math.floor(x), 0, width - 1)];
    if (String(place) !== String(state.place)) set({ place }, { replace });
  }

  #key(event) {
    const by = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!by || !state.photo || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [height, width] = this.crop;
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(STEP * Math.max(height, width)));
    const [y, x] = state.square ?? state.place ?? [height / 2, width / 2];
    const [row, column] = [y + by[0] * step, x + by[1] * step];
    if (state.square) this.#moveSquare(row, column);
    else this.#movePlace(row, column, state.place !== null);
  }
}

/** The grey square: what the net answers with it follows it. */
export class Square {
  #slot = new Newest("square", (text) => {
    if (text !== null) this.#key = "";
    if (text !== "") tell($("stage-trouble"), text);
  }, { live: true });
  #key = "";

  constructor(show) {
    this.show = show; // called with the server's answer, or null
  }

  update() {
    const { run, step, photo, square, layer, map } = state;
    const key = JSON.stringify([run, step, photo, square, layer, map]);
    if (key === this.#key) return [];
    this.#key = key;
    if (!square || !photo || map === null) {
      this.show(null);
      return [];
    }
    const [y, x, size] = square;
    return [this.#slot.run(async () => {
      const found = await ask("square", { run, step, photo, y, x, size, layer, map });
      return () => state.square && this.show(found);
    })];
  }
}

/** A square of the net's usual size in the middle of the photo. */
export function middleSquare() {
  const [height, width] = net().crop;
  const { size } = net().square;
  return [Math.round((height - size) / 2), Math.round((width - size) / 2), size];
}
