// Where photos come from: a file, the clipboard, the camera, the set's own.

import { ask, Newest, picture, release } from "./api.js";
import { $, clamp, element, press, tell } from "./dom.js";
import { facts, net, set, state } from "./state.js";

const THUMBS = 6; // photos of the set beside each other
const SENT = 10; // photos of which the bytes are kept
const FRAME = 640; // pixels of a camera frame's longer side
const NEW = { place: null, unit: null, occlusion: null };

export class Photos {
  #slot = new Newest("sent", (text) => {
    if (text !== null && this.live) this.#stop();
    this.#trouble(text);
  });
  #thumbs = new Newest("samples", (text) => this.#trouble(text));
  #sent = new Map(); // id -> bytes, so that what the server gives up can be sent again
  #known = new Map(); // [run, index] -> {photo, label, image}
  #shown = "";
  #stream = null;
  #bringing = false; // a photo that the server no longer has
  #missed = false; // since it was asked for

  /** answered: resolves when the answer and the maps are shown; settled: when all is. */
  constructor({ answered, settled }) {
    Object.assign(this, { answered, settled });
    $("open").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => {
      this.#files($("file").files);
      $("file").value = "";
    });
    document.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length) this.#files(event.clipboardData.files);
    });
    this.#listenToDrops();
    $("sample-before").addEventListener("click", () => this.step(-1));
    $("sample-after").addEventListener("click", () => this.step(1));
    this.#listenToCamera();
  }

  #trouble(text) {
    tell($("photo-trouble"), text);
  }

  // ---- Files

  #listenToDrops() {
    const over = (on) => ($("drop").hidden = !on);
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      over(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && over(false));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      if (event.dataTransfer.files.length) this.#files(event.dataTransfer.files);
      else this.#trouble("What was dropped is no file: save the picture first.");
    });
  }

  #files(files) {
    const [file] = files;
    if (file.size > facts.upload.bytes) {
      this.#trouble(`${file.name} has ${(file.size / 2 ** 20).toFixed(0)} MB; at most ` +
        `${(facts.upload.bytes / 2 ** 20).toFixed(0)} MB are taken.`);
      return;
    }
    this.send(file, { name: file.name });
  }

  /** Sends a photo's bytes and shows it. */
  send(blob, { name = "", replace = false } = {}) {
    const start = performance.now();
    return this.#slot.run(async () => {
      const { photo } = await ask("photos", {}, { method: "POST", body: blob });
      this.#sent.set(photo, blob);
      if (this.#sent.size > SENT) this.#sent.delete(this.#sent.keys().next().value);
      return () => {
        set({ photo, sample: null, ...NEW, heat: state.heat }, { replace });
        $("photo-name").textContent = name;
        this.answered().then(() => performance.measure("photo", { start }));
      };
    });
  }

  /** The server no longer has a photo: that is told, and the one that is shown is brought again, once
   * for all that miss it. */
  async lost({ lost, message }) {
    if (!state.photo?.startsWith(lost)) return;
    tell($("stage-trouble"), message);
    this.#missed = true;
    if (this.#bringing) return;
    this.#bringing = true;
    while (this.#missed) {
      await this.settled(); // all that asked for it has failed, and asks again
      this.#missed = false; // but for what fails later still
      const { photo, sample } = state;
      if (sample !== null) await this.sample(sample, { replace: true, keep: true });
      else if (this.#sent.has(photo)) await this.#resend(this.#sent.get(photo));
    }
    this.#bringing = false;
  }

  #resend(blob) {
    return this.#slot.run(async () => {
      const { photo } = await ask("photos", {}, { method: "POST", body: blob });
      return () => set({ photo }, { replace: true });
    });
  }

  // ---- The set's own

  step(by) {
    if (!net().samples) return;
    const index = state.sample === null ? 0 : state.sample + by;
    this.sample((index + net().samples) % net().samples);
  }

  sample(index, { replace = false, keep = false } = {}) {
    const start = performance.now();
    const { run } = state;
    return this.#slot.run(async () => {
      const { photo, label, key } = await ask(`samples/${index}`, { run });
      return () => {
        if (state.run !== run) return;
        set({ photo, sample: index, ...(keep ? {} : NEW) }, { replace });
        $("photo-name").textContent = [label, key].filter(Boolean).join(", ");
        this.answered().then(() => performance.measure("photo", { start }));
      };
    });
  }

  update(changed) {
    this.#strip();
    if (changed.has("photo") && state.sample === null) $("photo-name").textContent = "";
    const lost = state.photo === null && state.sample !== null; // by an address
    const moved = changed.has("sample") && !changed.has("photo") && state.sample !== null;
    if (lost || moved) this.sample(state.sample, { replace: true, keep: true });
  }

  /** Photos of the set about the one shown. */
  #strip() {
    const { samples } = net();
    $("samples").parentNode.hidden = !samples;
    if (!samples) return;
    const { run } = state;
    const first = clamp((state.sample ?? 0) - (THUMBS >> 1), 0, Math.max(samples - THUMBS, 0));
    const indices = Array.from({ length: Math.min(THUMBS, samples) }, (_, n) => first + n);
    const key = `${run}/${first}`;
    for (const button of $("samples").children) press(button, Number(button.dataset.sample) === state.sample);
    if (key === this.#shown) return;
    this.#shown = key;
    this.#thumbs.run(async () => {
      const found = await Promise.all(indices.map((index) => this.#thumb(run, index)));
      return () => $("samples").replaceChildren(...found.map(({ image, label }, n) => {
        const button = element("button", { type: "button", "data-sample": indices[n], title: label ?? "",
          "aria-label": `Photo ${indices[n]}${label ? `, ${label}` : ""}`,
          "aria-pressed": String(indices[n] === state.sample) }, image);
        button.addEventListener("click", () => this.sample(indices[n]));
        return button;
      }));
    });
  }

  async #thumb(run, index) {
    const key = `${run}/${index}`;
    if (!this.#known.has(key)) {
      const { photo, label } = await ask(`samples/${index}`, { run });
      const image = await picture("photo.png", { run, photo });
      image.alt = "";
      this.#known.set(key, { image, label });
      if (this.#known.size > 20 * THUMBS) {
        const [oldest] = this.#known.keys();
        release(this.#known.get(oldest).image);
        this.#known.delete(oldest);
      }
    }
    return this.#known.get(key);
  }

  // ---- The camera: one frame, or one after the other

  #listenToCamera() {
    const dialog = $("camera-dialog");
    $("camera").addEventListener("click", () => this.#stream && !dialog.open ? this.#stop() : this.#start());
    $("camera-close").addEventListener("click", () => dialog.close());
    $("shoot").addEventListener("click", async () => {
      const frame = await this.#frame();
      dialog.close();
      this.send(frame, { name: "camera" });
    });
    $("live").addEventListener("click", () => {
      this.live = true;
      dialog.close();
      $("camera").textContent = "Stop";
      this.#watch();
    });
    dialog.addEventListener("close", () => this.live || this.#stop());
  }

  async #start() {
    tell($("camera-trouble"), null);
    const dialog = $("camera-dialog");
    dialog.showModal();
    try {
      if (!navigator.mediaDevices) throw new Error("the browser gives it to pages of this machine, or over https, alone");
      const stream = await navigator.mediaDevices.getUserMedia({ video: true });
      if (!dialog.open || this.#stream) { // it was closed, and maybe opened again, meanwhile
        for (const track of stream.getTracks()) track.stop();
        return;
      }
      this.#stream = stream;
      $("video").srcObject = this.#stream;
    } catch (error) {
      tell($("camera-trouble"), `No camera: ${error.message}.`);
    }
    $("shoot").disabled = $("live").disabled = !this.#stream;
  }

  #stop() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    $("video").srcObject = this.#stream = null;
    this.live = false;
    $("camera").textContent = "Camera";
  }

  async #watch() {
    while (this.live) {
      await this.send(await this.#frame(), { name: "camera", replace: true });
      await this.settled();
      await new Promise(requestAnimationFrame);
    }
  }

  #frame() {
    const video = $("video");
    const scale = Math.min(1, FRAME / Math.max(video.videoWidth, video.videoHeight));
    const canvas = element("canvas", { width: Math.round(scale * video.videoWidth) || 1,
      height: Math.round(scale * video.videoHeight) || 1 });
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  }
}
