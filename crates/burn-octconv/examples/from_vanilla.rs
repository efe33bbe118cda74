//! A vanilla layer becomes an octave layer and comes back, and what that saves.
//!
//! ```sh
//! cargo run --release --example from_vanilla
//! ```

use burn::{
    nn::{PaddingConfig2d, conv::Conv2dConfig},
    tensor::{Device, Tensor},
};
use burn_octconv::{OctConv2d, OctConv2dConfig, OctConvError, OctFeatures};

fn main() -> Result<(), OctConvError> {
    let device = Device::flex();
    let vanilla = Conv2dConfig::new([64, 64], [3, 3])
        .with_padding(PaddingConfig2d::Same)
        .init(&device);

    // The last quarter of the channels becomes the low frequency, on both sides.
    let octave = OctConv2d::from_conv2d(&vanilla, 0.25, 0.25)?;
    println!("{octave}");
    let back = octave.to_conv2d();
    assert_eq!(
        back.weight.val().into_data(),
        vanilla.weight.val().into_data()
    );

    // On a smooth image both compute nearly the same: what the low channels lose is fine detail.
    let [height, width] = [32, 48];
    let ramp = |length: usize, axis: usize| {
        let ramp = Tensor::<1, burn::tensor::Int>::arange(0..length as i64, &device).float();
        let ramp = (ramp / length as f64).sin();
        match axis {
            2 => ramp.reshape([1, 1, length, 1]),
            _ => ramp.reshape([1, 1, 1, length]),
        }
    };
    let image: Tensor<4> = ramp(height, 2) + ramp(width, 3);
    let image = image.repeat_dim(1, 64);
    let expected = vanilla.forward(image.clone());
    let actual = octave.forward(OctFeatures::split(image, 0.25)).merge();
    let error = (actual - expected.clone()).abs().mean() / expected.abs().mean();
    let error = error.into_scalar::<f32>();
    println!(
        "on a smooth map the results differ by {:.2} %",
        100.0 * error
    );
    assert!(error < 0.1);

    for alpha in [0.0, 0.25, 0.5] {
        let cost = OctConv2dConfig::new([64, 64], [3, 3])
            .with_alpha(alpha)
            .cost([height, width])?;
        println!(
            "alpha {alpha}: {} parameters, {} multiply-adds, {} output elements",
            cost.params,
            cost.macs.total(),
            cost.activations
        );
    }
    Ok(())
}
