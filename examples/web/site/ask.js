// Questions to the worker, and its answers.

const waiting = new Map();
let count = 0;
let worker = hire();

function hire() {
  const worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data: { id, result, error, broken } }) => {
    const { resolve, reject } = waiting.get(id) ?? {};
    waiting.delete(id);
    if (broken) replace("the network failed; it has been started anew");
    if (error !== undefined) reject?.(new Error(broken ? `the network failed (${error}) and has been started anew` : error));
    else resolve?.(result);
  };
  worker.onerror = ({ message }) => {
    for (const { reject } of waiting.values()) reject(new Error(message || "its worker cannot be loaded"));
    waiting.clear();
  };
  return worker;
}

// Questions that the broken worker has not answered are lost with it.
function replace(reason) {
  worker.terminate();
  for (const { reject } of waiting.values()) reject(new Error(reason));
  waiting.clear();
  worker = hire();
  ask("load").catch(() => {});
}

/** What the worker answers to `task`; rejects with an error that says what is wrong. */
export function ask(task, input = {}) {
  const id = ++count;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, task, ...input });
  });
}
