//! Networks with their batch norms folded.

#[path = "support/trained.rs"]
mod support;

use burn::tensor::DType;
use burn_octresnet::model::{Alpha, Arch, OctNet};
use support::{double, images, trained};

fn exact(arch: Arch, alpha: impl Into<Alpha>) -> Option<OctNet> {
    trained(arch, |config| config.alpha = alpha.into()).map(double)
}

#[test]
fn folding_keeps_the_logits_of_every_network() {
    for arch in Arch::ALL {
        let three = Alpha::parse_shares("0.5,0.25,0.25").unwrap();
        for alpha in [0.0.into(), 0.5.into(), three] {
            // Not all networks have three frequencies.
            let Some(model) = exact(arch, alpha) else {
                assert!(alpha.has_shares(), "{arch}");
                continue;
            };
            let [height, width] = if arch.is_small() { [11, 13] } else { [37, 45] };
            let images = images([2, height, width]).cast(DType::F64);
            let expected = model.forward(images.clone());
            let folded = model.fold_batch_norm().forward(images);
            let scale = expected.clone().abs().max().into_scalar::<f64>();
            let error = (folded - expected).abs().max().into_scalar::<f64>();
            assert!(
                error <= 1e-9 * scale,
                "{arch} α={alpha}: {error} of {scale}"
            );
        }
    }
}

#[test]
fn post_activation_networks_have_no_norm_left() {
    for arch in Arch::ALL {
        let pre = arch.name().contains("v2") && !arch.name().contains("mobilenet");
        let keeps = pre || arch.name().contains("densenet") || arch.name().contains("wide");
        let folded = exact(arch, 0.5).unwrap().fold_batch_norm();
        assert_eq!(folded.to_string().contains("BatchNorm"), keeps, "{arch}");
        assert!(folded.bn1.is_none(), "{arch}");
    }
}
