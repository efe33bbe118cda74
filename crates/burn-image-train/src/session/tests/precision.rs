//! Steps in half precision.

use burn::{
    module::{ModuleVisitor, Param},
    optim::GradientsParams,
};

use super::*;
use crate::{Precision, session::team::queue};

/// The gradients of all weights as one vector.
fn gradients(precision: Precision, batch: &TrainBatch) -> Vec<f32> {
    struct All(GradientsParams, Vec<f32>);

    impl ModuleVisitor for All {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                let values = gradient.into_data().try_into_vec::<f32>();
                self.1
                    .extend(values.expect("gradients are raised to 32 bits"));
            }
        }
    }

    let model = network(&recipe());
    let batch = TrainBatch {
        loss_scale: 1024.0,
        ..batch.clone()
    };
    let output = queue::<TestConfig>(&model, precision, batch).unwrap();
    let mut all = All(output.grads, Vec::new());
    model.visit(&mut all);
    all.1
}

#[test]
fn gradients_in_half_precision_are_near_those_in_full() {
    let _turn = turn();
    let device = Device::flex().autodiff();
    device.seed(6);
    // Large enough that the norms of the last stage have something to average over.
    let images = Tensor::random([8, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
    let batch = batch(images);
    let full = gradients(Precision::F32, &batch);
    let length = |values: &[f32]| values.iter().map(|v| f64::from(v * v)).sum::<f64>().sqrt();
    let error = |precision| {
        let half = gradients(precision, &batch);
        assert_eq!(half.len(), full.len());
        let difference: Vec<_> = half.iter().zip(&full).map(|(a, b)| a - b).collect();
        length(&difference) / length(&full)
    };
    // Numbers of 11 and of 8 bits, through 26 layers and back.
    let errors = [Precision::F16, Precision::Bf16].map(error);
    println!("{errors:?}");
    assert!(errors[0] > 0.0 && errors[0] < 0.2, "{errors:?}");
    assert!(errors[1] > errors[0] && errors[1] < 0.5, "{errors:?}");
}

#[test]
fn half_precision_trains_weights_of_full_precision() {
    let _turn = turn();
    Device::flex().autodiff().seed(8);
    let batch = random(6);
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let recipe = Recipe {
            precision,
            dropout: 0.1,
            ..recipe()
        };
        let loss = |session: &Session| {
            let model = session.model.clone();
            let output = crate::batch::step::<TestConfig>(&model, batch.clone());
            let losses = output.item.loss.into_data().try_into_vec::<f32>();
            losses.unwrap().iter().sum::<f32>() / 6.0
        };
        let before = train(&recipe, vec![batch.clone()]).unwrap();
        let after = train(&recipe, vec![batch.clone(); 100]).unwrap();
        let (before, after) = (loss(&before), loss(&after));
        assert!(after < 0.8 * before, "{precision}: {before} to {after}");
    }
}

#[test]
fn a_batch_beyond_16_bits_is_left_out_and_the_next_scaled_less() {
    let _turn = turn();
    let recipe = Recipe {
        precision: Precision::F16,
        ..recipe()
    };
    let train = |factor: f64| {
        let folder = tempfile::tempdir().unwrap();
        let mut session = fresh(&recipe, 1);
        let scale = serde_json::json!({"factor": factor.to_bits(), "batches": 0});
        session.state.scale = serde_json::from_value(scale).unwrap();
        let folder = RunDir::at(folder.path());
        run(&folder, 1, &recipe, vec![random(4)], session, None).unwrap()
    };
    let start = values(&network(&recipe), "fc");
    let far = train(2_f64.powi(60));
    assert_eq!(values(&far.model, "fc"), start);
    assert_eq!(far.state.scale.factor(), 2_f64.powi(59));
    let near = train(256.0);
    assert_ne!(values(&near.model, "fc"), start);
    assert_eq!(near.state.scale.factor(), 256.0);
}
