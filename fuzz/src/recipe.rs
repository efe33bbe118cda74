//! Texts as recipes.

use std::fs;

use burn::tensor::Device;
use burn_image_train::Classifier;

use crate::{
    paths,
    target::{Target, check_message},
};

// The network that the command trains, which is no library.
#[path = "../../examples/octresnet/src/network.rs"]
mod network;

/// A text as the recipe of a run: it is refused, or comes back from its own JSON.
pub const TARGET: Target = Target {
    name: "recipe",
    dictionary: "recipe",
    run,
    seeds,
    memory: 128 << 20,
};

/// The largest network that is built, in parameters.
const LARGEST: u64 = 1 << 20;

fn seeds() -> Vec<Vec<u8>> {
    let is_recipe = |name: &str| name.ends_with(".json");
    ["configs", "fuzz/seeds/recipe"]
        .map(|folder| paths::contents(folder, is_recipe))
        .concat()
}

fn run(text: &[u8]) -> bool {
    let path = paths::scratch().join("recipe.json");
    fs::write(&path, text).expect("the file can be written");
    let recipe = match network::Recipe::load(&path) {
        Ok(recipe) => recipe,
        Err(error) => {
            check_message(&error);
            return false;
        }
    };
    fs::write(&path, recipe.to_json()).expect("the file can be written");
    let again = network::Recipe::load(&path).expect("what was written can be read");
    assert_eq!(again, recipe);
    let cost = recipe.model.cost(10, [32, 32]);
    if cost.is_some_and(|cost| cost.params <= LARGEST) {
        let built = recipe.model.init(10, &Device::flex());
        assert!(
            built.is_ok(),
            "a valid recipe of a network that cannot be built"
        );
    }
    true
}
