// The overview: every map of every layer as a tile; search and sort.
"use strict";

const AHEAD = "800px"; // how far outside the screen pictures are already loaded

const tiles = new Map(); // layer name -> [tile of map 0, tile of map 1, ...]
const orders = new Map(); // layer name -> numbers of the maps shown, in their order
const visible = new Set();

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      visible.add(target);
      paintTile(target);
    } else visible.delete(target);
  }
}, { rootMargin: AHEAD });

const PROVENANCE = {
  split: "split",
  images: "images",
  k: "winners of a map",
  all_positions: "an image may count several times for a map",
  unit_value: "value projected",
  rectify: "rectified on the way down",
  overlap: "pixels of several switches",
  data: "fingerprint of the images",
};

function buildOverview() {
  for (const layer of ATLAS.layers) {
    const maps = element("div", { class: `maps ${pictureClasses(layer)}` });
    maps.style.setProperty("--grid", layer.sheet.grid);
    tiles.set(layer.name, Array.from({ length: layer.maps }, (_, map) => buildTile(layer, map)));
    $("sections").append(
      element("section", { class: "layer", id: `layer-${layer.name}`, "aria-label": layerName(layer) },
        element("h2", {}, layerName(layer)), element("p", {}), maps));
    $("layers").append(element("a", { "data-layer": layer.name, title: layer.origin || null }, layer.name));
  }
  $("classes").append(...ATLAS.classes.map((name) => element("option", { value: name })));
  const { split, images } = ATLAS.provenance;
  $("lead").textContent =
    "Every tile is one feature map: the images that excite it most, of " +
    `${plural(images, "image")} of the ${split} split, each projected alone from the ` +
    `map's activation back to pixels. ${canPoint() ? "Point at a tile, or press" : "Press"} ` +
    "Patches to see what the map saw in the photos. Below each stand its number and its strongest activation; sorted by class " +
    "purity, its most frequent class.";
  $("provenance").textContent = Object.entries(ATLAS.provenance)
    .filter(([, value]) => typeof value !== "object")
    .map(([name, value]) => `${PROVENANCE[name]}: ${readable(value)}`).join(" · ");
}

/** Whether there is a mouse, rather than fingers alone. */
const canPoint = () => window.matchMedia("(hover: hover)").matches;

const readable = (value) => typeof value === "boolean" ? (value ? "yes" : "no") : value;

function buildTile(layer, map) {
  const tile = element("a", { class: "tile" },
    element("span", { class: "picture" }), element("p", {}, element("b"), element("span")));
  tile.atlas = { layer, map };
  watcher.observe(tile);
  return tile;
}

function paintTile(tile) {
  const { layer, map } = tile.atlas;
  if (!current(layer.name)[map].dead) {
    paint(tile.firstChild, layer, map, state.checkpoint);
  }
}

function fillTile(tile) {
  const { layer, map } = tile.atlas;
  const fact = current(layer.name)[map];
  const top = fact.count ? className(fact.classes[0][0]) : "";
  const often = fact.count ? `${fact.classes[0][1]}/${fact.count} ` : "";
  const byClass = $("sort").value === "purity" && !fact.dead;
  tile.href = address(layer.name, map);
  tile.classList.toggle("dead", fact.dead);
  tile.setAttribute("aria-label", `${layer.name} map ${map}, ` +
    (fact.dead ? "dead" : `strongest ${number(fact.strength)}, ${often}${top}`));
  if (byClass) tile.title = top;
  else tile.removeAttribute("title");
  const [name, note] = tile.lastChild.children;
  name.textContent = map;
  if (byClass) note.replaceChildren(often, element("bdi", {}, top));
  else note.textContent = fact.dead ? "" : number(fact.strength);
  if (visible.has(tile)) paintTile(tile);
}

function fillOverview() {
  for (const layer of ATLAS.layers) {
    tiles.get(layer.name).forEach(fillTile);
    document.querySelector(`#layers [data-layer="${layer.name}"]`).href = address(layer.name);
  }
  arrange();
}

// ---- Search and sort

/** Text as it is compared: in one form, case and spaces aside. */
const searched = (text) => text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();

// A query is any of: a layer's name, ours or that of where the net comes from, a map's number, words
// of a class's title or id.
function readQuery(text) {
  const words = searched(text).split(" ").filter(Boolean);
  const whole = words.join(" ");
  const exact = ATLAS.classes.findIndex((name, label) =>
    searched(name) === whole || searched(ATLAS.ids[label]) === whole);
  const layerOf = (word) => layers.get(word)
    ?? ATLAS.layers.find(({ origin }) => origin && searched(origin) === word);
  const isLayer = (word) => layerOf(word) !== undefined;
  const isNumber = (word) => /^\d+$/.test(word);
  const rest = words.filter((word) => !isLayer(word) && !isNumber(word));
  const numbers = words.filter(isNumber);
  if (exact >= 0 && rest.length) return { layer: null, map: null, classes: new Set([exact]) };
  const matching = ATLAS.classes.flatMap((name, label) =>
    rest.every((word) => searched(`${name} ${ATLAS.ids[label]}`).includes(word)) ? [label] : []);
  return {
    layer: words.map(layerOf).find(Boolean)?.name ?? null,
    map: numbers.length ? Number(numbers[0]) : null,
    classes: rest.length ? new Set(matching) : null,
    or: exact, // a class may be named by a number as well
  };
}

const ORDERS = {
  number: () => 0,
  strength: (a, b) => b.strength - a.strength,
  purity: (a, b) => b.purity - a.purity || b.count - a.count || b.strength - a.strength,
};

function arrange() {
  const query = readQuery($("search").value);
  let shown = 0;
  for (const layer of ATLAS.layers) {
    const all = current(layer.name);
    const found = all.filter(({ map, classes }) =>
      classes.some(([label]) => label === query.or) ||
      ((query.layer === null || query.layer === layer.name) &&
      (query.map === null || query.map === map) &&
      (query.classes === null || classes.some(([label]) => query.classes.has(label)))));
    const order = found.sort(ORDERS[$("sort").value]).map(({ map }) => map);
    orders.set(layer.name, order);
    shown += order.length;
    const section = $(`layer-${layer.name}`);
    const [, note, maps] = section.children;
    section.hidden = order.length === 0;
    maps.replaceChildren(...order.map((map) => tiles.get(layer.name)[map]));
    const dead = all.filter((fact) => fact.dead).length;
    const count = order.length < all.length ? `${order.length} of ${plural(all.length, "map")}`
      : plural(all.length, "map");
    note.textContent = `${count}, each unit sees ${layer.size.join(" × ")} pixels` +
      (dead ? `, ${dead} dead` : "");
  }
  $("nothing").hidden = shown > 0;
}
