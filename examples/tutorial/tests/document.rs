//! The lines of `docs/tutorial.md` are lines of the program.

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
