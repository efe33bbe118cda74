//! Parameters and multiply–adds of every registered network against the published figures.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Tensor},
};
use burn_octresnet::model::{Alpha, Arch, OctNetConfig};

/// What is published of one network, to the digits printed there.
struct Published {
    name: &'static str,
    /// Millions of parameters, at any α.
    params: &'static str,
    /// α and giga multiply–adds of convolutions and classifier.
    macs: &'static [(f64, &'static str)],
}

/// For 224×224 pixels and 1000 classes: shape inference on the authors' models
/// (<https://github.com/facebookresearch/OctConv>, its symbol code for v2 networks and DenseNet,
/// its gluon code for the others), and the multiply–adds at the paper's α in tables 4 to 6 of
/// <https://arxiv.org/abs/1904.05049>.
///
/// For 32×32 pixels and 10 classes, the vanilla networks: ResNets by He et al.,
/// <https://arxiv.org/abs/1512.03385>, table 6 (parameters), and by their sequels, such as He et
/// al., <https://arxiv.org/abs/1811.00250>, table 1 (4.06e7 and 1.25e8 multiply–adds);
/// Wide-ResNet-28-10 by Zagoruyko and Komodakis, <https://arxiv.org/abs/1605.07146>, table 4
/// (parameters only).
const PUBLISHED: &[Published] = &[
    published(
        "oct-resnet-26",
        "15.995",
        &[(0.0, "2.3423"), (0.25, "1.8582"), (0.5, "1.480")],
    ),
    published(
        "oct-resnet-50",
        "25.5570",
        &[(0.0, "4.0892"), (0.25, "3.1035"), (0.5, "2.3671")],
    ),
    published(
        "oct-resnet-101",
        "44.549",
        &[(0.0, "7.801"), (0.5, "3.991")],
    ),
    published(
        "oct-resnet-152",
        "60.193",
        &[(0.0, "11.514"), (0.5, "5.615")],
    ),
    published("oct-resnet-200", "64.674", &[(0.5, "7.144")]),
    published(
        "oct-resnet-26-v2",
        "15.9913",
        &[(0.0, "2.3423"), (0.25, "1.8582"), (0.5, "1.4800")],
    ),
    published(
        "oct-resnet-50-v2",
        "25.5532",
        &[(0.0, "4.0892"), (0.25, "3.1035"), (0.5, "2.3671")],
    ),
    published(
        "oct-resnet-101-v2",
        "44.5453",
        &[(0.0, "7.8014"), (0.25, "5.5977"), (0.5, "3.9912")],
    ),
    published(
        "oct-resnet-152-v2",
        "60.1890",
        &[(0.0, "11.5136"), (0.25, "8.0918"), (0.5, "5.6153")],
    ),
    published(
        "oct-resnet-200-v2",
        "64.6700",
        &[(0.0, "15.0075"), (0.25, "10.4393"), (0.5, "7.1439")],
    ),
    published("oct-resnet-152-v1e", "60.2120", &[(0.0, "12.7937")]),
    published("oct-resnet-152-v1f", "60.2222", &[(0.0, "12.7809")]),
    // Not published by itself: v1e, and what SE adds to v1f.
    published("oct-se-resnet-152-v1e", "66.9366", &[(0.0, "12.8003")]),
    published("oct-se-resnet-152-v1f", "66.9468", &[(0.0, "12.7874")]),
    published(
        "oct-resnext-50",
        "25.0289",
        &[(0.0, "4.2305"), (0.25, "3.1710"), (0.5, "2.3865")],
    ),
    published(
        "oct-resnext-50-v2",
        "25.0251",
        &[(0.0, "4.2305"), (0.25, "3.1710"), (0.5, "2.3865")],
    ),
    published(
        "oct-resnext-101-v2",
        "44.1739",
        &[(0.0, "7.9700"), (0.25, "5.6835"), (0.5, "4.0226")],
    ),
    published(
        "oct-se-resnet-50-v2",
        "28.0842",
        &[(0.0, "4.0917"), (0.25, "3.1060"), (0.5, "2.3697")],
    ),
    published(
        "oct-densenet-121",
        "7.9789",
        &[(0.0, "2.8342"), (0.25, "2.0172"), (0.5, "1.4186")],
    ),
    published(
        "oct-mobilenet-v1",
        "4.2320",
        &[(0.0, "0.5687"), (0.25, "0.4254"), (0.5, "0.3182")],
    ),
    published(
        "oct-mobilenet-v1-075",
        "2.5856",
        &[(0.0, "0.3254"), (0.5, "0.1835")],
    ),
    published(
        "oct-mobilenet-v2",
        "3.5060",
        &[(0.0, "0.3136"), (0.5, "0.2342")],
    ),
    published(
        "oct-mobilenet-v2-1125",
        "4.2430",
        &[(0.0, "0.3923"), (0.5, "0.2928")],
    ),
    published("oct-resnet-20", "0.27", &[(0.0, "0.0406")]),
    published("oct-resnet-56", "0.85", &[(0.0, "0.125")]),
    published("oct-wide-resnet-28-10", "36.5", &[]),
];

const fn published(
    name: &'static str,
    params: &'static str,
    macs: &'static [(f64, &'static str)],
) -> Published {
    Published { name, params, macs }
}

fn config(arch: Arch, alpha: f64) -> OctNetConfig {
    let mut config = OctNetConfig::new(arch, arch.num_classes());
    config.alpha = Alpha::Uniform(alpha);
    config
}

/// `value / unit` with as many decimals as `like` has.
fn printed(value: u64, unit: f64, like: &str) -> String {
    let decimals = like.split_once('.').map_or(0, |(_, d)| d.len());
    format!("{:.decimals$}", value as f64 / unit)
}

/// Collects every deviation, so that one run shows them all.
#[test]
fn every_network_has_the_published_cost() {
    let mut names: Vec<_> = PUBLISHED.iter().map(|row| row.name).collect();
    let mut registered = Arch::ALL.map(Arch::name);
    names.sort_unstable();
    registered.sort_unstable();
    assert_eq!(names, registered, "each network has a row");

    let mut deviations = Vec::new();
    for row in PUBLISHED {
        let arch: Arch = row.name.parse().unwrap();
        let mut compare = |what: &str, counted: String, published: &str| {
            if counted != published {
                deviations.push(format!("{arch}, {what}: {counted}, not {published}"));
            }
        };
        for &(alpha, giga) in row.macs {
            let macs = config(arch, alpha).cost(arch.image_size()).unwrap().macs;
            let counted = printed(macs.total(), 1e9, giga);
            compare(&format!("multiply-adds at {alpha}"), counted, giga);
        }
        for alpha in [0.0, 0.25, 0.375, 0.5, 0.75] {
            // Where groups of channels do not divide, there is no such network.
            let Ok(cost) = config(arch, alpha).cost(arch.image_size()) else {
                assert!(row.name.contains("resnext") && alpha == 0.375);
                continue;
            };
            let counted = printed(cost.params, 1e6, row.params);
            compare(&format!("parameters at {alpha}"), counted, row.params);
        }
    }
    assert!(deviations.is_empty(), "{}", deviations.join("\n"));
}

/// The multiply–adds that the paper prints (table 5 and section 4.3 of
/// <https://arxiv.org/abs/1904.05049>, and the authors' README). Their tool counts up to 1 % more
/// than convolutions and classifier: the same authors' MobileNet v1 at α = 0.5 has 318 M by shape
/// inference, and the paper says 321 M.
#[test]
fn at_the_papers_alpha_multiply_adds_are_within_a_percent() {
    for (name, alpha, giga) in [
        ("oct-mobilenet-v1-075", 0.375, 0.213),
        ("oct-mobilenet-v1", 0.5, 0.321),
        ("oct-mobilenet-v2", 0.375, 0.256),
        ("oct-mobilenet-v2-1125", 0.5, 0.295),
        ("oct-resnet-152-v1f", 0.125, 10.9),
        ("oct-se-resnet-152-v1e", 0.125, 10.9),
    ] {
        let config = config(name.parse().unwrap(), alpha);
        let macs = config.cost([224, 224]).unwrap().macs.total() as f64 / 1e9;
        let excess = giga / macs - 1.0;
        println!(
            "{name}: {macs:.4} G, the paper's {giga} G is {:.2} % more",
            100.0 * excess
        );
        assert!((0.0..0.01).contains(&excess), "{name}: {macs}, {giga}");
    }
}

/// Counts parameters by path; Burn's `num_params` counts running statistics too.
#[derive(Default)]
struct Parameters {
    path: Vec<String>,
    found: Vec<(String, u64)>,
    trained: u64,
}

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let count = param.lazy_shape().num_elements() as u64;
        if !self.path.last().is_some_and(|n| n.starts_with("running")) {
            let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
            self.found.push((path.join("."), count));
        }
        self.trained += if param.is_require_grad() { count } else { 0 };
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        // The variant of a block is no part of a layer's name.
        if !container.starts_with("Enum:") {
            self.path.push(name.into());
        }
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        if !container.starts_with("Enum:") {
            self.path.pop();
        }
    }
}

/// Layer by layer, built and counted parameters are the same, to the last one, and all are trained
/// but the γ and β of the plain norms in SE-ResNet-152.
#[test]
fn every_layer_is_built_as_counted() {
    for arch in Arch::ALL {
        for alpha in [0.0, 0.5] {
            let mut config = config(arch, alpha);
            // Narrow, since asking whether a parameter is trained initialises it.
            config.width = 0.5;
            let model = config.init(&Device::default().autodiff());
            let mut built = Parameters::default();
            model.visit(&mut built);
            let total: u64 = built.found.iter().map(|(_, count)| count).sum();
            for layer in config.layer_costs([32, 32]).unwrap() {
                let prefix = format!("{}.", layer.name);
                let mut params = 0;
                built.found.retain(|(path, count)| {
                    let own = path.starts_with(&prefix);
                    params += if own { *count } else { 0 };
                    !own
                });
                assert_eq!(params, layer.cost.params, "{arch} α={alpha}, {prefix}");
            }
            assert!(
                built.found.is_empty(),
                "{arch} α={alpha}: {:?}",
                built.found
            );
            let constants = match arch.name().starts_with("oct-se-resnet-152") {
                true => 95_488 / 2,
                false => 0,
            };
            assert_eq!(built.trained, total - constants, "{arch} α={alpha}");
        }
    }
}

/// The exact counts of well-known vanilla networks.
#[test]
fn vanilla_parameters_to_the_last_one() {
    for (name, params) in [
        // torchvision: resnet50, resnet152, resnext50_32x4d, densenet121.
        ("oct-resnet-50", 25_557_032),
        ("oct-resnet-152", 60_192_808),
        ("oct-resnext-50", 25_028_904),
        ("oct-densenet-121", 7_978_856),
        ("oct-resnet-20", 269_722),
        ("oct-resnet-56", 853_018),
        ("oct-wide-resnet-28-10", 36_479_194),
    ] {
        let config = config(name.parse().unwrap(), 0.0);
        assert_eq!(config.cost([32, 32]).unwrap().params, params, "{name}");
    }
}
