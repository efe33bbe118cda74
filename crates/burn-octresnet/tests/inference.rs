//! Networks in their inference form.

#[path = "support/trained.rs"]
mod support;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor},
};
use burn_octresnet::model::{Alpha, Arch, OctResNet, Stem};
use support::{double, images, trained};

/// The largest difference between two networks' logits, relative to the largest logit.
fn error(actual: Tensor<2>, expected: Tensor<2>) -> f64 {
    assert_eq!(actual.dims(), expected.dims());
    let (actual, expected) = (actual.cast(DType::F64), expected.cast(DType::F64));
    let scale = expected.clone().abs().max().into_scalar::<f64>();
    (actual - expected).abs().max().into_scalar::<f64>() / scale
}

/// Logits of the unfolded modules, computed layer by layer from Burn's operations in f64.
fn exact(model: &OctResNet, images: &Tensor<4>) -> Tensor<2> {
    let model = double(model.clone());
    model.forward(images.clone().cast(DType::F64))
}

/// Every network, α and image size; batches of different size through the same inference form.
#[test]
fn logits_are_those_of_the_modules_in_f64() {
    for arch in Arch::ALL {
        for alpha in [0.0, 0.25, 0.5] {
            let Some(model) = trained(arch, |config| config.alpha = Alpha::Uniform(alpha)) else {
                continue; // 32 groups divide few channels.
            };
            let inference = model.clone().into_inference();
            let sizes = match arch.is_small() {
                true => [[1, 11, 13], [3, 32, 32]],
                false => [[1, 37, 45], [3, 64, 49]],
            };
            let batches = sizes.map(images);
            let logits = batches.clone().map(|images| inference.forward(images));
            // Last, since clones share the running statistics that it casts.
            let model = double(model);
            for (images, logits) in batches.into_iter().zip(logits) {
                let size = images.dims();
                let error = error(logits, model.forward(images.cast(DType::F64)));
                // Gates multiply the rounding of 152 layers.
                let gated = arch.name().contains("-se-");
                let bound = if gated { 1e-2 } else { 1e-4 };
                assert!(error < bound, "{arch} α={alpha} {size:?}: {error:e}");
            }
        }
    }
}

#[test]
fn stages_of_any_share_and_the_stem_for_small_images_are_served() {
    for alphas in [[1.0, 1.0, 1.0], [0.125, 0.75, 0.5], [0.5, 0.0, 0.25]] {
        for stem in [Stem::Imagenet, Stem::Small] {
            let model = trained(Arch::OctResNet26, |config| {
                (config.alpha, config.stem) = (Alpha::PerStage(alphas), stem);
            });
            let model = model.unwrap();
            let inference = model.clone().into_inference();
            assert!(inference.is_fused());
            let images = images([2, 41, 35]);
            let error = error(inference.forward(images.clone()), exact(&model, &images));
            assert!(error < 1e-4, "{alphas:?} {stem}: {error:e}");
        }
    }
}

/// Which networks run as a whole must not change by accident.
#[test]
fn all_but_dense_excited_and_padded_networks_are_fused() {
    for arch in Arch::ALL {
        let layerwise = matches!(
            arch,
            Arch::OctDenseNet121 | Arch::OctResNet20 | Arch::OctResNet56
        ) || arch.name().contains("-se-");
        let model = trained(arch, |_| {}).unwrap();
        assert_eq!(model.into_inference().is_fused(), !layerwise, "{arch}");
    }
}

#[test]
fn no_bit_depends_on_the_run_or_the_threads() {
    let model = trained(Arch::OctResNet50, |_| {}).unwrap();
    let images = images([3, 70, 75]);
    let forward = |threads: usize| -> Vec<f32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let inference = model.clone().into_inference();
        pool.unwrap().install(|| {
            let first = inference.forward(images.clone()).into_data();
            // Buffers hold what the last call left.
            assert_eq!(inference.forward(images.clone()).into_data(), first);
            first.try_into_vec().unwrap()
        })
    };
    let one = forward(1);
    for threads in 2..=4 {
        assert_eq!(forward(threads), one, "{threads} threads");
    }
}

#[test]
fn one_network_serves_many_threads_at_once() {
    let model = trained(Arch::OctResNet26, |_| {}).unwrap();
    let inference = model.into_inference();
    let batches: Vec<_> = (1..5).map(|n| images([n, 33, 40 + n])).collect();
    let alone: Vec<_> = batches
        .iter()
        .map(|x| inference.forward(x.clone()).into_data())
        .collect();
    std::thread::scope(|scope| {
        for (images, expected) in batches.iter().zip(&alone) {
            let inference = &inference;
            scope.spawn(move || {
                for _ in 0..3 {
                    assert_eq!(&inference.forward(images.clone()).into_data(), expected);
                }
            });
        }
    });
}

/// The steps do all the multiply–adds that the cost model counts, and give the same logits.
#[test]
fn steps_are_measured_and_add_up() {
    for arch in Arch::ALL {
        let mut config = None;
        let model = trained(arch, |c| {
            c.alpha = Alpha::Uniform(0.25);
            config = Some(c.clone());
        });
        let (Some(model), Some(config)) = (model, config) else {
            continue; // 32 groups divide few channels.
        };
        let images = images([2, 45, 37]);
        let inference = model.into_inference();
        let Some((logits, steps)) = inference.forward_timed(&images) else {
            assert!(!inference.is_fused(), "{arch}");
            continue;
        };
        assert_eq!(logits.into_data(), inference.forward(images).into_data());
        let macs: u64 = steps.iter().map(|step| step.macs).sum();
        let cost = config.cost([45, 37]).unwrap();
        assert_eq!(macs, 2 * cost.macs.total(), "{arch}: {steps:#?}");
    }
}

struct Track;

impl ModuleMapper for Track {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(Tensor::autodiff)
    }
}

#[test]
fn other_precisions_and_autodiff_run_layer_by_layer() {
    let model = trained(Arch::OctResNet26, |_| {}).unwrap();
    let x = images([1, 37, 33]);
    let wide = double(model.clone()).into_inference();
    assert!(!wide.is_fused());
    let logits = wide.forward(x.clone().cast(DType::F64));
    assert_eq!(logits.dtype(), DType::F64);
    assert!(error(logits, exact(&model, &x)) < 1e-9);

    // Images that require a gradient get one.
    let x = x.autodiff().require_grad();
    let model = trained(Arch::OctResNet26, |_| {}).unwrap();
    let model = model.map(&mut Track).into_inference();
    assert!(!model.is_fused());
    let gradients = model.forward(x.clone()).sum().backward();
    assert!(x.grad(&gradients).is_some());
}

#[test]
fn the_smallest_image_is_served() {
    let model = trained(Arch::OctResNet26, |_| {}).unwrap();
    let inference = model.clone().into_inference();
    for size in [[1, 1, 1], [2, 1, 9]] {
        let images = images(size);
        let error = error(inference.forward(images.clone()), exact(&model, &images));
        assert!(error < 1e-4, "{size:?}: {error:e}");
    }
}
