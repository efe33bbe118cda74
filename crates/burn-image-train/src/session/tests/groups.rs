//! Parts that are frozen, slowed down or not decayed.

use burn::tensor::TensorData;

use super::*;

#[test]
fn frozen_parts_keep_every_bit_and_slowed_ones_move_less() {
    let _turn = turn();
    let recipe = Recipe {
        freeze: vec!["conv1".into(), "layer1".into()],
        layer_lr: [("layer2".to_string(), 0.0)].into(),
        ..recipe()
    };
    let start = network(&recipe);
    let end = train(&recipe, vec![random(4), random(4)]).unwrap();
    for part in ["conv1", "layer1"] {
        assert_eq!(values(&start, part), values(&end.model, part), "{part}");
    }
    for part in ["layer3", "layer4", "fc"] {
        assert_ne!(values(&start, part), values(&end.model, part), "{part}");
    }
    // With a rate of 0 the weights stay, the norms' statistics do not.
    let conv = "layer2.0.Residual.conv1";
    assert!(!values(&start, conv).is_empty());
    assert_eq!(values(&start, conv), values(&end.model, conv));

    // A part below an enum, whose variant Burn's paths have.
    let recipe = Recipe {
        freeze: vec!["layer3.0.conv1".into()],
        ..recipe
    };
    recipe.validate().unwrap();
    let end = train(&recipe, vec![random(4)]).unwrap();
    let part = |model, name| values(model, &format!("layer3.0.Residual.{name}"));
    assert_eq!(part(&start, "conv1"), part(&end.model, "conv1"));
    assert_ne!(part(&start, "bn1"), part(&end.model, "bn1"));
}

#[test]
fn norms_and_biases_are_decayed_only_if_the_recipe_says_so() {
    let _turn = turn();
    // Without a gradient for the classifier's bias only decay could move it: class shares equal the
    // softmax of equal logits, which a zeroed classifier gives.
    let decayed = |decay_norms: bool| {
        let recipe = Recipe {
            decay_norms,
            optimizer: OptimizerConfig::Sgd {
                lr: 0.1,
                momentum: 0.0,
                nesterov: false,
                weight_decay: 0.5,
            },
            ..recipe()
        };
        let model = network(&recipe);
        let mut optimizer = optimizer(&recipe, &model);
        let rates = recipe.schedule.over(0.1, 1, 1);
        let rate = schedule(&recipe, &model, rates, 0).step();
        // A loss that does not depend on anything.
        let pixels = TensorData::zeros::<f32, _>([1, 3, 8, 8]);
        let images = Tensor::<4>::from_data(pixels, &Device::flex().autodiff());
        let loss = TestConfig::logits(&model, images).sum() * 0.0;
        let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &model);
        let before = values(&model, "bn1.gamma");
        let after = values(&optimizer.step(rate, model, gradients), "bn1.gamma");
        before != after
    };
    assert!(decayed(true));
    assert!(!decayed(false));
}
