// Every layer's maps as a strip, strongest first.
//
// A strip's picture from the server holds its maps in that order: the nth tile always shows the nth
// place of the picture, and another photo only changes the picture and the captions.

import { ask, Newest, picture, release } from "./api.js";
import { greys } from "./colours.js";
import { element, layerName, number, plural, press, tell } from "./dom.js";
import { net, sideLabel, sides, state } from "./state.js";

const ROWS = { conv: 2, pool: 1 }; // of tiles, while the strip is closed

const FINE = 60; // units along a map of which a tile cannot show each

/** The maps of one layer of one net. */
class Strip {
  #slot = new Newest("strip", (text) => {
    if (text !== null) this.#key = "";
    tell(this.trouble, text);
  });
  #key = "";
  #sprite = null;
  #across = 0; // tiles in a row of the page
  maps = []; // strongest first: {map, value, row, column}

  constructor(side, layer, on) {
    Object.assign(this, { side, layer, on, open: false });
    this.label = element("p", { class: "of quiet", hidden: "" });
    this.tiles = element("div", { class: "tiles", role: "group" });
    this.#slot.shows = this.tiles;
    this.tiles.classList.toggle("fine", Math.max(layer.rows, layer.columns) > FINE);
    this.tiles.style.setProperty("--aspect", `${layer.columns} / ${layer.rows}`);
    this.trouble = element("p", { class: "trouble", role: "alert", hidden: "" });
    this.element = element("div", { class: "strip" }, this.label, this.tiles, this.trouble);
    this.tiles.addEventListener("click", ({ target }) => {
      const place = this.#placeOf(target);
      if (place !== null) on.choose(side, layer.name, this.maps[place].map);
    });
    this.tiles.addEventListener("pointerover", ({ target, pointerType }) => {
      const place = this.#placeOf(target);
      if (place !== null && pointerType === "mouse") on.preview(this, place);
    });
    this.tiles.addEventListener("pointerleave", () => on.preview(null));
  }

  #placeOf(target) {
    const tile = target.closest(".tile");
    return tile && this.maps.length ? [...this.tiles.children].indexOf(tile) : null;
  }

  update({ run, step, layer, map }, photo, titled) {
    tell(this.label, titled ? sideLabel(run, step) : null);
    this.tiles.setAttribute("aria-label",
      `${layerName(this.layer)}: ${plural(this.layer.maps, "map")}, strongest first`);
    this.chosen = layer === this.layer.name ? map : null;
    this.#mark();
    const query = { run, step, photo, layer: this.layer.name };
    const key = JSON.stringify(query);
    if (key === this.#key || !photo) return [];
    this.#key = key;
    return [this.#slot.run(async () => {
      const [found, sprite] = await Promise.all([ask("strip", query), picture("strip.png", query)]);
      return () => this.#show(found, sprite);
    })];
  }

  #show({ maps, columns, tile }, sprite) {
    release(this.#sprite);
    this.#sprite = sprite;
    Object.assign(this, { maps, columns, tile });
    const rows = Math.ceil(maps.length / columns);
    this.tiles.style.setProperty("--sprite", `url("${sprite.src}")`);
    this.tiles.style.setProperty("--sheet", `${100 * columns}% ${100 * rows}%`);
    this.fit();
    this.on.shown(this);
  }

  /** Makes as many tiles as there is room for. */
  fit() {
    if (!this.maps.length) return;
    this.#across = getComputedStyle(this.tiles).gridTemplateColumns.split(" ").length;
    const count = this.open ? this.maps.length : Math.min(this.maps.length, ROWS[this.layer.kind] * this.#across);
    while (this.tiles.children.length > count) this.tiles.lastChild.remove();
    while (this.tiles.children.length < count) this.tiles.append(this.#make(this.tiles.children.length));
    this.maps.slice(0, count).forEach(({ map, value }, place) => {
      const tile = this.tiles.children[place];
      const [name, strength] = tile.lastChild.children;
      name.textContent = map;
      strength.textContent = value > 0 ? number(value) : "0";
      tile.classList.toggle("silent", value <= 0);
      tile.setAttribute("aria-label", `map ${map}, ${number(value)}`);
    });
    this.#mark();
  }

  #make(place) {
    const picture = element("span", { class: "picture" });
    const rows = Math.ceil(this.maps.length / this.columns);
    const share = (at, count) => `${(100 * at) / Math.max(count - 1, 1)}%`;
    picture.style.backgroundPosition =
      `${share(place % this.columns, this.columns)} ${share(Math.floor(place / this.columns), rows)}`;
    return element("button", { type: "button", class: "tile", tabindex: "-1" }, picture,
      element("span", { class: "caption" }, element("b"), element("span")));
  }

  #mark() {
    const tiles = [...this.tiles.children];
    const at = this.maps.findIndex(({ map }) => map === this.chosen);
    tiles.forEach((tile, place) => {
      press(tile, place === at);
      tile.tabIndex = place === (at < 0 || at >= tiles.length ? 0 : at) ? 0 : -1;
    });
  }

  toggle(open) {
    this.open = open;
    this.fit();
  }

  placeOfMap(map) {
    return this.maps.findIndex((one) => one.map === map);
  }

  focus(place) {
    if (place >= this.tiles.children.length) this.on.open(this.layer.name);
    this.tiles.children[place]?.focus();
  }

  /** The activity of the map at a place of the strip, 0 to 1, row by row. */
  activity(place) {
    const [rows, columns] = this.tile;
    return greys(this.#sprite, (place % this.columns) * columns,
      Math.floor(place / this.columns) * rows, columns, rows);
  }
}

/** All layers, of one net or of two below each other. */
export class Strips {
  #built = "";
  #sections = []; // {name, strips, element, all}

  constructor(place, on) {
    this.place = place;
    this.on = { ...on, open: (name) => this.#open(name, true) };
    new ResizeObserver(() => this.#all((strip) => strip.fit())).observe(place);
  }

  update() {
    const seen = sides();
    const runs = JSON.stringify(seen.map(({ run }) => run));
    if (runs !== this.#built) this.#build(seen);
    this.#built = runs;
    for (const { name, element } of this.#sections) {
      element.classList.toggle("here", seen.some(({ layer }) => layer === name));
    }
    const chosen = (strip) => (strip.layer.name === seen[strip.side].layer ? 0 : 1);
    const strips = this.#sections.flatMap(({ strips }) => strips).sort((a, b) => chosen(a) - chosen(b));
    return strips.flatMap((strip) => strip.update(seen[strip.side], state.photo, seen.length > 1));
  }

  #build(seen) {
    const names = [...new Set(seen.flatMap(({ run }) => net(run).layers.map(({ name }) => name)))];
    this.#sections = names.map((name) => {
      const strips = seen.flatMap(({ run }, side) => {
        const layer = net(run).layers.find((one) => one.name === name);
        return layer ? [new Strip(side, layer, this.on)] : [];
      });
      const { maps, rows, columns } = strips[0].layer;
      const all = element("button", { type: "button", class: "all", "aria-expanded": "false" }, `all ${maps}`);
      all.addEventListener("click", () => this.#open(name, all.getAttribute("aria-expanded") === "false"));
      return { name, strips, all, element: element("section", { class: "layer", id: `layer-${name}` },
        element("div", { class: "head" }, element("h2", {}, layerName(strips[0].layer)),
          element("p", { class: "quiet" }, `${plural(maps, "map")} of ${rows} × ${columns}`), all),
        ...strips.map((strip) => strip.element)) };
    });
    this.place.replaceChildren(...this.#sections.map((section) => section.element));
  }

  #open(name, open) {
    const { strips, all } = this.#sections.find((section) => section.name === name);
    for (const strip of strips) strip.toggle(open);
    all.setAttribute("aria-expanded", String(open));
    all.textContent = open ? "fewer" : `all ${strips[0].layer.maps}`;
  }

  #all(act) {
    for (const { strips } of this.#sections) strips.forEach(act);
  }

  of(side, name) {
    const section = this.#sections.find((one) => one.name === name);
    return section?.strips.find((strip) => strip.side === side) ?? null;
  }
}
