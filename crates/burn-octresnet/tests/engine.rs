//! Networks on the engine, layer by layer without gradients.

#[path = "support/trained.rs"]
mod support;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor},
};
use burn_octconv::ops::timed;
use burn_octresnet::model::{Alpha, Arch, OctNet, Stem};
use support::{double, images, trained};

/// The largest difference between two networks' logits, relative to the largest logit.
fn error(actual: Tensor<2>, expected: Tensor<2>) -> f64 {
    assert_eq!(actual.dims(), expected.dims());
    let (actual, expected) = (actual.cast(DType::F64), expected.cast(DType::F64));
    let scale = expected.clone().abs().max().into_scalar::<f64>();
    (actual - expected).abs().max().into_scalar::<f64>() / scale
}

/// Logits of the unfolded modules, computed layer by layer from Burn's operations in f64.
fn exact(model: &OctNet, images: &Tensor<4>) -> Tensor<2> {
    let model = double(model.clone());
    model.forward(images.clone().cast(DType::F64))
}

/// Every network, α and image size; batches of different size through the same network.
#[test]
fn logits_are_those_of_the_modules_in_f64() {
    for arch in Arch::ALL {
        for alpha in [0.0, 0.25, 0.5] {
            let Some(model) = trained(arch, |config| config.alpha = Alpha::Uniform(alpha)) else {
                continue; // 32 groups divide few channels.
            };
            let sizes = match arch.is_small() {
                true => [[1, 11, 13], [3, 32, 32]],
                false => [[1, 37, 45], [3, 64, 49]],
            };
            let batches = sizes.map(images);
            let logits = batches.clone().map(|images| model.forward(images));
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
            let images = images([2, 41, 35]);
            let logits = model.forward(images.clone());
            let error = error(logits, exact(&model, &images));
            assert!(error < 1e-4, "{alphas:?} {stem}: {error:e}");
        }
    }
}

#[test]
fn no_bit_depends_on_the_run_or_the_threads() {
    let model = trained(Arch::OctResNet50, |_| {}).unwrap();
    let images = images([3, 70, 75]);
    let forward = |threads: usize| -> Vec<f32> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(|| {
            let first = model.forward(images.clone()).into_data();
            // Memory holds what the last call left.
            assert_eq!(model.forward(images.clone()).into_data(), first);
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
    let batches: Vec<_> = (1..5).map(|n| images([n, 33, 40 + n])).collect();
    let alone: Vec<_> = batches
        .iter()
        .map(|x| model.forward(x.clone()).into_data())
        .collect();
    std::thread::scope(|scope| {
        for (images, expected) in batches.iter().zip(&alone) {
            let model = &model;
            scope.spawn(move || {
                for _ in 0..3 {
                    assert_eq!(&model.forward(images.clone()).into_data(), expected);
                }
            });
        }
    });
}

/// The steps do all the multiply–adds that the cost model counts but those of linear layers, which
/// are Burn's, and give the same logits.
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
        let (logits, steps) = timed(|| model.forward(images.clone()));
        assert_eq!(logits.into_data(), model.forward(images).into_data());
        let macs: u64 = steps.iter().map(|step| step.macs).sum();
        let layers = config.layer_costs([45, 37]).unwrap().into_iter();
        let linear = |name: &str| name == "fc" || name.ends_with(".se");
        let layers = layers.filter(|layer| !linear(&layer.name));
        let counted: u64 = layers.map(|layer| layer.cost.macs.total()).sum();
        assert_eq!(macs, 2 * counted, "{arch}: {steps:#?}");
    }
}

struct Track;

impl ModuleMapper for Track {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(Tensor::autodiff)
    }
}

#[test]
fn other_precisions_and_autodiff_are_composed() {
    let model = trained(Arch::OctResNet26, |_| {}).unwrap();
    let x = images([1, 37, 33]);
    let wide = double(model.clone());
    let logits = wide.forward(x.clone().cast(DType::F64));
    assert_eq!(logits.dtype(), DType::F64);
    assert!(error(logits, exact(&model, &x)) < 1e-9);

    // Images that require a gradient get one.
    let x = x.autodiff().require_grad();
    let model = trained(Arch::OctResNet26, |_| {}).unwrap();
    let model = model.map(&mut Track);
    let gradients = model.forward(x.clone()).sum().backward();
    assert!(x.grad(&gradients).is_some());
}

#[test]
fn the_smallest_image_is_served() {
    for size in [[1, 1, 1], [2, 1, 9]] {
        let model = trained(Arch::OctResNet26, |_| {}).unwrap();
        let images = images(size);
        let logits = model.forward(images.clone());
        let error = error(logits, exact(&model, &images));
        assert!(error < 1e-4, "{size:?}: {error:e}");
    }
}
