// Explore a net live. A change of the state goes from here to every part of the page, and each asks
// the server for what it does not show yet; clicks and keys only change the state.

import { Answer } from "./answer.js";
import { ask, onLost } from "./api.js";
import { $, clamp, element, fillSelect, percent, plural, press, tell, words } from "./dom.js";
import { Occlusion } from "./occlusion.js";
import { Photos } from "./photo.js";
import { listenToSave } from "./save.js";
import { middleSquare, Square, Stage } from "./stage.js";
import { address, choose, facts, layerOf, net, onChange, read, restore, set, sides, state, stepLabel }
  from "./state.js";
import { Strips } from "./strips.js";
import { Place, Unit } from "./unit.js";

let answered = Promise.resolve(); // until the answer and the strips are shown
let pending = answered; // and all else
let hovered = null; // [strip, place] under the mouse

const settled = () => pending;
const answers = [new Answer(), new Answer()];
const photos = new Photos({ answered: () => answered, settled });
const stage = new Stage({
  seen: (crop) => units.forEach((unit) => unit.seen(crop.src, net().crop)),
});
const occlusion = new Occlusion(stage);
const square = new Square(follow);
const strips = new Strips($("strips"), {
  choose: (side, layer, map) => choose(side, layer, map),
  preview: (strip, place) => {
    hovered = strip && strip.side === 0 ? [strip, place] : null;
    showHeat();
  },
  shown: stripShown,
});
const units = [0, 1].map((side) => new Unit(side, {
  field: (of, { field }) => {
    const [first, second] = sides();
    const oneSize = second && String(net(first.run).crop) === String(net(second.run).crop);
    if (of === 0 || oneSize) stage.field(of, field);
  },
  move: moveMap,
  sample: (index) => photos.sample(index),
}));
const place = new Place($("place"), {
  choose: (layer, map, unit) => set({ map, unit }),
  pick: (layer, map, unit) => set({ map, unit }, { replace: true }),
  clear: () => set({ place: null, unit: null }),
});

// ---- From the state to the page

function update(changed) {
  const seen = sides();
  const two = seen.length > 1;
  showTools(changed);
  if (changed.has("run") || changed.has("layer")) showLayers();
  $("answers").replaceChildren(...seen.map((_, side) => answers[side].element));
  $("units").replaceChildren(...seen.map((_, side) => units[side].element));
  $("winners").replaceChildren(...seen.map((_, side) => units[side].winners));
  document.body.classList.toggle("two", two);
  document.body.classList.toggle("several", ["rules", "overlaps"].includes(state.compare));
  if (!two) stage.field(1, null);
  if (state.map === null) stage.field(0, null);
  const shown = stage.update(changed);
  answered = Promise.all([
    ...seen.flatMap((one, side) => answers[side].update(one, state.photo, two)),
    ...strips.update(),
  ]);
  photos.update(changed);
  occlusion.update();
  pending = Promise.all([answered, ...shown, ...place.update(), ...square.update(),
    ...seen.flatMap((one, side) => units[side].update(one, two))]);
  showHeat();
}

/** A strip has its maps: where none is chosen, its strongest is. */
function stripShown(strip) {
  if (strips.of(strip.side, strip.layer.name) !== strip) return; // a late answer, of another net
  const seen = sides()[strip.side];
  if (seen?.layer !== strip.layer.name) return;
  if (seen.map === null) choose(strip.side, seen.layer, strip.maps[0].map, null, { replace: true });
  showHeat();
}

/** The activity of the map under the mouse, or of the chosen one, over the photo. */
function showHeat() {
  let [strip, at] = hovered ?? [];
  if (!hovered && state.heat && state.map !== null) {
    strip = strips.of(0, state.layer);
    at = strip?.placeOfMap(state.map) ?? -1;
  }
  if (!strip?.maps.length || at < 0 || state.occlusion) {
    stage.clear("heat");
    return;
  }
  const [rows, columns] = strip.tile;
  stage.heat(strip.activity(at), rows, columns, strip.layer);
}

/** Beside the photo: how much of the map's activity the square leaves. */
function follow(found) {
  answers[0].cover(found?.classes ?? null);
  $("follow").hidden = !found;
  if (!found || found.value === null || found.value === undefined) return;
  const share = found.was > 0 ? found.value / found.was : 0;
  const bar = element("span", { class: "bar-of" }, element("i"));
  bar.firstChild.style.width = `${100 * Math.min(share, 1)}%`;
  $("follow").replaceChildren(element("h3", {}, "Under the square"), element("ol", { class: "bars" },
    element("li", {}, element("span", {}, `${state.layer} map ${state.map}`), bar,
      element("span", { class: "share" }, found.was > 0 ? percent(share) : "silent"))));
}

// ---- The bar

function showTools(changed) {
  const { run, step, compare } = state;
  const { steps, name } = net();
  document.title = `Explore ${name}`;
  $("name").textContent = name;
  $("run").value = run;
  slider("epoch", run, step);
  $("epochs").hidden = $("epoch-keys").hidden = steps.length < 2;
  $("rule").value = state.rule;
  $("overlap").value = state.overlap;
  if (changed.has("run")) fillCompare();
  const other = Array.isArray(compare) ? compare : null;
  $("compare").value = other ? `net:${other[0]}` : compare ?? "";
  $("second-epochs").hidden = !other || net(other[0]).steps.length < 2;
  if (other) slider("second-epoch", ...other);
  press($("heat-on"), state.heat);
  press($("whole-on"), state.whole);
  press($("square-on"), state.square !== null);
  $("square-size").hidden = !state.square;
  $("square-size").max = Math.min(...net().crop);
  if (state.square) $("square-size").value = state.square[2];
  if (changed.has("run")) {
    fillSelect($("occlusion"), [["", "Occlusion\u2026"],
      ...(net().classes ? [["probability", "Probability"]] : []), ["activity", "Activity"],
      ...(net().classes ? [["class", "Answer"]] : [])], "");
  }
  $("occlusion").value = state.occlusion ?? "";
  $("stage").classList.toggle("square", state.square !== null);
  $("facts").textContent = `${net().directory ?? name}, ${stepLabel(run, step)}; sees ` +
    `${net().crop.join(" × ")} pixels` + (net().classes ? ` and names ${plural(net().classes.length, "class").replace("classs", "classes")}` : "");
}

function slider(id, run, step) {
  const { steps } = net(run);
  $(id).max = steps.length - 1;
  $(id).value = steps.findIndex((one) => one.step === step);
  const label = stepLabel(run, step);
  $(`${id}-name`).textContent = label;
  $(id).setAttribute("aria-valuetext", label);
}

/** What this net can be compared with. */
function fillCompare() {
  const { run } = state;
  fillSelect($("compare"), [["", "with nothing"], ["rules", "the rules"], ["overlaps", "the overlaps"],
    ...(net().steps.length > 1 ? [[`net:${run}`, "two checkpoints"]] : []),
    ...facts.nets.filter((one) => one.run !== run).map((one) => [`net:${one.run}`, `with ${one.name}`])], "");
}

function showLayers() {
  $("layers").replaceChildren(...net().layers.map((layer) => {
    const button = element("button", { type: "button", title: layer.title || null,
      "aria-current": layer.name === state.layer ? "true" : null }, layer.name);
    button.addEventListener("click", () => toLayer(layer.name));
    return button;
  }));
  $("layers").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

// ---- From the reader to the state

function toLayer(layer) {
  set({ layer, map: null, unit: null });
  const strip = strips.of(0, layer);
  if (strip.maps.length) stripShown(strip);
  strip.element.scrollIntoView({ block: "nearest" });
}

function moveLayer(by) {
  const names = net().layers.map(({ name }) => name);
  const at = names.indexOf(state.layer) + by;
  if (!(at in names)) return;
  const within = strips.of(0, state.layer).element.contains(document.activeElement);
  toLayer(names[at]);
  if (within) strips.of(0, names[at]).focus(0);
}

/** To the next weaker or stronger map in this photo. */
function moveMap(by) {
  const strip = strips.of(0, state.layer);
  if (!strip?.maps.length) return;
  const at = clamp(strip.placeOfMap(state.map) + by, 0, strip.maps.length - 1);
  const within = strip.element.contains(document.activeElement);
  set({ map: strip.maps[at].map, unit: null, place: null }, { replace: true });
  if (within) strip.focus(at);
}

function moveEpoch(by) {
  const { steps } = net();
  const at = clamp(steps.findIndex(({ step }) => step === state.step) + by, 0, steps.length - 1);
  set({ step: steps[at].step }, { replace: true });
}

function toggleSquare() {
  set({ square: state.square ? null : middleSquare() });
}

function resizeSquare(size) {
  const [y, x, was] = state.square;
  const [height, width] = net().crop;
  const moved = (start, length) => clamp(Math.round(start + (was - size) / 2), 0, length - size);
  set({ square: [moved(y, height), moved(x, width), size] }, { replace: true });
}

/** Another net: what is chosen is kept where it has the like. */
function toRun(run) {
  const layer = facts.nets[run].layers.some(({ name }) => name === state.layer) ? state.layer : null;
  set({ run, step: null, layer, map: null, unit: null, place: null, square: null, occlusion: null,
    compare: null, second: null, sample: null });
}

function compareWith(value) {
  if (!value.startsWith("net:")) return set({ compare: value || null, second: null });
  const run = Number(value.slice(4));
  const { steps, step } = net(run);
  const other = run !== state.run ? step : steps.find((one) => one.step !== state.step).step;
  set({ compare: [run, other], second: null });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

const KEYS = {
  ArrowLeft: () => moveMap(-1),
  ArrowRight: () => moveMap(1),
  ArrowUp: () => moveLayer(-1),
  ArrowDown: () => moveLayer(1),
  ",": () => photos.step(-1),
  ".": () => photos.step(1),
  "[": () => moveEpoch(-1),
  "]": () => moveEpoch(1),
  h: () => set({ heat: !state.heat }, { replace: true }),
  s: toggleSquare,
  o: () => set({ occlusion: state.occlusion ? null : net().classes ? "probability" : "activity" }),
  w: () => set({ whole: !state.whole }, { replace: true }),
  Escape: () => set({ place: null, unit: null, square: null, occlusion: null, compare: null }),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, dialog *")) return;
  const act = KEYS[event.key];
  if (!act || !state.photo) return;
  event.preventDefault();
  act();
}

function listen() {
  document.addEventListener("keydown", onKey);
  window.addEventListener("popstate", open);
  $("run").addEventListener("change", () => toRun(Number($("run").value)));
  $("epoch").addEventListener("input", () =>
    set({ step: net().steps[$("epoch").value].step }, { replace: true }));
  $("second-epoch").addEventListener("input", () => {
    const [run] = state.compare;
    set({ compare: [run, net(run).steps[$("second-epoch").value].step] }, { replace: true });
  });
  $("rule").addEventListener("change", () => set({ rule: $("rule").value }));
  $("overlap").addEventListener("change", () => set({ overlap: $("overlap").value }));
  $("compare").addEventListener("change", () => compareWith($("compare").value));
  $("heat-on").addEventListener("click", KEYS.h);
  $("whole-on").addEventListener("click", KEYS.w);
  $("square-on").addEventListener("click", toggleSquare);
  $("square-size").addEventListener("input", () => resizeSquare(Number($("square-size").value)));
  $("occlusion").addEventListener("change", () => set({ occlusion: $("occlusion").value || null }));
  $("more").addEventListener("click", () => {
    const on = $("tools").classList.toggle("open");
    $("more").setAttribute("aria-expanded", String(on));
  });
  $("theme").addEventListener("click", () =>
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  listenToSave();
}

// ---- Opening

/** Takes what the address says: a state, or the name of a saved view. */
async function open() {
  tell($("notice"), read(location.hash));
  const { view } = state;
  if (view) {
    try {
      const saved = await ask(`views/${encodeURIComponent(view)}`, { run: state.run });
      const isNew = !net(saved.run).steps.some((one) => one.step === saved.step);
      const found = isNew ? await ask("nets") : facts; // a checkpoint that was written since
      if (state.view !== view) return; // the reader has gone on
      Object.assign(facts, found);
      const { photo, run, step, layer, map, row, column, rule, overlap, square } = saved;
      restore({ photo, run, step, layer, map, unit: row === null ? null : [row, column], rule, overlap,
        square: square && [square.y, square.x, square.size] });
    } catch (error) {
      if (state.view === view) tell($("notice"), error.message);
    }
  } else if (!state.photo && state.sample === null && net().samples) {
    photos.sample(0, { replace: true, keep: true });
  }
}

async function start() {
  try {
    Object.assign(facts, await ask("nets"));
  } catch (error) {
    tell($("notice"), error.message);
    return;
  }
  if (location.search) history.replaceState(null, "", `/${location.hash}`); // the token, if any
  fillSelect($("run"), facts.nets.map(({ run, name }) => [run, name]), 0);
  $("run").hidden = facts.nets.length < 2;
  $("name").hidden = facts.nets.length > 1;
  document.body.classList.toggle("runs", facts.nets.length > 1);
  fillSelect($("rule"), facts.rules.map((one) => [one, words(one)]), facts.rules[0]);
  fillSelect($("overlap"), facts.overlaps.map((one) => [one, one]), facts.overlaps[0]);
  document.querySelector("main").hidden = false;
  onChange(update);
  onLost((error) => photos.lost(error));
  listen();
  await open();
}

start();
