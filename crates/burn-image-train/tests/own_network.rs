//! A network of Burn's own layers through the whole of training.

#[allow(dead_code, reason = "its `main` is for the example")]
#[path = "../examples/own_network.rs"]
mod example;

use std::{fs, path::Path};

use burn::tensor::Device;
use burn_image_train::{Recipe, Report, TrainedModel};
use example::{SmallCnnConfig, train};

fn recipe(output: &Path, epochs: usize) -> Recipe<SmallCnnConfig> {
    let mut recipe = Recipe::<SmallCnnConfig>::default();
    recipe.data.path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/emoji");
    recipe.data.set_size(32);
    recipe.model.channels = vec![8, 16];
    recipe.output = Some(output.into());
    (recipe.mixup, recipe.ema, recipe.epochs) = (0.2, Some(0.9), epochs);
    recipe.schedule = burn_image_train::ScheduleConfig::Constant {};
    recipe
}

#[test]
fn it_learns_goes_on_to_the_bit_predicts_and_has_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let whole = train(recipe(&whole, 3), false).unwrap();
    train(recipe(&parts, 1), false).unwrap();
    let parts = train(recipe(&parts, 3), true).unwrap();
    assert_eq!(
        fs::read(whole.last()).unwrap(),
        fs::read(parts.last()).unwrap()
    );

    let device = Device::flex();
    let report = Report::<SmallCnnConfig>::measure(parts.clone(), None, &device, |_, _| ());
    let page = fs::read_to_string(report.unwrap().write().unwrap()).unwrap();
    assert!(
        page.contains("\nSmallCnn, 12 classes; 3 of 3 epochs"),
        "{page}"
    );
    assert!(
        !page.contains("## Cost") && page.contains("\"channels\": [8, 16]"),
        "{page}"
    );

    let model = TrainedModel::<SmallCnnConfig>::load(parts.root(), &device).unwrap();
    let images = model.validation_images().unwrap();
    let prediction = model
        .predict(&[images.path(0)], 3, |error| panic!("{error}"))
        .unwrap();
    assert_eq!(prediction[0].predictions.len(), 3);
    let evaluation = model.evaluate(images, |_, _| ()).unwrap();
    assert!(
        evaluation.top1 > 0.15,
        "no better than chance: {}",
        evaluation.top1
    );
}
