//! Logits of every network beside those that PyTorch computes from the same weights, by a second
//! implementation of the family in `fixtures/family.py`.

#[path = "support/examples.rs"]
mod support;

use support::{difference, examples, folder, logits};

#[test]
fn every_network_gives_the_logits_of_pytorch() {
    if let Some(folder) = folder() {
        for example in examples() {
            let path = folder.join(format!("{}.safetensors", example.name()));
            let model = example.model();
            model.save_weights(&example.config, path, false).unwrap();
        }
    }
    let theirs = logits("pytorch");
    let (mut worst, mut wrong) = (0.0f64, Vec::new());
    for example in examples() {
        let name = example.name();
        let logits = example.model().forward(example.images());
        let off = theirs
            .get(&name)
            .map_or(f64::INFINITY, |theirs| difference(logits, theirs));
        println!("{name:40} {off:.1e}");
        if off >= 1e-5 {
            wrong.push(name);
        }
        worst = worst.max(off);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("at most {worst:.1e} of the largest logit");
}
