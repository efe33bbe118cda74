// Runs a WASI program, such as the tests of a crate compiled to WebAssembly, by node:
//   rustup target add wasm32-wasip1
//   RUSTFLAGS="-C target-feature=+simd128" CARGO_TARGET_WASM32_WASIP1_RUNNER="node scripts/wasi.mjs" \
//       cargo test --release -p octave-engine --lib --target wasm32-wasip1
import { fork } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { WASI } from "node:wasi";

const [, , file, ...rest] = process.argv;
if (!file) {
  console.error("which program? node scripts/wasi.mjs PROGRAM.wasm [ARGUMENTS]");
  process.exit(2);
}
if (process.send) {
  const wasi = new WASI({ version: "preview1", args: [file, ...rest], env: process.env });
  const program = await WebAssembly.compile(await readFile(file));
  const code = wasi.start(await WebAssembly.instantiate(program, wasi.getImportObject()));
  process.send(code, () => process.exit(code));
} else {
  // Node 20 can crash while it exits, after the program has ended: what counts is what that returned.
  // "close" comes after every message, "exit" may come before.
  const child = fork(fileURLToPath(import.meta.url), [file, ...rest]);
  let returned;
  child.on("message", (code) => (returned = code));
  child.on("close", (code, signal) => {
    if (returned === undefined) console.error(`node ended early: ${signal ?? `code ${code}`}`);
    process.exit(returned ?? code ?? 1);
  });
}
