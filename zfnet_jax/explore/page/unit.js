// One unit: what it sees of the photo, what of that excites it, and the photos that excite its map
// most of all.

import { ask, Newest, picture, release } from "./api.js";
import { element, layerName, number, percent, plural, svg, tell, words } from "./dom.js";
import { facts, layerOf, net, sideLabel, state, stepLabel } from "./state.js";

const TINY = 16; // pixels of a receptive field that are worth telling apart

export class Unit {
  #unit = new Newest("unit", (text) => {
    if (text !== null) this.#key = "";
    tell(this.trouble, text);
  });
  #winners = new Newest("winners", (text) => {
    if (text !== null) this.#winnersKey = "";
    tell(this.winnersTrouble, text);
  });
  #key = "";
  #winnersKey = "";
  #pictures = [];
  #sheets = [];

  /** on: {field(side, unit), move(by), sample(index)} */
  constructor(side, on) {
    Object.assign(this, { side, on, found: null });
    this.of = element("p", { class: "of quiet", hidden: "" });
    this.title = element("h2", { "aria-live": "polite" });
    this.facts = element("p", { class: "facts" });
    this.trouble = element("p", { class: "trouble", role: "alert", hidden: "" });
    this.figures = element("div", { class: "figures" });
    this.sheets = this.#winners.shows = element("div");
    this.winnersTrouble = element("p", { class: "trouble", role: "alert", hidden: "" });
    this.winners = element("div", { class: "winners" }, this.sheets, this.winnersTrouble);
    const step = (by, label, sign) => {
      const button = element("button", { type: "button", "aria-label": label, title: label }, sign);
      button.addEventListener("click", () => on.move(by));
      return button;
    };
    this.element = element("article", { class: "unit" }, this.of,
      element("div", { class: "head" }, this.title,
        side === 0 ? element("nav", { "aria-label": "Maps" }, step(-1, "Stronger map", "←"),
          step(1, "Weaker map", "→")) : null),
      this.facts, this.trouble, this.figures);
    this.#unit.shows = this.element;
  }

  update(seen, titled) {
    const { run, step, layer, map, unit } = seen;
    const { photo, rule, overlap, compare, whole } = state;
    tell(this.of, titled ? sideLabel(run, step) : null);
    this.element.hidden = this.winners.hidden = map === null || !photo;
    const variants = this.#variants(rule, overlap, compare);
    const query = { run, step, photo, layer, map, row: unit?.[0], column: unit?.[1] };
    const key = JSON.stringify([query, variants, whole]);
    if (map === null) this.#key = ""; // its field is gone from the photo, and must come again
    if (key === this.#key || map === null || !photo) return [];
    this.#key = key;
    return [this.#unit.run(async () => {
      const [found, ...pictures] = await Promise.all([
        ask("unit", { ...query, rule, overlap }),
        ...variants.map((one) =>
          picture("unit.png", { ...query, rule: one.rule, overlap: one.overlap, whole: whole ? 1 : null })),
      ]);
      return () => {
        this.#show(seen, found, variants, pictures, whole);
        this.#showWinners(seen, found);
      };
    })];
  }

  #variants(rule, overlap, compare) {
    if (compare === "rules") return facts.rules.map((one) => ({ rule: one, overlap, name: words(one) }));
    if (compare === "overlaps") return facts.overlaps.map((one) => ({ rule, overlap: one, name: one }));
    return [{ rule, overlap, name: "Projected to pixels" }];
  }

  #show({ run, layer, map }, found, variants, pictures, whole) {
    this.found = found;
    const spec = layerOf(run, layer);
    this.title.replaceChildren(element("span", {}, `${layerName(spec)} / `), `map ${map}`);
    const seen = spec.field.join(" × ");
    this.facts.textContent = found.value > 0
      ? `${number(found.value)} at row ${found.row}, column ${found.column}; ` +
        `number ${found.rank + 1} of ${spec.maps} in this photo. The unit sees ${seen} pixels.`
      : `Nothing in this photo excites this map. Its units see ${seen} pixels.`;
    this.#pictures.forEach(release);
    this.#pictures = pictures;
    const tiny = Math.max(...spec.field) <= TINY && !whole;
    this.figures.className = `figures${tiny ? " tiny" : ""}`;
    this.figures.dataset.count = variants.length;
    const photo = element("figure", {}, this.saw = element("div", { class: "saw" }),
      element("figcaption", {}, whole ? "The photo" : "What it sees"));
    this.#draw(whole);
    this.figures.replaceChildren(photo, ...variants.map(({ name }, n) => {
      pictures[n].alt = `What excites the unit, ${name}`;
      return element("figure", {}, pictures[n], element("figcaption", {}, name));
    }));
    this.on.field(this.side, found);
  }

  /** The photo has another picture now. */
  seen(source, crop) {
    Object.assign(this, { source, crop });
    if (this.found && this.saw) this.#draw(state.whole);
  }

  #draw(whole) {
    if (!this.source) return;
    const [height, width] = this.crop;
    const { field, shown } = this.found;
    const [top, left, bottom, right] = whole ? [0, 0, height, width] : shown;
    const drawn = svg("svg", { viewBox: `${left} ${top} ${right - left} ${bottom - top}`,
      role: "img", "aria-label": "The part of the photo that the unit sees" },
    svg("image", { href: this.source, width, height, preserveAspectRatio: "none" }));
    if (whole) {
      const [y, x, yEnd, xEnd] = field;
      drawn.append(svg("path", { class: "box", d: `M${x} ${y}H${xEnd}V${yEnd}H${x}Z` }));
    }
    this.saw.replaceChildren(drawn);
  }

  #showWinners({ run, step, layer, map }, { winners, grid, class: most }) {
    const key = JSON.stringify([run, step, layer, map, winners]);
    if (key === this.#winnersKey) return;
    this.#winnersKey = key;
    if (!winners.length) {
      this.#winners.run(async () => () => this.sheets.replaceChildren(noWinners(run, step, layer)));
      return;
    }
    this.#winners.run(async () => {
      const query = { run, step, layer, map };
      const sheets = await Promise.all(["winners.png", "winners_projected.png"].map(
        (name) => picture(name, query)));
      return () => {
        this.#sheets.forEach(release);
        this.#sheets = sheets;
        this.sheets.replaceChildren(
          element("h3", {}, `The ${plural(winners.length, "photo")} of the set that excite it most`,
            most ? `: ${percent(most.share)} ` : "", most ? element("bdi", {}, most.name) : ""),
          element("div", { class: "sheets" }, this.#grid(sheets[0], grid, winners, true),
            this.#grid(sheets[1], grid, winners, false)));
      };
    });
  }

  /** The winners' sprite, `across` of them in a row, as a grid: buttons that open a winner's photo, or
   * pictures alone. */
  #grid(sheet, across, winners, opens) {
    const grid = element("div", { class: "grid" });
    grid.style.setProperty("--grid", across);
    grid.style.setProperty("--sheet", `url("${sheet.src}")`);
    grid.style.setProperty("--aspect", `${sheet.naturalWidth} / ${sheet.naturalHeight}`);
    grid.append(...winners.map(({ value, label, key, sample }, n) => {
      const name = `${label ?? key ?? "photo"}, ${number(value)}`;
      const cell = opens && sample !== null
        ? element("button", { type: "button", class: "cell", title: name, "aria-label": `Winner ${n + 1}: ${name}` })
        : element("span", { class: "cell", title: name, role: "img", "aria-label": `Winner ${n + 1}${opens ? "" : ", projected"}: ${name}` });
      const share = (at) => `${(100 * at) / Math.max(across - 1, 1)}%`;
      cell.style.backgroundPosition = `${share(n % across)} ${share(Math.floor(n / across))}`;
      if (opens && sample !== null) cell.addEventListener("click", () => this.on.sample(sample));
      return cell;
    }));
    return grid;
  }
}

/** Why there are none. */
function noWinners(run, step, layer) {
  const note = (...text) => element("p", { class: "quiet" }, ...text);
  if (step !== net(run).step) return note(`No winners are shown of ${stepLabel(run, step)}.`);
  if (layerOf(run, layer).winners) return note("No photo of the set excites this map.");
  if (net(run).layers.some((one) => one.winners)) return note("Winners are mined of conv layers.");
  return note("Which photos excite each map most, ", element("code", {}, "python -m scripts.mine"),
    " finds out.");
}

/** The units of a layer that see one place of the photo, strongest first. */
export class Place {
  #slot = new Newest("place", (text) => {
    if (text !== null) this.#key = "";
    tell(this.trouble, text);
  }, { live: true });
  #key = "";

  /** on: {choose(layer, map, unit), pick(layer, map, unit)}: by hand, and the strongest by itself. */
  constructor(box, on) {
    Object.assign(this, { box, on });
    this.title = element("h2", {});
    this.note = element("p", { class: "quiet" });
    const close = element("button", { type: "button", class: "all" }, "clear");
    close.addEventListener("click", () => on.clear());
    this.list = this.#slot.shows = element("div", { class: "seers", role: "group", "aria-label": "Units, strongest first" });
    this.trouble = element("p", { class: "trouble", role: "alert", hidden: "" });
    box.append(element("div", { class: "head" }, this.title, this.note, close), this.list, this.trouble);
  }

  update() {
    const { run, step, photo, layer, place } = state;
    this.box.hidden = !place || !photo;
    for (const button of this.list.children) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.map) === state.map));
    }
    const key = JSON.stringify([run, step, photo, layer, place]);
    if (key === this.#key) return [];
    this.#key = key;
    if (!place || !photo) return [];
    const [y, x] = place;
    return [this.#slot.run(async () => {
      const found = await ask("place", { run, step, photo, layer, y, x });
      return () => {
        if (String(state.place) === String(place) && state.layer === layer) this.#show(found, layer);
      };
    })];
  }

  #show({ row, column, units }, layer) {
    this.title.textContent = "What sees this place";
    this.note.textContent = `${layer}, row ${row}, column ${column}` + (units.length ? "" : ": no unit is active");
    const largest = units[0]?.value ?? 1;
    this.list.replaceChildren(...units.map(({ map, value }) => {
      const fill = element("i");
      fill.style.width = `${(100 * value) / largest}%`;
      const button = element("button", { type: "button", "data-map": map,
        "aria-pressed": String(map === state.map), "aria-label": `map ${map}, ${number(value)}` },
      element("b", {}, map), element("span", {}, number(value)), fill);
      button.addEventListener("click", () => this.on.choose(layer, map, [row, column]));
      return button;
    }));
    const listed = units.some(({ map }) => map === state.map);
    if (units.length && !(listed && String(state.unit) === String([row, column]))) {
      this.on.pick(layer, units[0].map, [row, column]);
    }
  }
}
