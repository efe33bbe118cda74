//! The lines of `docs/tutorial.md` are lines of the program, and the program does what it says.

use std::process::Command;

#[test]
fn the_program_holds_every_block_of_the_tutorial() {
    let program = include_str!("../src/main.rs");
    let page = include_str!("../../../docs/tutorial.md");
    let blocks: Vec<_> = page.split("```rust\n").skip(1).collect();
    assert!(blocks.len() >= 5, "{} blocks", blocks.len());
    for block in blocks {
        let (code, _) = block.split_once("```").expect("a block ends");
        assert!(program.contains(code), "not in the program:\n{code}");
    }
}

#[test]
fn the_program_learns_and_its_two_forms_agree() {
    // It checks its own accuracy and the difference of the logits.
    let output = Command::new(env!("CARGO_BIN_EXE_tutorial"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
