// Draws what the worker finds.

import { ask } from "./ask.js";

const $ = (id) => document.getElementById(id);

let classes = [];
// Answers that come after a newer question are not drawn.
let newest = 0;

function say(text) {
  $("status").textContent = text;
}

function complain(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

async function start() {
  try {
    const network = await ask("load");
    classes = network.classes;
    $("engine").textContent = `WebAssembly, instructions: ${network.instructions}, one thread.`;
    $("alpha").value = network.alpha;
    await showPictures();
    say("Ready.");
    await measure();
  } catch (error) {
    say("");
    complain(`The page cannot start: ${error.message}`);
  }
}

async function showPictures() {
  const list = await (await fetch("pictures/list.json")).json();
  const buttons = list.map(({ file, name }) => {
    const image = Object.assign(new Image(), { src: `pictures/${file}`, alt: name });
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(image);
    button.addEventListener("click", async () => {
      const answer = await fetch(image.src);
      await look(new Uint8Array(await answer.arrayBuffer()), name, button);
    });
    return button;
  });
  $("pictures").replaceChildren(...buttons);
  if (buttons.length > 0) buttons[0].click();
}

async function lookAt(file) {
  if (!file) return complain("What was dropped is no file: drop a picture, or choose one.");
  await look(new Uint8Array(await file.arrayBuffer()), file.name, null);
}

async function look(bytes, name, button) {
  const question = ++newest;
  complain("");
  try {
    const seen = await ask("look", { bytes });
    if (question !== newest) return;
    for (const other of $("pictures").children) other.setAttribute("aria-pressed", other === button);
    showClasses(seen);
    showFrequencies(seen);
    say(`Looked at ${name}.`);
  } catch (error) {
    if (question === newest) complain(`“${name}” cannot be read as a picture: ${error.message}. A PNG, JPEG, WebP, GIF, BMP or TIFF file will do.`);
  }
}

function showClasses({ logits, probabilities }) {
  const order = classes.map((_, index) => index).sort((a, b) => probabilities[b] - probabilities[a]);
  const items = order.map((index) => {
    const item = document.createElement("li");
    const share = probabilities[index];
    const bar = Object.assign(document.createElement("meter"), { value: share });
    const percent = Object.assign(document.createElement("b"), { textContent: `${(100 * share).toFixed(1)} %` });
    bar.setAttribute("aria-label", classes[index]);
    item.dataset.class = classes[index];
    item.dataset.logit = logits[index];
    item.append(classes[index], bar, percent);
    return item;
  });
  $("classes").replaceChildren(...items);
}

function showFrequencies({ size, lowSize, contrast, pictures, groups }) {
  ["input", "low", "high"].forEach((id, which) => paint($(id), pictures[which], size, size));
  $("low-text").textContent = `low frequency: what ${lowSize[0]}×${lowSize[1]} values keep`;
  $("high-text").textContent = `high frequency: the rest, contrast ×${contrast.toFixed(1)}`;
  $("maps").replaceChildren(...groups.flatMap(drawnGroup));
}

function drawnGroup({ layer, frequency, channels, shown, height, width, values }) {
  const title = document.createElement("p");
  title.className = "small";
  const count = shown < channels ? `${shown} of ${channels}` : channels;
  title.textContent = `${layer}, ${frequency} frequency: ${count} maps of ${height}×${width}`;
  const maps = document.createElement("div");
  maps.className = `maps ${frequency}`;
  for (let index = 0; index < shown; index++) {
    const map = values.subarray(index * height * width, (index + 1) * height * width);
    const canvas = document.createElement("canvas");
    paint(canvas, coloured(map), width, height);
    maps.append(canvas);
  }
  return [title, maps];
}

function paint(canvas, rgba, width, height) {
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(rgba), width, height), 0, 0);
}

// From dark violet through teal to yellow, whose brightness rises evenly.
const RAMP = [[40, 20, 80], [35, 130, 140], [250, 230, 60]];

function coloured(map) {
  const rgba = new Uint8ClampedArray(4 * map.length);
  map.forEach((value, place) => {
    const at = (value / 255) * (RAMP.length - 1);
    const below = Math.min(Math.floor(at), RAMP.length - 2);
    const colour = RAMP[below].map((low, channel) => low + (at - below) * (RAMP[below + 1][channel] - low));
    rgba.set([...colour, 255], 4 * place);
  });
  return rgba;
}

async function measure() {
  const alpha = Number($("alpha").value);
  const size = Number($("size").value);
  $("alpha-text").textContent = alpha;
  $("measure").disabled = true;
  $("verdict").textContent = "Measuring …";
  try {
    const [vanilla, octave] = await ask("race", { alpha, size });
    showCost("vanilla", vanilla);
    showCost("octave", octave);
    $("verdict").textContent = verdict(alpha, vanilla, octave);
  } catch (error) {
    $("verdict").textContent = `It cannot be measured: ${error.message}.`;
  }
  $("measure").disabled = false;
}

function showCost(id, { macs, mapBytes, ms, turns }) {
  const [work, memory, time] = $(id).querySelectorAll("td");
  work.textContent = `${(macs / 1e6).toFixed(1)} million`;
  memory.textContent = `${(mapBytes / 1e6).toFixed(1)} MB`;
  time.textContent = `${ms.toFixed(2)} ms`;
  time.title = `median of ${turns} turns`;
  time.dataset.ms = ms;
}

function verdict(alpha, vanilla, octave) {
  const percent = (part, whole) => `${Math.round((100 * part) / whole)} %`;
  const work = percent(octave.macs, vanilla.macs);
  const memory = percent(octave.mapBytes, vanilla.mapBytes);
  const speed = vanilla.ms / octave.ms;
  const told = speed >= 1 ? `${speed.toFixed(2)} times as fast` : `slower, by a factor of ${(1 / speed).toFixed(2)}`;
  return `With α = ${alpha} the network does ${work} of the work, its maps take ${memory} of the memory, and here it is ${told}.`;
}

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length > 0) lookAt(target.files[0]);
  // The same file may be chosen again.
  target.value = "";
});
// Anywhere on the page: a file that misses would replace the page.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  lookAt(event.dataTransfer.files[0]);
});
$("alpha").addEventListener("input", ({ target }) => ($("alpha-text").textContent = target.value));
for (const id of ["alpha", "size"]) $(id).addEventListener("change", measure);
$("measure").addEventListener("click", measure);

start();
