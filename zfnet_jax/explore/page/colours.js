// Numbers as colours: maps of one channel drawn over a photo.

const FIRE = ["#000004", "#320a5e", "#781c6d", "#bc3754", "#ed6925", "#fbb61a", "#fcffa4"];
const SEA = ["#440154", "#443983", "#31688e", "#21918c", "#35b779", "#90d743", "#fde725"];
const KINDS = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#76b7b2", "#edc948",
  "#9c755f", "#ff9da7", "#8c8c8c"];

export const fire = ramp(FIRE);
export const sea = ramp(SEA);

/** The colour of the nth of several classes, [r, g, b]. */
export const kind = (n) => rgb(KINDS[n % KINDS.length]);

export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** A function from 0 to 1 to [r, g, b]. */
function ramp(hexes) {
  const stops = hexes.map(rgb);
  return (share) => {
    const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((from, n) => Math.round(from + (at - low) * (stops[low + 1][n] - from)));
  };
}

/** Draws cells of colour [r, g, b, a], row by row, as a picture of rows x columns pixels. */
export function cells(rows, columns, colour) {
  const canvas = new OffscreenCanvas(columns, rows);
  const context = canvas.getContext("2d");
  const data = context.createImageData(columns, rows);
  for (let n = 0; n < rows * columns; n += 1) data.data.set(colour(n), 4 * n);
  context.putImageData(data, 0, 0);
  return canvas;
}

/** The grey values of a part of a picture, each 0 to 1. */
export function greys(image, left, top, width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, left, top, width, height, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return Array.from({ length: width * height }, (_, n) => data[4 * n] / 255);
}
