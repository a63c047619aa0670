// What the page's scripts share: state, addresses, the winners, pictures out of sprite sheets.
// All text from the data reaches the page as textContent or attributes, never as HTML.
"use strict";

const layers = new Map(ATLAS.layers.map((layer) => [layer.name, layer]));
const newest = ATLAS.checkpoints.length - 1;
const state = { layer: null, map: null, checkpoint: newest };
const $ = (id) => document.getElementById(id);

// ---- Small tools

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

function inWords(key) {
  return key.replace("=", " ");
}

function number(value) {
  return Number(value.toPrecision(3)).toString();
}

// Our name of a layer, and in brackets what it is called where the net comes from.
function layerName(layer) {
  return layer.origin ? `${layer.name} (${layer.origin})` : layer.name;
}

function className(label) {
  return ATLAS.classes[label] ?? `class ${label}`;
}

// ---- Addresses

function address(layer, map, checkpoint = state.checkpoint) {
  const parts = layer ? [layer] : [];
  if (map !== null && map !== undefined) parts.push(map);
  if (newest > 0) parts.push(ATLAS.checkpoints[checkpoint].key);
  return `#${parts.join("/")}`;
}

// What the address says: {layer, map, checkpoint}, or {error} where there is no such thing.
function readAddress(hash) {
  const parts = hash.slice(1).split("/").map(decoded).filter(Boolean);
  const found = { layer: null, map: null, checkpoint: newest };
  const key = parts.find((part) => part.includes("="));
  if (key) found.checkpoint = ATLAS.checkpoints.findIndex((one) => one.key === key);
  const [layer, map] = parts.filter((part) => !part.includes("="));
  if (layer !== undefined) found.layer = layer;
  if (map !== undefined) found.map = Number(map);
  const missing =
    found.checkpoint < 0 ? inWords(key)
    : layer !== undefined && !layers.has(layer) ? `layer ${layer}`
    : map !== undefined && !(/^\d+$/.test(map) && found.map < layers.get(layer).maps)
      ? `map ${map} in ${layer}` : null;
  return missing ? { error: `This atlas has no ${missing}.` } : found;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// ---- Winners of a checkpoint

const facts = []; // per checkpoint and layer name, per map: what tiles, search and sort need

function withWinners(checkpoint, then) {
  const step = ATLAS.checkpoints[checkpoint].step;
  if (ATLAS.winners[step]) {
    facts[checkpoint] ??= describe(ATLAS.winners[step]);
    then();
    return;
  }
  const script = element("script", { src: `data/${step}.js` });
  script.onload = () => withWinners(checkpoint, then);
  script.onerror = () => notice(`The file data/${step}.js is missing from this atlas.`);
  document.head.append(script);
}

function describe(winners) {
  const described = {};
  for (const { name, maps } of ATLAS.layers) {
    described[name] = Array.from({ length: maps }, (_, map) => describeMap(winners[name], map));
  }
  return described;
}

// Purity is the share of the map's winners with its most frequent class.
function describeMap({ value, label }, map) {
  const counts = new Map();
  for (const one of label[map]) counts.set(one, (counts.get(one) ?? 0) + 1);
  const classes = [...counts].sort((a, b) => b[1] - a[1]);
  const count = label[map].length;
  const strength = value[map][0] ?? 0;
  const purity = count ? classes[0][1] / count : 0;
  return { map, strength, count, classes, purity, dead: strength <= 0 };
}

function current(layer) {
  return facts[state.checkpoint][layer];
}

// ---- Pictures: a part of a sprite sheet as the background of an element

// Shows a map's whole block of winners or, with `winner`, one of them.
function paint(picture, layer, map, checkpoint, winner = null) {
  const { grid, columns, rows } = layer.sheet;
  const perSheet = columns * rows;
  const place = map % perSheet;
  let [across, down] = [columns, rows];
  let [x, y] = [place % columns, Math.floor(place / columns)];
  if (winner !== null) {
    [across, down] = [across * grid, down * grid];
    [x, y] = [x * grid + (winner % grid), y * grid + Math.floor(winner / grid)];
  }
  picture.style.backgroundSize = `${across * 100}% ${down * 100}%`;
  picture.style.backgroundPosition =
    `${(100 * x) / Math.max(across - 1, 1)}% ${(100 * y) / Math.max(down - 1, 1)}%`;
  for (const kind of ["projection", "patch"]) {
    const step = ATLAS.checkpoints[checkpoint].step;
    const file = `sprites/${step}/${layer.name}-${kind}-${Math.floor(map / perSheet)}.webp`;
    picture.style.setProperty(`--${kind}`, `url("${new URL(file, document.baseURI)}")`);
  }
}

function pictureClasses(layer) {
  return (layer.exact ? "exact " : "") + (Math.max(...layer.size) <= 16 ? "tiny" : "");
}
