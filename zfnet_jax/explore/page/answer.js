// What a net answers: classes with bars; under the square also what it answered without.

import { ask, Newest } from "./api.js";
import { element, percent, tell } from "./dom.js";
import { sideLabel } from "./state.js";

const SHOWN = 8;

export class Answer {
  #slot = new Newest("answer", (text) => {
    if (text !== null) this.#key = ""; // to be asked again
    tell(this.trouble, text);
  });
  #key = "";
  #classes = null; // of the uncovered photo

  constructor() {
    this.title = element("h3");
    this.list = element("ol", { class: "bars" });
    this.#slot.shows = this.list;
    this.trouble = element("p", { class: "trouble", role: "alert", hidden: "" });
    this.element = element("div", { class: "answer" }, this.title, this.list, this.trouble);
  }

  /** titled: whether to say which net it is. */
  update({ run, step }, photo, titled) {
    this.title.textContent = titled ? sideLabel(run, step) : "What the net answers";
    const key = JSON.stringify([run, step, photo]);
    if (key === this.#key || !photo) return [];
    this.#key = key;
    return [this.#slot.run(async () => {
      const { classes } = await ask("answer", { run, step, photo });
      return () => {
        this.#classes = classes;
        this.#show(classes, null);
      };
    })];
  }

  /** Shows what the net answers under the square; null: without it. */
  cover(classes) {
    if (this.#classes) this.#show(this.#classes, classes);
  }

  #show(whole, covered) {
    if (!whole) {
      this.list.replaceChildren(
        element("li", { class: "none" }, "This net has no classifier: it names nothing."));
      return;
    }
    let names = whole.slice(0, SHOWN).map(({ name }) => name);
    const now = covered && new Map(covered.map((one) => [one.name, one.probability]));
    if (now && !names.includes(covered[0].name)) names = [...names.slice(0, -1), covered[0].name];
    const was = new Map(whole.map((one) => [one.name, one.probability]));
    const best = (covered ?? whole)[0].name;
    this.list.replaceChildren(...names.map((name) => {
      const share = now ? now.get(name) ?? 0 : was.get(name);
      const bar = element("span", { class: "bar-of" }, element("i"));
      bar.firstChild.style.width = `${100 * share}%`;
      if (now) {
        bar.append(element("b", { title: `without the square: ${percent(was.get(name) ?? 0)}` }));
        bar.lastChild.style.left = `${100 * (was.get(name) ?? 0)}%`;
      }
      return element("li", { class: name === best ? "best" : null },
        element("bdi", { title: name }, name), bar, element("span", { class: "share" }, percent(share)));
    }));
  }
}
