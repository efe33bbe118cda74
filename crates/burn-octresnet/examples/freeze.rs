//! Fine-tuning: a network gets a new classifier, everything else is frozen.
//!
//! ```sh
//! cargo run --release --example freeze
//! ```

use burn::{
    module::Module,
    nn::loss::CrossEntropyLossConfig,
    optim::{GradientsParams, SgdConfig},
    tensor::{Device, Distribution, Tensor},
};
use burn_octresnet::model::{Arch, ModelError, OctNet, OctNetConfig, Stem};

fn main() -> Result<(), ModelError> {
    let device = Device::flex().autodiff();
    let config = OctNetConfig {
        stem: Stem::Small,
        width: 0.125,
        zero_init_residual: true,
        ..OctNetConfig::new(Arch::OctResNet26, 1000)
    };
    // In earnest this would be a network with trained weights.
    let pretrained = config.try_init(&device)?;

    // `freeze` also keeps the statistics of the norms; `no_grad` would go on to gather them.
    let frozen = pretrained.freeze();
    // A new classifier, which is trained.
    let mut net = frozen.with_classes(2)?;
    let before = net.clone();

    let images = Tensor::random([8, 3, 32, 32], Distribution::Default, &device);
    let labels = Tensor::from_data([0, 1, 0, 1, 0, 1, 0, 1], &device);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut optimizer = SgdConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..5 {
        let loss = loss.forward(net.forward(images.clone()), labels.clone());
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        assert_eq!(gradients.len(), 2, "weight and bias of the classifier");
        net = optimizer.step(0.05, net, gradients);
    }
    println!("loss {losses:.3?}");
    assert!(losses[4] < losses[0]);

    let kernel = |net: &OctNet| net.conv1.weight.val().into_data();
    assert_eq!(kernel(&net), kernel(&before));
    let mean = |net: &OctNet| {
        let norm = net
            .bn1
            .as_ref()
            .expect("an Oct-ResNet-26 has a norm in its stem");
        norm.running_mean.value_sync().into_data()
    };
    assert_eq!(mean(&net), mean(&before));
    println!("only the classifier has changed");
    Ok(())
}
