// The network, away from the thread that draws the page.

import init, { Classifier, instruction_set } from "./pkg/octave_page.js";

// The network, or the promise of one: whoever asks while it is loading waits.
let loading;

const content = async (path) => {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} cannot be loaded: the server says ${answer.status}`);
  return answer;
};

const text = async (path) => (await content(path)).text();

async function load() {
  const files = [text("model/config.json"), text("model/classes.json"), content("model/best.bpk")];
  const [recipe, classes, weights] = await Promise.all([...files, init()]);
  return new Classifier(recipe, classes, new Uint8Array(await weights.arrayBuffer()));
}

const tasks = {
  async load() {
    loading = load();
    const { classes, alpha, size } = await loading;
    return { classes, alpha, size, instructions: instruction_set() };
  },

  // What is left after an error is freed by the browser: after a trap nothing else may touch it.
  async look({ bytes }) {
    const classifier = await loading;
    const seen = classifier.look(bytes);
    const groups = JSON.parse(seen.groups).map((group, index) => ({ ...group, values: seen.maps(index) }));
    const { logits, probabilities, size, low_size: lowSize, contrast } = seen;
    const pictures = [0, 1, 2].map((which) => seen.picture(which));
    seen.free();
    return { logits, probabilities, size, lowSize, contrast, groups, pictures };
  },

  // The vanilla and the octave network in turns, so that both meet the same other load.
  async race({ alpha, size }) {
    const classifier = await loading;
    const sides = [0, alpha].map((share) => classifier.at(share, size));
    const results = race(sides).map((times, side) => {
      const { macs, map_bytes: mapBytes } = sides[side];
      return { macs, mapBytes, ms: median(times), turns: times.length };
    });
    sides.forEach((network) => network.free());
    return results;
  },
};

const LEAST_TURNS = 5;
const LEAST_MS = 1000;
const MOST_TURNS = 300;

// The times of each network, without the first run, which packs weights.
function race(networks) {
  networks.forEach((network) => network.run());
  const times = networks.map(() => []);
  const begin = performance.now();
  const turns = () => times[0].length;
  while (turns() < LEAST_TURNS || (performance.now() - begin < LEAST_MS && turns() < MOST_TURNS)) {
    networks.forEach((network, side) => {
      const start = performance.now();
      network.run();
      times[side].push(performance.now() - start);
    });
  }
  return times;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

self.onmessage = async ({ data: { id, task, ...input } }) => {
  try {
    self.postMessage({ id, result: await tasks[task](input) });
  } catch (error) {
    // After a trap the module's memory is in no known state: the page starts another worker.
    const broken = error instanceof WebAssembly.RuntimeError;
    self.postMessage({ id, error: error.message, broken });
  }
};
