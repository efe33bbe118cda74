// The page in a real browser: node --test, by scripts/web_test.sh.
//   PAGE      the folder that scripts/web.sh made
//   NATIVE    what `octresnet predict PAGE/pictures --top 12 --json` says with the same weights

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { launch, serve } from "./chromium.mjs";

const page = resolve(process.env.PAGE ?? "examples/web/dist");
let server, browser, folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "page-test-"));
  server = await serve(page);
  browser = await launch();
  await browser.send("Emulation.setDeviceMetricsOverride", { width: 360, height: 740, deviceScaleFactor: 1, mobile: true });
  await browser.open(server.url);
  await browser.until(`document.querySelector("#verdict")?.textContent.startsWith("With α")`, "the page has measured");
});

after(async () => {
  await browser?.close();
  server?.close();
  if (folder) await rm(folder, { recursive: true });
});

const LOGITS = `Object.fromEntries([...document.querySelectorAll("#classes li")].map(({ dataset }) => [dataset.class, Number(dataset.logit)]))`;
const TROUBLE = `document.querySelector("#trouble").hidden ? "" : document.querySelector("#trouble").textContent`;

async function chosen(path) {
  await browser.choose("#file", [path]);
  await browser.until(`document.querySelector("#status").textContent === ${JSON.stringify(`Looked at ${basename(path)}.`)}`, `the page has looked at ${path}`);
  return browser.evaluate(LOGITS);
}

// Softmax forgets what is added to all logits: what remains of them is compared.
function logarithms(probabilities) {
  return Object.fromEntries(probabilities.map(({ class: name, probability }) => [name, Math.log(probability)]));
}

test("logits are those of the native program", async () => {
  const native = JSON.parse(await readFile(process.env.NATIVE, "utf8"));
  assert.ok(native.length >= 12);
  for (const { image, predictions } of native) {
    const logits = await chosen(join(page, "pictures", basename(image)));
    const sum = Math.log(Object.values(logits).reduce((sum, logit) => sum + Math.exp(logit), 0));
    const expected = logarithms(predictions);
    assert.deepEqual(Object.keys(logits).sort(), Object.keys(expected).sort());
    for (const [name, logit] of Object.entries(logits)) {
      assert.ok(Math.abs(logit - sum - expected[name]) < 1e-3, `${image}, ${name}: ${logit - sum} here, ${expected[name]} native`);
    }
  }
});

test("the kernels are WebAssembly's SIMD", async () => {
  assert.match(await browser.evaluate(`document.querySelector("#engine").textContent`), /instructions: (simd128|relaxed-simd)/);
});

const RUBBISH = {
  "notes.txt": Buffer.from("This is no picture at all."),
  "empty.png": Buffer.alloc(0),
  "cut.png": null,
  "header.jpg": Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(500, 7)]),
};

test("rubbish gives a message and the page goes on", async () => {
  for (const [name, bytes] of Object.entries(RUBBISH)) {
    const path = join(folder, name);
    const cut = async () => (await readFile(join(page, "pictures", "food.png"))).subarray(0, 900);
    await writeFile(path, bytes ?? (await cut()));
    await browser.choose("#file", [path]);
    await browser.until(`(${TROUBLE}).startsWith("“${name}”")`, `the page complains of ${name}`);
    assert.match(await browser.evaluate(TROUBLE), /cannot be read as a picture: .{5,}/);
  }
  await chosen(join(page, "pictures", "food.png"));
  assert.equal(await browser.evaluate(TROUBLE), "");
});

test("a dropped file is looked at, and what is no file is refused", async () => {
  const drop = (fill) => browser.evaluate(`{
    const data = new DataTransfer();
    ${fill}
    document.querySelector("main").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  }`);
  await drop(`data.items.add(new File(["no picture"], "dropped.bin"));`);
  await browser.until(`(${TROUBLE}).startsWith("“dropped.bin”")`, "the page complains of what was dropped");
  await drop(`data.setData("text/plain", "words");`);
  await browser.until(`(${TROUBLE}).includes("no file")`, "the page complains of words");
});

test("bars, pictures of both frequencies and maps are drawn", async () => {
  await chosen(join(page, "pictures", "clock.png"));
  assert.equal(await browser.evaluate(`document.querySelectorAll("#classes li").length`), 12);
  const colours = `((canvas) => new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size)`;
  for (const id of ["input", "low", "high"]) {
    assert.ok((await browser.evaluate(`${colours}(document.querySelector("#${id}"))`)) > 20, id);
  }
  const sizes = await browser.evaluate(`[...document.querySelectorAll(".maps canvas")].map(({ width }) => width)`);
  assert.deepEqual([...new Set(sizes)].sort((a, b) => a - b), [8, 16]);
});

test("another α is measured, and does less work", async () => {
  const row = (id) => browser.evaluate(`[...document.querySelectorAll("#${id} td")].map(({ textContent }) => parseFloat(textContent))`);
  await browser.evaluate(`{
    const alpha = document.querySelector("#alpha");
    alpha.value = 0.75;
    alpha.dispatchEvent(new Event("change"));
  }`);
  await browser.until(`document.querySelector("#verdict").textContent.startsWith("With α = 0.75")`, "α = 0.75 is measured");
  const [vanilla, octave] = [await row("vanilla"), await row("octave")];
  assert.ok(octave[0] < 0.6 * vanilla[0] && octave[1] < 0.6 * vanilla[1], `${octave} of ${vanilla}`);
  assert.ok(octave[2] > 0 && vanilla[2] > 0);
});

test("a network that fails is started anew", async () => {
  // Images of 4.8 GB, more than WebAssembly can address.
  const failure = await browser.evaluate(`import("./ask.js").then(({ ask }) => ask("race", { alpha: 0.5, size: 20000 })).then(() => "none", ({ message }) => message)`);
  assert.match(failure, /started anew/);
  await chosen(join(page, "pictures", "vehicle.png"));
});

test("everything can be reached by keyboard, and seen", async () => {
  const reached = [];
  await browser.evaluate("document.activeElement.blur()");
  for (let stops = 0; stops < 40 && !reached.includes("measure"); stops++) {
    for (const type of ["keyDown", "keyUp"]) await browser.send("Input.dispatchKeyEvent", { type, key: "Tab", code: "Tab", windowsVirtualKeyCode: 9 });
    reached.push(await browser.evaluate(`document.activeElement.id || document.activeElement.tagName`));
  }
  for (const stop of ["BUTTON", "file", "SUMMARY", "alpha", "size", "measure"]) assert.ok(reached.includes(stop), `${stop} of ${reached}`);
  assert.ok(await browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than a phone");
});

test("light and dark have colours of their own", async () => {
  const paper = async (value) => {
    await browser.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
    return browser.evaluate("getComputedStyle(document.body).backgroundColor");
  };
  assert.notEqual(await paper("light"), await paper("dark"));
});

test("the console is silent", () => assert.deepEqual(browser.complaints, []));
