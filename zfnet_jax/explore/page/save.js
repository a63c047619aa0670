// Saving what is seen: a link that opens it again, its picture and arrays, the shell's command.

import { ask, Newest } from "./api.js";
import { $, element } from "./dom.js";
import { state } from "./state.js";

export function listenToSave() {
  const slot = new Newest("save", (text) => text && show(element("p", { class: "trouble" }, text)));
  $("save").addEventListener("click", () => slot.run(async () => {
    show(element("p", { class: "quiet" }, "Saving\u2026"));
    const { photo, run, step, layer, map, unit, rule, overlap, square } = state;
    const body = JSON.stringify({ photo, run, step, layer, map, rule, overlap,
      row: unit?.[0] ?? null, column: unit?.[1] ?? null,
      square: square && { y: square[0], x: square[1], size: square[2] } });
    const headers = { "Content-Type": "application/json" };
    const { view } = await ask("views", {}, { method: "POST", body, headers });
    const { commands } = await ask(`views/${view}`, { run });
    return () => show(...describe(view, run, commands));
  }));
  $("save-close").addEventListener("click", () => $("save-dialog").close());
}

function show(...content) {
  $("saved").replaceChildren(...content);
  $("save-title").hidden = content.length < 2;
  if (!$("save-dialog").open) $("save-dialog").showModal();
}

function describe(view, run, commands) {
  const fragment = `#view=${view}${run ? `&run=${run}` : ""}`;
  const query = run ? `?run=${run}` : "";
  return [
    line("A link that opens this view again", new URL(`/${fragment}`, location.href).href),
    element("p", {}, element("a", { href: `/api/views/${view}.zip${query}`, download: "" },
      "Pictures and arrays (zip)"), ` · kept in the run's folder, explore/${view}`),
    ...commands.map((command, n) => line(n ? null : "The same from the shell", command)),
  ];
}

/** A line of text to copy. */
function line(label, text) {
  const button = element("button", { type: "button" }, "Copy");
  const field = element("textarea", { readonly: "", rows: text.length > 80 ? 3 : 1,
    spellcheck: "false", "aria-label": label ?? "Command" }, text);
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      document.execCommand("copy"); // where the page came without https from another machine
    }
    button.textContent = "Copied";
  });
  return element("div", { class: "copy" }, label ? element("h3", {}, label) : null, field, button);
}
