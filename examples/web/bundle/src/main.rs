//! Makes of a compiled page what a browser loads: `bundle COMPILED.wasm FOLDER` writes
//! `octave_page.js` and `octave_page_bg.wasm` into a folder.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [compiled, folder] = &arguments[..] else {
        eprintln!("error: two arguments are wanted: bundle COMPILED.wasm FOLDER");
        return ExitCode::from(2);
    };
    let written = Bindgen::new()
        .input_path(compiled)
        // The names of functions, a third of the file.
        .remove_name_section(true)
        .omit_default_module_path(false)
        .web(true)
        .and_then(|bindgen| bindgen.typescript(false).generate(folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {compiled} cannot be bundled: {error:#}");
            ExitCode::FAILURE
        }
    }
}
