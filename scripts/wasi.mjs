// Runs the tests of a crate compiled to WebAssembly, as WASI programs, by node:
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
  process.exit(wasi.start(await WebAssembly.instantiate(program, wasi.getImportObject())));
} else {
  // Where a program has run for a minute, node 20 crashes as it returns: the collector has freed what
  // started it. By then the tests have said how they ended, and if one failed, have left by an exit code.
  const stdio = ["inherit", "pipe", "inherit", "ipc"];
  const child = fork(fileURLToPath(import.meta.url), [file, ...rest], { stdio });
  let said = "";
  child.stdout.on("data", (text) => {
    process.stdout.write(text);
    said = (said + text).slice(-1000);
  });
  child.on("close", (code, signal) => {
    if (signal) console.error(`node ended by ${signal}`);
    process.exit(code ?? (/^test result: ok\. /m.test(said) ? 0 : 1));
  });
}
