// A headless Chromium, driven by its DevTools protocol through two pipes: nothing to install.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";

const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm", ".png": "image/png" };

/** Serves a folder, and `others` under their names, on a free port of this machine; returns `{ url, close }`. */
export async function serve(folder, others = {}) {
  const server = createServer(async ({ url }, answer) => {
    const path = normalize(decodeURIComponent(new URL(url, "http://localhost").pathname));
    const [, first, ...rest] = path.split("/");
    const file = Object.hasOwn(others, first) ? join(others[first], ...rest) : join(folder, path);
    try {
      const content = await readFile(path.endsWith("/") ? join(file, "index.html") : file);
      answer.writeHead(200, { "content-type": TYPES[extname(path)] ?? (path.endsWith("/") ? TYPES[".html"] : "application/octet-stream") });
      answer.end(content);
    } catch {
      answer.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

/** Starts Chromium with one page; ends with `close`. */
export async function launch(program = process.env.CHROMIUM ?? "chromium") {
  const profile = await mkdtemp(join(tmpdir(), "chromium-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe", `--user-data-dir=${profile}`];
  const child = spawn(program, flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const waiting = new Map();
  const listeners = [];
  let count = 0;
  let rest = "";
  child.stdio[4].setEncoding("utf8").on("data", (data) => {
    const messages = (rest + data).split("\0");
    rest = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      const { resolve, reject } = waiting.get(message.id) ?? {};
      waiting.delete(message.id);
      if (message.error) reject?.(new Error(message.error.message));
      else if (resolve) resolve(message.result);
      else listeners.forEach((listener) => listener(message));
    }
  });
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.once("error", (error) => waiting.forEach(({ reject }) => reject(error)));
  gone.then(() => waiting.forEach(({ reject }) => reject(new Error("Chromium has ended"))));
  let sessionId;
  const send = (method, params = {}) =>
    new Promise((resolve, reject) => {
      const id = ++count;
      waiting.set(id, { resolve, reject });
      child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });

  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  ({ sessionId } = await send("Target.attachToTarget", { targetId, flatten: true }));
  const complaints = [];
  listeners.push(({ method, params }) => {
    if (method === "Runtime.exceptionThrown") complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) complaints.push(params.args.map(({ value, description }) => value ?? description).join(" "));
    if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
  });
  await Promise.all(["Page", "Runtime", "Log", "DOM"].map((domain) => send(`${domain}.enable`)));

  // The value of an expression of the page, after the promise that it may be.
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };

  return {
    send,
    evaluate,
    /** Errors and warnings of the console so far. */
    complaints,
    version: async () => (await send("Browser.getVersion")).product,
    open: (url) => send("Page.navigate", { url }),
    /** Waits until an expression of the page is true. */
    async until(expression, what, seconds = 60) {
      const end = Date.now() + 1000 * seconds;
      while (!(await evaluate(expression))) {
        if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}; the console says ${JSON.stringify(complaints)}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    /** What a person would choose in the dialog of a file input. */
    async choose(selector, files) {
      const { root } = await send("DOM.getDocument");
      const { nodeId } = await send("DOM.querySelector", { nodeId: root.nodeId, selector });
      await send("DOM.setFileInputFiles", { nodeId, files });
    },
    async screenshot() {
      const { data } = await send("Page.captureScreenshot", { format: "png" });
      return Buffer.from(data, "base64");
    },
    async close() {
      await send("Browser.close").catch(() => {});
      await gone;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
