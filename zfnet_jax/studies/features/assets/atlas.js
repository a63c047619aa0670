// From the address to the page. The address after # is the state: #conv5/17/epoch=40 is one map
// at one epoch; links and keys only change the address.
"use strict";

let scrolled = 0; // where the overview was left
let routed = null; // the address shown

// Goes to an address at once, without a new entry in the history.
function go(hash) {
  location.replace(hash);
  route();
}

function route() {
  const hash = location.hash;
  if (hash === routed) return;
  routed = hash;
  const found = readAddress(hash);
  notice(found.error ?? null);
  if (found.error) Object.assign(found, { layer: null, map: null, checkpoint: state.checkpoint });
  withWinners(found.checkpoint, () => {
    if (routed === hash) show(found); // else the reader has moved on meanwhile
  });
}

function show({ layer, map, checkpoint }) {
  const was = { ...state, filled: $("sections").dataset.checkpoint };
  if (was.map === null && map !== null) scrolled = window.scrollY;
  Object.assign(state, { layer, map, checkpoint });
  if (was.filled !== String(checkpoint)) {
    $("sections").dataset.checkpoint = checkpoint;
    fillOverview();
    $("epoch").value = checkpoint;
    $("epoch-name").textContent = inWords(ATLAS.checkpoints[checkpoint].key);
    $("epoch").setAttribute("aria-valuetext", $("epoch-name").textContent);
  }
  $("overview").hidden = map !== null;
  $("detail").hidden = map === null;
  for (const link of $("layers").children) {
    if (link.dataset.layer === layer) {
      link.setAttribute("aria-current", "true");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    } else link.removeAttribute("aria-current");
  }
  if (map !== null) {
    showDetail();
    if (was.map !== map || was.layer !== layer) openAtTop();
  } else if (was.map !== null) {
    backToOverview(was);
  } else if (layer !== null && was.layer !== layer) {
    $(`layer-${layer}`).scrollIntoView();
  }
}

function openAtTop() {
  window.scrollTo(0, 0);
  $("detail").querySelector("h2").focus({ preventScroll: true });
}

function backToOverview(was) {
  window.scrollTo(0, scrolled);
  const tile = tiles.get(was.layer)[was.map];
  if (document.activeElement === $("search") || !tile.isConnected) return;
  tile.focus({ preventScroll: true });
  tile.scrollIntoView({ block: "nearest" });
}

function notice(text) {
  $("notice").hidden = text === null;
  $("notice").textContent = text ?? "";
}

function togglePatches() {
  const on = document.body.classList.toggle("patches");
  $("patches").setAttribute("aria-pressed", String(on));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

// ---- Input

function moveEpoch(by) {
  const checkpoint = Math.min(Math.max(state.checkpoint + by, 0), newest);
  go(address(state.layer, state.map, checkpoint));
}

// Arrows go from tile to tile in the overview, from map to map in the detail.
function moveMap(key) {
  if (state.map !== null) {
    const id = { ArrowLeft: "previous", ArrowRight: "next" }[key];
    const link = id && $(id);
    if (link) go(link.hash);
    return Boolean(link);
  }
  const all = [...$("sections").querySelectorAll("section:not([hidden]) .tile")];
  const here = all.indexOf(document.activeElement);
  if (here < 0) return false;
  const row = all[here].parentNode;
  const across = getComputedStyle(row).gridTemplateColumns.split(" ").length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[key];
  all[Math.min(Math.max(here + by, 0), all.length - 1)].focus();
  return true;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (event.target === $("search") && $("search").value) {
      $("search").value = "";
      arrange();
    } else if (state.map !== null) location.hash = address(state.layer);
    else document.activeElement?.blur();
    return;
  }
  if (event.target.matches("input, select")) return;
  let done = true;
  if (event.key === "/") $("search").focus();
  else if (event.key === "p") togglePatches();
  else if (event.key === "[") moveEpoch(-1);
  else if (event.key === "]") moveEpoch(1);
  else if (event.key.startsWith("Arrow")) done = moveMap(event.key);
  else done = false;
  if (done) event.preventDefault();
}

function listen() {
  window.addEventListener("hashchange", route);
  document.addEventListener("keydown", onKey);
  $("search").addEventListener("input", () => {
    arrange();
    if (state.map !== null) location.hash = address(null);
    window.scrollTo(0, 0);
  });
  $("sort").addEventListener("change", fillOverview);
  $("patches").addEventListener("click", togglePatches);
  $("theme").addEventListener("click", () => {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  });
  $("epochs").hidden = $("epoch-keys").hidden = newest === 0;
  $("epoch").max = newest;
  $("epoch").addEventListener("input", () => moveEpoch($("epoch").value - state.checkpoint));
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  setTheme(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
}

history.scrollRestoration = "manual";
buildOverview();
listen();
route();
