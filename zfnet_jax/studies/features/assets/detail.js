// One map: its winners large, the photo each comes from, its course through training.
"use strict";

function showDetail() {
  const layer = layers.get(state.layer);
  const fact = current(layer.name)[state.map];
  const order = orders.get(layer.name).includes(state.map) ? orders.get(layer.name)
    : current(layer.name).map(({ map }) => map);
  const place = order.indexOf(state.map);
  $("detail").className = `big ${pictureClasses(layer)}`;
  $("detail").style.setProperty("--grid", layer.sheet.grid);
  $("detail").replaceChildren(
    element("div", { class: "head" },
      element("h2", { tabindex: "-1" }, element("span", {}, `${layerName(layer)} / `),
        `map ${state.map}`),
      element("nav", { "aria-label": "Maps" },
        neighbour(layer, order[place - 1], "previous", "← previous"),
        neighbour(layer, order[place + 1], "next", "next →"),
        element("a", { href: address(layer.name), id: "close" }, "all maps"))),
    element("p", { class: "facts" }, fact.dead
      ? `Dead: no image activates this map at ${inWords(ATLAS.checkpoints[state.checkpoint].key)}.`
      : `Strongest activation ${number(fact.strength)}, class purity ` +
        `${Math.round(100 * fact.purity)}%, each unit sees ${layer.size.join(" × ")} pixels.`),
    fact.count ? winnersOf(layer) : "",
    fact.count ? chipsOf(fact) : "",
    newest > 0 ? stripOf(layer) : "");
  if (fact.count) selectWinner(0);
}

function neighbour(layer, map, id, text) {
  return map === undefined ? null : element("a", { href: address(layer.name, map), id }, text);
}

function winnersOf(layer) {
  return element("div", { class: "columns" },
    gridOf(layer, "projection", "Projected to pixels"), gridOf(layer, "patch", "What the unit saw"),
    element("figure", { class: "source" }));
}

function gridOf(layer, kind, title) {
  const { value, label } = ATLAS.winners[ATLAS.checkpoints[state.checkpoint].step][layer.name];
  const made = value[state.map].map((one, winner) => {
    const name = className(label[state.map][winner]);
    const picture = element("span", { class: "picture" });
    paint(picture, layer, state.map, state.checkpoint, winner);
    const button = element("button", {
      type: "button", class: "winner", "data-winner": winner, "aria-pressed": "false",
      "aria-label": `${kind} of winner ${winner + 1}: ${number(one)}, ${name}`, title: name,
    }, picture, element("span", {}, kind === "patch" ? name : number(one)));
    for (const event of ["click", "focus", "mouseenter"]) {
      button.addEventListener(event, () => selectWinner(winner));
    }
    return button;
  });
  return element("div", { class: "frame", "data-kind": kind },
    element("h3", {}, title), element("div", { class: "grid" }, ...made));
}

function selectWinner(winner) {
  for (const button of $("detail").querySelectorAll(".winner")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.winner) === winner));
  }
  const layer = layers.get(state.layer);
  const winners = ATLAS.winners[ATLAS.checkpoints[state.checkpoint].step][layer.name];
  const [row, column] = winners.position[state.map][winner];
  const image = winners.image[state.map][winner];
  $("detail").querySelector(".source").replaceChildren(
    element("h3", {}, "In its photo"),
    photo(image, [row, column].map((unit, axis) => layer.start[axis] + unit * layer.jump[axis]),
      layer.size),
    element("figcaption", {},
      element("b", {}, className(winners.label[state.map][winner])),
      `Winner ${winner + 1}: ${number(winners.value[state.map][winner])}, ` +
      `unit at row ${row}, column ${column}. Image ${image}: ${ATLAS.photos[image] ?? ""}`));
}

// The photo and in it the receptive field, of which what leaves the photo is not shown.
function photo(image, [top, left], [high, wide]) {
  const [height, width] = ATLAS.crop;
  const outer = `M0 0H${width}V${height}H0Z`;
  const inner = `M${left} ${top}h${wide}v${high}h${-wide}Z`;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Photo ${image}; the box is what the unit sees` },
  svg("image", { href: `photos/${image}.webp`, width, height, preserveAspectRatio: "none" }),
  svg("path", { class: "shade", d: outer + inner }), svg("path", { class: "box", d: inner }));
}

function chipsOf(fact) {
  return element("div", { class: "chips", "aria-label": "Classes of the winners" },
    ...fact.classes.map(([label, count]) => {
      const title = `All maps with ${className(label)}`;
      const chip = element("button", { type: "button", title },
        element("b", {}, `${count} `), element("bdi", {}, className(label)));
      chip.addEventListener("click", () => {
        $("search").value = className(label);
        $("search").dispatchEvent(new Event("input"));
      });
      return chip;
    }));
}

// The map's strongest winner at every checkpoint.
function stripOf(layer) {
  const items = ATLAS.checkpoints.map(({ key, dead }, checkpoint) => {
    const picture = element("span", { class: "picture" });
    paint(picture, layer, state.map, checkpoint, 0);
    return element("li", {}, element("a", {
      href: address(layer.name, state.map, checkpoint),
      "aria-current": checkpoint === state.checkpoint ? "true" : null,
      class: dead[layer.name].includes(state.map) ? "dead" : null,
    }, picture, inWords(key)));
  });
  return element("div", { class: "strip" },
    element("h3", {}, "Its strongest winner in the course of training"), element("ol", {}, ...items));
}
