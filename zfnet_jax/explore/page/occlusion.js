// The square at every place: how probable the answer stays, and how active the map (Fig. 7).

import { events, failed, Refused } from "./api.js";
import { css, kind, sea } from "./colours.js";
import { $, element, number, percent, tell } from "./dom.js";
import { net, state } from "./state.js";

const PAUSE = 250; // milliseconds without another map, before the work begins anew
const SEEN = 190; // opacity over the photo, of 255

export class Occlusion {
  #key = "";
  #stop = null; // ends the stream under way
  #found = null;

  constructor(stage) {
    this.stage = stage;
    $("stage").addEventListener("pointermove", (event) => this.#read(event));
    $("stage").addEventListener("pointerleave", () => this.#legend());
  }

  update() {
    const { run, step, photo, layer, map, occlusion, square } = state;
    const size = square?.[2] ?? null;
    const wanted = occlusion && photo && map !== null;
    const key = wanted ? JSON.stringify([run, step, photo, layer, map, size]) : "";
    if (key !== this.#key) {
      const pause = this.#key ? PAUSE : 0;
      this.#key = key;
      this.#end();
      if (wanted) this.#start({ run, step, photo, layer, map, size }, pause);
    }
    this.#draw();
  }

  #end() {
    this.#stop?.abort();
    this.#stop = this.#found = null;
    $("progress").hidden = true;
    this.stage.clear("covered");
    $("reading").replaceChildren();
  }

  async #start(query, pause) {
    const stop = (this.#stop = new AbortController());
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (stop.signal.aborted) return;
    tell($("stage-trouble"), null);
    $("progress").hidden = false;
    $("progress").firstChild.style.width = 0;
    try {
      for await (const event of events("occlusion", query, stop.signal)) {
        if (stop.signal.aborted) return;
        if (event.error) throw new Refused(event.error);
        this.#take(event);
      }
      performance.measure("occlusion", { start });
    } catch (error) {
      if (stop.signal.aborted) return;
      this.#key = ""; // to be asked again
      this.#end();
      tell($("stage-trouble"), error.message);
      failed(error);
    } finally {
      if (this.#stop === stop) $("progress").hidden = true;
    }
  }

  #take(event) {
    if (event.begin) {
      const count = event.begin.rows.length * event.begin.columns.length;
      const empty = () => new Array(count).fill(null);
      this.#found = { ...event.begin, activity: empty(), probability: empty(), class: empty() };
    } else if (event.at !== undefined) {
      for (const name of ["activity", "probability", "class"]) {
        event[name]?.forEach((value, n) => (this.#found[name][event.at + n] = value));
      }
      $("progress").firstChild.style.width = `${100 * event.done}%`;
    }
    this.#draw();
  }

  /** What is shown: without a classifier it is the activity. */
  get #kind() {
    return this.#found.label || state.occlusion === "activity" ? state.occlusion : "activity";
  }

  #draw() {
    const found = this.#found;
    if (!found || found.activity[0] === null) return; // nothing yet
    const { rows, columns, size, stride } = found;
    const values = found[this.#kind];
    const share = this.#kind === "class" ? null : this.#scale(values);
    this.#classes = this.#kind === "class" ? this.#byCount(values) : [];
    const colour = this.#kind === "class" ? (value) => kind(this.#classes.indexOf(value)) : (value) => sea(share(value));
    const side = (starts) => starts[0] + (size - stride) / 2;
    this.stage.lay("covered", [rows.length, columns.length], [side(rows), side(columns)],
      [stride, stride], (n) => values[n] === null ? [0, 0, 0, 0] : [...colour(values[n]), SEEN], false);
    this.#legend();
  }

  #classes = [];

  /** Classes, that of the uncovered photo first, then the most frequent. */
  #byCount(values) {
    const counts = new Map([[this.#found.was.class, Infinity]]);
    for (const value of values) if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]).map(([one]) => one);
  }

  #scale(values) {
    const there = values.filter((value) => value !== null);
    const [low, high] = [Math.min(...there), Math.max(...there)];
    this.range = [low, high];
    return (value) => (high > low ? (value - low) / (high - low) : 1);
  }

  #legend() {
    if (!this.#found || this.#found.activity[0] === null) return;
    if (this.#kind === "class") {
      $("reading").replaceChildren("Most likely: ", ...this.#classes.slice(0, 5).map((index) => {
        const chip = element("span", { class: "chip" }, element("i"), net().classes[index]);
        chip.firstChild.style.backgroundColor = css(kind(this.#classes.indexOf(index)));
        return chip;
      }));
      return;
    }
    const [low, high] = this.range.map((value) => this.#say(value));
    $("reading").replaceChildren(`${this.#what()}: `, low, element("i", { class: "ramp" }), high);
  }

  #what() {
    return this.#kind === "probability" ? `Probability of ${this.#found.label.name}`
      : `Activity of map ${state.map}`;
  }

  #say(value) {
    if (this.#kind === "probability") return percent(value);
    const { activity } = this.#found.was;
    return activity > 0 ? percent(value / activity) : number(value);
  }

  /** What was found with the square's middle under the pointer. */
  #read(event) {
    const found = this.#found;
    if (!found || event.pointerType !== "mouse") return;
    const bounds = $("stage").getBoundingClientRect();
    const [height, width] = net().crop;
    const at = (share, length, starts) => {
      const pixel = share * length - (found.size - 1) / 2;
      return starts.reduce((best, start, n) =>
        Math.abs(start - pixel) < Math.abs(starts[best] - pixel) ? n : best, 0);
    };
    const row = at((event.clientY - bounds.top) / bounds.height, height, found.rows);
    const column = at((event.clientX - bounds.left) / bounds.width, width, found.columns);
    const value = found[this.#kind][row * found.columns.length + column];
    if (value === null) return;
    $("reading").textContent = this.#kind === "class" ? `Square here: ${net().classes[value]}`
      : `Square here: ${this.#what().replace(/^./, (first) => first.toLowerCase())} ${this.#say(value)}`;
  }
}
