// Asking the server. Of each kind of question one is under way at a time and the newest waits: late
// answers of an earlier one are dropped.

import { $ } from "./dom.js";

const LATE = 400; // milliseconds after which the page says what the server is at
const EVERY = 300;

const LOST = /^photo (\S+) is not here any more/; // the photo's own place tells it, once

/** What the server answers with an error, in its one line. */
export class Refused extends Error {
  /** The photo that the server no longer has, if that is what is wrong. */
  get lost() {
    return LOST.exec(this.message)?.[1] ?? null;
  }
}

let lost = () => {};

/** Calls a function with each error that says that the server no longer has a photo. */
export function onLost(listener) {
  lost = listener;
}

/** To be called with what was wrong with an answer, when its own place has told it. */
export function failed(error) {
  if (error.lost) lost(error);
}

function address(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const search = new URLSearchParams(given).toString();
  return `/api/${path}${search && `?${search}`}`;
}

/** A response with status 2xx. Raises Refused with the server's line, or says that it is gone. */
export async function request(path, query = {}, options = {}) {
  const ended = late();
  try {
    const response = await fetch(address(path, query), options);
    if (!response.ok) throw new Refused(await reason(response));
    return response;
  } catch (error) {
    if (error instanceof TypeError) throw new Refused("The server does not answer: is it running?");
    throw error;
  } finally {
    ended();
  }
}

async function reason(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

export const ask = async (path, query, options) => (await request(path, query, options)).json();

/** A picture, decoded: an <img> that is not in the page; its address is good until `release`. */
export async function picture(path, query) {
  const image = new Image();
  image.src = URL.createObjectURL(await (await request(path, query)).blob());
  await image.decode();
  return image;
}

export function release(image) {
  if (image) URL.revokeObjectURL(image.src);
}

/** The objects of a stream of server-sent events, each as it comes. */
export async function* events(path, query, signal) {
  const response = await request(path, query, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith("data:")) yield JSON.parse(block.slice(5));
    }
  }
}

/** Runs jobs one after the other; of those that come meanwhile only the newest.
 *
 * A job is an async function that returns another one, which shows what was found. With `live` what
 * is overtaken by a newer job is shown too, as it is older than what follows. What it shows, an
 * element, is marked as old meanwhile, and stays so where the newest job fails.
 */
export class Newest {
  #running = null;
  #next = null;

  /** fail: called with a line of trouble, which is "" where another place tells it; null: all is well. */
  constructor(name, fail, { live = false } = {}) {
    Object.assign(this, { name, fail, live, shows: null });
  }

  /** Resolves when no job is left. */
  run(job) {
    this.#next = { job, start: performance.now() };
    this.shows?.classList.add("old");
    this.#running ??= this.#all().finally(() => (this.#running = null));
    return this.#running;
  }

  async #all() {
    while (this.#next) {
      const { job, start } = this.#next;
      this.#next = null;
      try {
        const show = await job();
        if (!this.#next || this.live) {
          show();
          this.shows?.classList.toggle("old", this.#next !== null);
          this.fail(null);
          performance.measure(this.name, { start });
        }
      } catch (error) {
        if (!(error instanceof Refused)) console.error(error);
        if (this.#next) continue;
        this.fail(error.lost ? "" : error.message);
        failed(error);
      }
    }
  }
}

// ---- What the server is at, while an answer is late

let waiting = 0;
let timer = null;

function late() {
  waiting += 1;
  timer ??= setTimeout(look, LATE);
  return () => {
    waiting -= 1;
    if (waiting) return;
    clearTimeout(timer);
    timer = null;
    $("busy").hidden = true;
  };
}

async function look() {
  let doing = null;
  try {
    ({ doing } = await (await fetch(address("progress", {}))).json());
  } catch {
    // the request that is late says what is wrong
  }
  if (!waiting) return;
  $("busy").hidden = false;
  $("doing").textContent = doing ?? "computing";
  timer = setTimeout(look, EVERY);
}
