// Raw maps -> heat on the image, as the service draws it: src/stages/render.py.
"use strict";
const LONGEST = 1024; // pixels of the longer side of what is drawn
const palettes = Object.fromEntries(
  Object.entries(JSON.parse(byId("palettes").textContent)).map(([name, text]) => [
    name, Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), // red, green, blue of 256 levels
  ]),
);

function byId(id) {
  return document.getElementById(id);
}

// Between which two of `cells` a pixel lies, and how far, if `size` pixels are spread over them; centers are at one half.
function between(pixel, size, cells) {
  const place = Math.min(Math.max(((pixel + 0.5) * cells) / size - 0.5, 0), cells - 1);
  const cell = Math.min(Math.floor(place), Math.max(cells - 2, 0));
  return [cell, Math.min(cell + 1, cells - 1), place - cell];
}

// The heat of `map`, rows of numbers from 0 to 1, as colors of `width` x `height` pixels.
function colored(map, width, height, palette) {
  const image = new ImageData(width, height);
  const columns = Array.from({ length: width }, (_, x) => between(x, width, map[0].length));
  for (let y = 0, at = 0; y < height; y += 1) {
    const [above, below, down] = between(y, height, map.length);
    for (let x = 0; x < width; x += 1, at += 4) {
      const [left, right, along] = columns[x];
      const upper = map[above][left] * (1 - along) + map[above][right] * along;
      const lower = map[below][left] * (1 - along) + map[below][right] * along;
      const level = 3 * Math.round(255 * (upper * (1 - down) + lower * down));
      image.data[at] = palette[level];
      image.data[at + 1] = palette[level + 1];
      image.data[at + 2] = palette[level + 2];
      image.data[at + 3] = 255;
    }
  }
  return image;
}

const hasHeat = (map) => map.some((row) => row.some((value) => value > 0));

// Draw `bitmap` on `canvas`; on the `box` that the network saw, lightly outlined, the heat of `map` if there is any.
function draw(canvas, bitmap, box, map, { alpha, colormap } = {}) {
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // on which the network sees what is transparent, in a dark page too
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  if (!box || !map) return;
  const [x0, y0, x1, y1] = box.map((value) => value * scale);
  const [width, height] = [Math.max(1, Math.round(x1 - x0)), Math.max(1, Math.round(y1 - y0))];
  if (hasHeat(map)) {
    const heat = document.createElement("canvas");
    [heat.width, heat.height] = [width, height];
    heat.getContext("2d").putImageData(colored(map, width, height, palettes[colormap]), 0, 0);
    context.globalAlpha = alpha;
    context.drawImage(heat, x0, y0, x1 - x0, y1 - y0);
    context.globalAlpha = 1;
  }
  context.strokeStyle = "rgb(255 255 255 / 60%)";
  context.strokeRect(x0 + 0.5, y0 + 0.5, x1 - x0 - 1, y1 - y0 - 1);
}

function drawScale(canvas, colormap) {
  const image = new ImageData(256, 1);
  for (let level = 0; level < 256; level += 1) {
    image.data.set([...palettes[colormap].subarray(3 * level, 3 * level + 3), 255], 4 * level);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
