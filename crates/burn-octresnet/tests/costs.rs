//! Parameters and multiply–adds against the published figures.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Tensor},
};
use burn_octresnet::model::{Alpha, Arch, OctResNetConfig};

fn config(arch: Arch, alpha: f64) -> OctResNetConfig {
    let mut config = OctResNetConfig::new(arch, 1000);
    config.alpha = Alpha::Uniform(alpha);
    config
}

/// Counts trained parameters; Burn's `num_params` counts running statistics too.
#[derive(Default)]
struct Trained(u64);

impl ModuleVisitor for Trained {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.0 += param.shape().num_elements() as u64;
        }
    }
}

/// The count does not depend on α.
#[test]
fn parameters_equal_the_official_models_at_every_alpha() {
    for (arch, params) in [
        (Arch::OctResNet26, 15_995_176),
        (Arch::OctResNet50, 25_557_032),
    ] {
        for alpha in [0.0, 0.125, 0.25, 0.5, 0.75] {
            let config = config(arch, alpha);
            let counted = config.cost([224, 224]).unwrap().params;
            assert_eq!(counted, params, "{arch} α={alpha}");
            let model = config.init(&Device::default().autodiff()).unwrap();
            let mut trained = Trained::default();
            model.visit(&mut trained);
            assert_eq!(trained.0, params, "{arch} α={alpha}, as built");
        }
    }
}

/// Giga multiply–adds at 224×224, counted by shape inference on the authors' models.
#[test]
fn multiply_adds_equal_the_official_models() {
    let table = [
        (Arch::OctResNet26, 0.0, "2.3423"),
        (Arch::OctResNet26, 0.25, "1.8582"),
        (Arch::OctResNet26, 0.5, "1.4800"),
        (Arch::OctResNet50, 0.0, "4.0892"),
        (Arch::OctResNet50, 0.25, "3.1035"),
        (Arch::OctResNet50, 0.5, "2.3671"),
    ];
    for (arch, alpha, giga) in table {
        let macs = config(arch, alpha).cost([224, 224]).unwrap().macs.total();
        assert_eq!(
            format!("{:.4}", macs as f64 / 1e9),
            giga,
            "{arch} α={alpha}"
        );
    }
}
