//! Several devices that train as one.

use super::*;
use crate::{
    Precision, Strategy,
    session::{gradients::Gradients, team::Team},
};

/// A recipe in which all that a step consists of takes part.
fn everything() -> Recipe {
    Recipe {
        mixup: 0.2,
        accumulate: 2,
        clip_norm: Some(0.5),
        ema: Some(0.9),
        epochs: 2,
        ..recipe()
    }
}

/// With norms that use their statistics as they are, since only those see a part and not the batch.
fn without_norms(recipe: Recipe) -> Recipe {
    Recipe {
        freeze: [1, 2, 3, 4]
            .map(|layer| format!("layer{layer}.0.bn1"))
            .into_iter()
            .chain(["bn1".into()])
            .collect(),
        ..recipe
    }
}

/// Batches of which some cannot be shared evenly.
fn batches() -> Vec<TrainBatch> {
    Device::flex().autodiff().seed(11);
    [5, 4, 3, 5].map(random).to_vec()
}

#[track_caller]
fn assert_near(one: &TestNetwork, other: &TestNetwork, tolerance: f32) {
    let (one, other) = (values(one, ""), values(other, ""));
    assert_eq!(one.len(), other.len());
    let largest = one
        .iter()
        .fold(0.0, |largest: f32, value| largest.max(value.abs()));
    for (one, other) in one.iter().zip(&other) {
        assert!((one - other).abs() <= tolerance * largest, "{one} {other}");
    }
}

#[test]
fn several_devices_make_the_steps_of_one() {
    let _turn = turn();
    let recipe = without_norms(everything());
    let one = train(&recipe, batches()).unwrap();
    let start = values(&network(&recipe), "");
    assert!(start != values(&one.model, ""), "nothing was learned");
    // Of seven, some have no images.
    for (devices, strategy) in [
        (2, Strategy::Multi),
        (3, Strategy::Multi),
        (7, Strategy::Multi),
        (2, Strategy::Ddp),
        (7, Strategy::Ddp),
    ] {
        let recipe = Recipe {
            strategy,
            ..recipe.clone()
        };
        let several = train_on(devices, &recipe, batches()).unwrap();
        assert_near(&one.model, &several.model, 1e-5);
        let averages = [&one, &several].map(|end| end.ema.as_ref().unwrap().model());
        assert_near(averages[0], averages[1], 1e-5);
        assert_eq!(one.state.update, several.state.update);
    }
}

#[test]
fn what_is_measured_is_the_whole_batch() {
    let _turn = turn();
    let recipe = without_norms(recipe());
    let sums = |devices: usize| {
        let end = train_on(devices, &recipe, batches()).unwrap();
        let row = *end.history.rows().last().unwrap();
        (row.train_loss, row.train_top1, row.val_loss)
    };
    let (one, three) = (sums(1), sums(3));
    assert!((one.0 - three.0).abs() < 1e-5, "{one:?} {three:?}");
    assert_eq!(one.1, three.1);
    assert!((one.2 - three.2).abs() < 1e-4, "{one:?} {three:?}");
}

#[test]
fn running_means_are_those_of_the_whole_batch() {
    let _turn = turn();
    let recipe = recipe();
    let batch = || vec![batches().remove(0)];
    // The first norm sees the same maps, whatever the weights behind it.
    let after = |end: Session| {
        ["running_mean", "running_var"].map(|name| values(&end.model, &format!("bn1.{name}")))
    };
    let before = ["running_mean", "running_var"]
        .map(|name| values(&network(&recipe), &format!("bn1.{name}")));
    let [means, variances] = after(train(&recipe, batch()).unwrap());
    assert!(!means.is_empty() && means != before[0]);
    for strategy in [Strategy::Multi, Strategy::Ddp] {
        let recipe = Recipe {
            strategy,
            ..recipe.clone()
        };
        let [of_parts, near] = after(train_on(3, &recipe, batch()).unwrap());
        for (mean, of_parts) in means.iter().zip(&of_parts) {
            assert!((mean - of_parts).abs() < 1e-6, "{mean} {of_parts}");
        }
        // The variance between the parts is missing.
        for (variance, near) in variances.iter().zip(&near) {
            assert!(
                (variance - near).abs() < 0.05 * variance,
                "{variance} {near}"
            );
        }
    }
}

#[test]
fn every_device_ends_with_the_same_network() {
    let _turn = turn();
    let model = network(&recipe());
    let recipe = recipe();
    let devices = vec![Device::flex().autodiff(); 2];
    for strategy in [Strategy::Multi, Strategy::Ddp] {
        let mut model = model.valid().train();
        let mut optimizer = optimizer(&recipe, &model);
        let mut team = Team::<TestConfig>::new(strategy, &devices, &model, &optimizer);
        let mut gradients = Gradients::new(team.size());
        let rates = recipe.schedule.over(recipe.optimizer.lr(), 2, 1);
        let mut schedule = schedule(&recipe, &model, rates, 0);
        for batch in batches() {
            let mut rng = <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(1);
            let (parts, _) = team.step(&model, Precision::F32, batch, &mut rng).unwrap();
            gradients.add(&model, parts);
            let taken = gradients.take(&model, &team, None).unwrap().unwrap();
            let rate = schedule.step();
            let mut taken = taken.into_iter();
            model = optimizer.step(rate.clone(), model, taken.next().unwrap());
            model = team.follow(model, &rate, taken);
        }
        let expected = bytes(&model);
        for other in team.snapshot() {
            assert!(
                weights::to_bytes(&other).unwrap()[..] == expected[..],
                "{strategy:?}"
            );
        }
    }
}

#[test]
fn frozen_parts_keep_every_bit_on_several_devices() {
    let _turn = turn();
    for strategy in [Strategy::Multi, Strategy::Ddp] {
        let recipe = Recipe {
            freeze: vec!["conv1".into(), "bn1".into(), "layer1".into()],
            strategy,
            ..everything()
        };
        let start = network(&recipe);
        let end = train_on(3, &recipe, batches()).unwrap();
        for part in ["conv1", "bn1", "layer1"] {
            assert_eq!(values(&start, part), values(&end.model, part), "{part}");
        }
        assert_ne!(values(&start, "layer2"), values(&end.model, "layer2"));
    }
}

#[test]
fn a_batch_left_out_leaves_no_trace_on_any_device() {
    let _turn = turn();
    let recipe = Recipe {
        on_nan: OnNan::Skip,
        ..recipe()
    };
    // Only the last image is bad, which the last device has.
    let mut bad = random(5);
    let rows = [4..5, 0..3, 0..8, 0..8];
    let nan = Tensor::full([1, 3, 8, 8], f32::NAN, &bad.images.device());
    bad.images = bad.images.slice_assign(rows, nan);
    let mut with = batches();
    with.insert(1, bad);
    for strategy in [Strategy::Multi, Strategy::Ddp] {
        let recipe = Recipe {
            strategy,
            ..recipe.clone()
        };
        let with = train_on(2, &recipe, with.clone()).unwrap();
        let without = train_on(2, &recipe, batches()).unwrap();
        assert_eq!((with.not_finite, without.not_finite), (1, 0));
        assert!(bytes(&with.model) == bytes(&without.model), "{strategy:?}");
    }
}
