// What is looked at. All of it lies in the address after #, so that back, forward and links work.

/** The page's facts, as /api/nets gives them: nets, rules, overlaps, upload. */
export const facts = {};

const EMPTY = {
  view: null, // name of a saved view, as long as nothing is changed
  photo: null, // id
  sample: null, // which of the set's photos it is, or null
  run: 0,
  step: null,
  layer: null,
  map: null, // of the layer; null: the strongest
  unit: null, // [row, column] in the map; null: its strongest
  place: null, // [y, x] of the crop whose units are listed
  rule: null,
  overlap: null,
  square: null, // [y, x, size] of the grey square
  occlusion: null, // what of the occlusion map is shown: probability, activity or class
  heat: false, // whether the map's activity lies over the photo
  whole: false, // whether projections are shown on the whole crop
  compare: null, // "rules", "overlaps" or [run, step]
  second: null, // [layer, map] of the other run
};

export const state = { ...EMPTY };
const listeners = [];

export const net = (run = state.run) => facts.nets[run];
export const layerOf = (run, name) => net(run).layers.find((layer) => layer.name === name);
export const stepLabel = (run, step) => net(run).steps.find((one) => one.step === step).label;

/** What tells one side from the other: the checkpoint, and the run where it is another. */
export function sideLabel(run, step) {
  const label = stepLabel(run, step);
  return sides().every((side) => side.run === run) ? label : `${net(run).name}, ${label}`;
}

/** Calls a function after each change, with the names of what changed. */
export function onChange(listener) {
  listeners.push(listener);
}

/** Changes the state: a new entry in the history, or with `replace` in place of this one. */
export function set(changes, { replace = false } = {}) {
  const before = { ...state };
  Object.assign(state, { view: null }, changes);
  complete(state);
  history[replace ? "replaceState" : "pushState"](null, "", address());
  notify(before);
}

/** Takes the state that an address says; what it does not know is said as text, else null. */
export function read(hash) {
  const before = { ...state };
  const problem = parse(hash);
  notify(before);
  return problem;
}

/** Takes a saved view, of which the address goes on to tell. */
export function restore(saved) {
  const before = { ...state };
  Object.assign(state, EMPTY, { view: state.view }, saved);
  complete(state);
  notify(before);
}

let first = true; // the page shows nothing yet

function notify(before) {
  const changed = new Set(Object.keys(state).filter((key) => first || !same(before[key], state[key])));
  first = false;
  for (const listener of listeners) listener(changed);
}

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** One or two nets that are looked at: {run, step, layer, map, unit} each. */
export function sides() {
  const { run, step, layer, map, unit, compare, second } = state;
  const first = { run, step, layer, map, unit };
  if (!Array.isArray(compare)) return [first];
  if (compare[0] === run) return [first, { ...first, step: compare[1] }];
  const [otherLayer, otherMap] = second ?? [sameLayer(compare[0], layer), null];
  return [first, { run: compare[0], step: compare[1], layer: otherLayer, map: otherMap, unit: null }];
}

/** Chooses a map of a side, in the photo's strongest unit or at one. */
export function choose(side, layer, map, unit = null, options = {}) {
  if (side === 1 && sides()[1].run !== state.run) set({ second: [layer, map] }, options);
  else set({ layer, map, unit, place: unit ? state.place : null }, options);
}

const sameLayer = (run, name) => (layerOf(run, name) ?? deepest(run)).name;

/** The last conv layer: where a photo is read best. */
const deepest = (run) => net(run).layers.findLast(({ kind }) => kind === "conv") ?? net(run).layers.at(-1);

/** Fills in what the net decides. */
function complete(all) {
  all.step ??= net(all.run).step;
  all.layer ??= deepest(all.run).name;
  all.rule ??= facts.rules[0];
  all.overlap ??= facts.overlaps[0];
}

// ---- Addresses

export function address() {
  const { view, run } = state;
  if (view) return `#view=${view}${run ? `&run=${run}` : ""}`;
  const says = [];
  const say = (key, value) => says.push(`${key}=${[value].flat().map(encodeURIComponent).join(",")}`);
  if (state.sample !== null) say("sample", state.sample);
  else if (state.photo) say("photo", state.photo);
  if (run) say("run", run);
  if (state.step !== net().step) say("step", state.step);
  say("layer", state.layer);
  for (const key of ["map", "unit", "place", "square", "occlusion", "compare", "second"]) {
    if (state[key] !== null) say(key, state[key]);
  }
  if (state.rule !== facts.rules[0]) say("rule", state.rule);
  if (state.overlap !== facts.overlaps[0]) say("overlap", state.overlap);
  for (const key of ["heat", "whole"]) if (state[key]) say(key, 1);
  return `#${says.join("&")}`;
}

/** Reads an address into the state; what there is no such thing of is left out and told. */
function parse(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, "").replaceAll("+", "%2B"));
  const found = { ...EMPTY };
  const missing = [];
  const take = (key, value, exists) => {
    if (value === null) return;
    if (exists(value)) found[key] = value;
    else missing.push(`${key} ${said.get(key)}`);
  };
  const text = (key) => said.get(key);
  const whole = (key) => numbers(key)?.[0] ?? null;
  const numbers = (key) => said.has(key) ? said.get(key).split(",").map(Number) : null;
  const all = (count) => (list) => list.length === count && list.every((n) => Number.isInteger(n) && n >= 0);
  take("run", whole("run"), (run) => run in facts.nets);
  const here = facts.nets[found.run];
  take("view", text("view"), () => true);
  take("photo", text("photo"), () => true);
  take("sample", whole("sample"), (sample) => Number.isInteger(sample) && sample >= 0 && sample < here.samples);
  take("step", whole("step"), (step) => here.steps.some((one) => one.step === step));
  take("layer", text("layer"), (name) => here.layers.some((layer) => layer.name === name));
  const layer = here.layers.find(({ name }) => name === found.layer);
  if (layer) {
    take("map", whole("map"), (map) => Number.isInteger(map) && map >= 0 && map < layer.maps);
    if (found.map !== null) {
      take("unit", numbers("unit"), (at) => all(2)(at) && at[0] < layer.rows && at[1] < layer.columns);
    }
  }
  take("place", numbers("place"), ([y, x]) => all(2)([y, x]) && y < here.crop[0] && x < here.crop[1]);
  take("square", numbers("square"), (square) => all(3)(square) && square[2] > 0);
  take("rule", text("rule"), (rule) => facts.rules.includes(rule));
  take("overlap", text("overlap"), (overlap) => facts.overlaps.includes(overlap));
  take("occlusion", text("occlusion"), (kind) => ["probability", "activity", "class"].includes(kind));
  found.heat = said.has("heat");
  found.whole = said.has("whole");
  const compare = text("compare");
  if (["rules", "overlaps"].includes(compare)) found.compare = compare;
  else {
    const there = ([run, step]) => facts.nets[run]?.steps.some((one) => one.step === step);
    take("compare", numbers("compare"), there);
  }
  if (Array.isArray(found.compare) && found.compare[0] !== found.run && said.has("second")) {
    const [name, map] = said.get("second").split(",");
    const other = facts.nets[found.compare[0]].layers.find((one) => one.name === name);
    take("second", [name, Number(map)], () => other && Number(map) < other.maps);
  }
  complete(found);
  Object.assign(state, found);
  return missing.length ? `There is no ${missing.join(", no ")} here.` : null;
}
