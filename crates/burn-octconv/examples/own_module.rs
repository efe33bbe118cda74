//! Octave convolutions in a network of one's own: it learns to tell vertical from horizontal
//! stripes under noise.
//!
//! ```sh
//! cargo run --release --example own_module
//! ```

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig},
    optim::{GradientsParams, SgdConfig},
    tensor::{Device, Distribution, Int, Tensor, TensorData},
};
use burn_octconv::{OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConv2dConfig};

#[derive(Module, Debug)]
struct Net {
    first: OctConv2d,
    norm: OctBatchNorm,
    second: OctConv2d,
    classifier: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            // Reads a plain tensor, and gives 8 channels at full and 8 at half resolution.
            first: OctConv2dConfig::new([1, 16], [3, 3])
                .with_alpha_in(0.0)
                .init(device),
            norm: OctBatchNormConfig::new(16).init(device),
            second: OctConv2dConfig::new([16, 16], [3, 3]).init(device),
            classifier: LinearConfig::new(16, 2).init(device),
        }
    }

    /// `[batch, 1, height, width]` to `[batch, 2]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = self.norm.forward(self.first.forward(images)).relu();
        let x = self.second.forward(x).relu();
        // The mean of every channel, whatever its resolution.
        self.classifier.forward(x.global_avg_pool())
    }
}

const IMAGES: usize = 32;
const SIZE: usize = 15;

/// Stripes of 3 pixels: of odd images vertical, of even ones horizontal.
fn stripes(device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let pixel = |index: usize| {
        let (image, row, column) = (index / (SIZE * SIZE), index / SIZE % SIZE, index % SIZE);
        let along = if image % 2 == 1 { column } else { row };
        if (along + image) / 3 % 2 == 0 {
            1.0
        } else {
            -1.0
        }
    };
    let values: Vec<f32> = (0..IMAGES * SIZE * SIZE).map(pixel).collect();
    let images = Tensor::from_data(TensorData::new(values, [IMAGES, 1, SIZE, SIZE]), device);
    let noise = Tensor::random(images.shape(), Distribution::Normal(0.0, 1.0), device);
    let labels: Vec<i64> = (0..IMAGES as i64).map(|image| image % 2).collect();
    let labels = Tensor::from_data(TensorData::new(labels, [IMAGES]), device);
    (images + noise, labels)
}

fn main() {
    let device = Device::flex().autodiff();
    let mut net = Net::new(&device);
    println!("{net}");
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut optimizer = SgdConfig::new().init();
    for step in 0..60 {
        let (images, labels) = stripes(&device);
        let loss = loss.forward(net.forward(images), labels);
        if step % 10 == 0 {
            println!("step {step}: loss {:.3}", loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(0.1, net, gradients);
    }

    let (images, labels) = stripes(&device);
    let guesses: Tensor<1, Int> = net
        .valid()
        .forward(images.without_autodiff())
        .argmax(1)
        .squeeze_dim(1);
    let right = guesses.equal(labels.without_autodiff()).int().sum();
    let right = right.into_scalar::<i64>();
    println!("{right} of {IMAGES} new images are told apart");
    assert!(
        right as usize > IMAGES * 9 / 10,
        "the network has not learned"
    );
}
