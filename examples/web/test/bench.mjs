// Our networks beside onnxruntime-web in headless Chromium, in turns, on one thread: scripts/web_bench.sh.
//   PAGE   the folder that scripts/web.sh made
//   ORT    node_modules/onnxruntime-web/dist
//   NETS   {page,resnet}-{0,0.5}.onnx, and resnet.bpk of the same weights as the second pair

import { cpus } from "node:os";
import { launch, serve } from "./chromium.mjs";

const { PAGE, ORT, NETS, SECONDS = "10" } = process.env;
const server = await serve(PAGE, { ort: ORT, nets: NETS });
const browser = await launch();

// Runs in the browser.
async function sides(name, size, seconds) {
  const { default: init, Classifier, instruction_set } = await import("/pkg/octave_page.js");
  const ort = await import("/ort/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/ort/";
  await init();
  const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const text = async (path) => (await fetch(path)).text();
  const files =
    name === "page"
      ? [await text("/model/config.json"), await text("/model/classes.json"), await bytes("/model/best.bpk")]
      : [
          JSON.stringify({
            model: { arch: "oct-resnet-50", alpha: 0 },
            data: { val: { size, crop_ratio: 1, interpolation: "bilinear" }, normalize: { mean: [0, 0, 0], std: [1, 1, 1] } },
          }),
          JSON.stringify(Array.from({ length: 1000 }, (_, index) => `${index}`)),
          await bytes("/nets/resnet.bpk"),
        ];
  const classifier = new Classifier(...files);
  const image = Float32Array.from({ length: 3 * size * size }, (_, index) => Math.sin(index * 0.37) + Math.cos(index * 0.011));
  const contest = [];
  for (const alpha of [0, 0.5]) {
    const network = classifier.at(alpha, size);
    network.show(image);
    contest.push({ who: "ours", alpha, times: [], run: () => network.run() });
    const session = await ort.InferenceSession.create(await bytes(`/nets/${name}-${alpha}.onnx`), { executionProviders: ["wasm"] });
    const feeds = { images: new ort.Tensor("float32", image, [1, 3, size, size]) };
    contest.push({ who: "onnxruntime-web", alpha, times: [], run: async () => (await session.run(feeds)).logits.data });
  }
  classifier.free();
  for (const side of contest) for (let warmup = 0; warmup < 3; warmup++) side.logits = Array.from(await side.run());
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    for (const { times, run } of contest) {
      const start = performance.now();
      await run();
      times.push(performance.now() - start);
    }
  }
  const apart = (a, b) => Math.max(...a.logits.map((logit, index) => Math.abs(logit - b.logits[index])));
  return {
    instructions: instruction_set(),
    largest: Math.max(...contest.flatMap(({ logits }) => logits.map(Math.abs))),
    apart: [apart(contest[0], contest[1]), apart(contest[2], contest[3])],
    sides: contest.map(({ who, alpha, times }) => ({ who, alpha, times: times.sort((a, b) => a - b) })),
  };
}

await browser.open(server.url + "style.css");
await browser.until("document.readyState === 'complete'", "loaded");
console.log(`${cpus()[0].model}, ${await browser.version()}`);
for (const [name, size] of [["page", 64], ["resnet", 224]]) {
  const { instructions, largest, apart, sides: found } = await browser.evaluate(`(${sides})(${JSON.stringify(name)}, ${size}, ${SECONDS})`);
  console.log(`\n${name}, ${size}×${size}, ${instructions}; logits up to ${largest.toFixed(2)} differ by ${apart.map((x) => x.toExponential(1)).join(" and ")}`);
  const middle = found.map(({ times }) => times[times.length >> 1]);
  found.forEach(({ who, alpha, times }, side) => {
    const bounds = [times[0], times.at(-1)].map((x) => x.toFixed(2)).join("–");
    console.log(`  α = ${alpha}  ${who.padEnd(16)} ${middle[side].toFixed(2)} ms (${bounds}), ${times.length} turns`);
  });
  const [vanilla, vanillaOrt, octave, octaveOrt] = middle;
  console.log(`  ours ÷ onnxruntime-web: ${(vanilla / vanillaOrt).toFixed(2)} (α = 0), ${(octave / octaveOrt).toFixed(2)} (α = 0.5)`);
  console.log(`  ours, α = 0 ÷ α = 0.5: ${(vanilla / octave).toFixed(2)}`);
}
await browser.close();
server.close();
