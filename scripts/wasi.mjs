// Runs a WASI program, such as the tests of a crate compiled to WebAssembly, by node:
//   rustup target add wasm32-wasip1
//   RUSTFLAGS="-C target-feature=+simd128" CARGO_TARGET_WASM32_WASIP1_RUNNER="node scripts/wasi.mjs" \
//       cargo test --release -p octave-engine --lib --target wasm32-wasip1
import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [, , file, ...rest] = process.argv;
if (!file) {
  console.error("which program? node scripts/wasi.mjs PROGRAM.wasm [ARGUMENTS]");
  process.exit(2);
}
const wasi = new WASI({ version: "preview1", args: [file, ...rest], env: process.env });
const program = await WebAssembly.compile(await readFile(file));
process.exit(wasi.start(await WebAssembly.instantiate(program, wasi.getImportObject())));
