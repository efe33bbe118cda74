//! The program of `docs/tutorial.md`: a network of octave layers, trained with burn-train's own
//! learner, then measured with and without the engine.
//!
//! ```sh
//! cargo run --release --bin tutorial
//! ```

use std::time::Instant;

use burn::{
    data::{
        dataloader::{DataLoaderBuilder, batcher::Batcher},
        dataset::{Dataset, DatasetError},
    },
    module::Module,
    nn::{
        BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
        loss::CrossEntropyLossConfig,
    },
    optim::SgdConfig,
    tensor::{Device, Int, Tensor, TensorData},
    train::{
        ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
        metric::{AccuracyMetric, LossMetric},
        renderer::{CliMetricsRenderer, MetricsRenderer},
    },
};
use burn_octconv::{
    OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConv2dConfig,
    ops::{
        conv2d,
        norm::{Activation, batch_norm},
        without_engine,
    },
};

#[derive(Module, Debug)]
struct Net {
    stem: Conv2d,
    stem_norm: BatchNorm,
    first: OctConv2d,
    first_norm: OctBatchNorm,
    middle: OctConv2d,
    middle_norm: OctBatchNorm,
    last: OctConv2d,
    last_norm: OctBatchNorm,
    classifier: Linear,
}

impl Net {
    fn new(alpha: f64, device: &Device) -> Self {
        let conv = |channels| OctConv2dConfig::new(channels, [3, 3]).with_bias(false);
        let norm = |channels| OctBatchNormConfig::new(channels).with_alpha(alpha);
        Self {
            stem: Conv2dConfig::new([1, 16], [3, 3])
                .with_padding(PaddingConfig2d::Same)
                .init(device),
            stem_norm: BatchNormConfig::new(16).init(device),
            // Reads a plain tensor, gives two frequencies.
            first: conv([16, 32])
                .with_alpha_in(0.0)
                .with_alpha_out(alpha)
                .init(device),
            first_norm: norm(32).init(device),
            // Two frequencies in and out, at half the height and width.
            middle: conv([32, 64])
                .with_alpha(alpha)
                .with_stride([2, 2])
                .init(device),
            middle_norm: norm(64).init(device),
            // Gives a plain tensor again.
            last: conv([64, 64])
                .with_alpha_in(alpha)
                .with_alpha_out(0.0)
                .init(device),
            last_norm: OctBatchNormConfig::new(64).with_alpha(0.0).init(device),
            classifier: LinearConfig::new(64, CLASSES).init(device),
        }
    }

    /// `[batch, 1, height, width]` to `[batch, CLASSES]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        // Vanilla layers of Burn's own, on the engine as well.
        let x = conv2d(&self.stem, images);
        let x = batch_norm(&self.stem_norm, x, None, Activation::Relu);
        let x = self.first_norm.forward(self.first.forward(x)).relu();
        let x = self.middle_norm.forward(self.middle.forward(x)).relu();
        let x = self.last_norm.forward(self.last.forward(x)).relu();
        self.classifier.forward(x.global_avg_pool())
    }
}

#[derive(Clone, Debug)]
struct Batch {
    images: Tensor<4>,
    targets: Tensor<1, Int>,
}

impl Net {
    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.forward(batch.images);
        let loss = CrossEntropyLossConfig::new().init(&output.device());
        let loss = loss.forward(output.clone(), batch.targets.clone());
        ClassificationOutput::new(loss, output, batch.targets)
    }
}

impl TrainStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let item = self.classify(batch);
        TrainOutput::new(self, item.loss.backward(), item)
    }
}

impl InferenceStep for Net {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

fn train(data: [Stripes; 2], device: &Device) -> Net {
    let device = device.clone().autodiff();
    let [train, valid] = data.map(|stripes| {
        DataLoaderBuilder::new(StripesBatcher)
            .batch_size(32)
            .shuffle(1)
            .set_device(device.clone())
            .build(stripes)
    });
    device.seed(1);
    let learner = Learner::new(Net::new(0.5, &device), SgdConfig::new().init(), 0.1);
    let folder = std::env::temp_dir().join("burn-octconv-tutorial");
    let training = SupervisedTraining::new(folder, train, valid)
        .metrics((LossMetric::new(), AccuracyMetric::new()))
        .renderer(Box::new(CliMetricsRenderer::new()) as Box<dyn MetricsRenderer>)
        .num_epochs(4);
    training.launch(learner).model
}

fn main() {
    let device = Device::flex();
    let net = train(
        [
            Stripes {
                images: 512,
                seed: 0,
            },
            Stripes {
                images: 128,
                seed: 1,
            },
        ],
        &device,
    );

    let images = Stripes {
        images: 64,
        seed: 2,
    }
    .batch(&device)
    .images;
    let timed = |name, forward: &(dyn Fn() -> Tensor<2> + Sync)| {
        forward();
        let start = Instant::now();
        let logits = forward();
        println!("{name}: {:.1} ms", 1e3 * start.elapsed().as_secs_f64());
        logits
    };
    let engine = timed("on the engine", &|| net.forward(images.clone()));
    let composed = timed("of Burn's operations", &|| {
        without_engine(|| net.forward(images.clone()))
    });

    let difference = (engine - composed).abs().max().into_scalar::<f32>();
    println!("largest difference of the logits: {difference:.1e}");
    assert!(difference < 1e-4, "the two forms disagree");
    let accuracy = accuracy(
        &net,
        Stripes {
            images: 256,
            seed: 3,
        }
        .batch(&device),
    );
    println!("{:.0} % of 256 new images are told apart", 100.0 * accuracy);
    assert!(accuracy > 0.9, "the network has not learned");
}

fn accuracy(net: &Net, batch: Batch) -> f32 {
    let guesses = net.forward(batch.images).argmax(1).squeeze_dim::<1>(1);
    guesses.equal(batch.targets).float().mean().into_scalar()
}

/// Horizontal, vertical and diagonal stripes under noise.
const CLASSES: usize = 3;
const SIZE: usize = 32;

struct Stripes {
    images: usize,
    seed: u64,
}

impl Stripes {
    fn batch(&self, device: &Device) -> Batch {
        let items = (0..self.images).map(|index| self.item(index)).collect();
        StripesBatcher.batch(items, device)
    }

    /// The pixels of an image, and its class.
    fn item(&self, index: usize) -> (Vec<f32>, usize) {
        let class = index % CLASSES;
        let mut random = (self.seed << 32) | (index as u64 + 1);
        let pixels = (0..SIZE * SIZE).map(|pixel| {
            let (row, column) = (pixel / SIZE, pixel % SIZE);
            let along = [row, column, row + column][class] + index;
            let stripe = if (along / 3).is_multiple_of(2) {
                1.0
            } else {
                -1.0
            };
            // xorshift, <https://www.jstatsoft.org/article/view/v008i14>
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            stripe + 2.0 * (random as f32 / u64::MAX as f32 - 0.5) * 2.0
        });
        (pixels.collect(), class)
    }
}

impl Dataset<(Vec<f32>, usize)> for Stripes {
    fn get(&self, index: usize) -> Result<(Vec<f32>, usize), DatasetError> {
        Ok(self.item(index))
    }

    fn len(&self) -> usize {
        self.images
    }
}

#[derive(Clone)]
struct StripesBatcher;

impl Batcher<(Vec<f32>, usize), Batch> for StripesBatcher {
    fn batch(&self, items: Vec<(Vec<f32>, usize)>, device: &Device) -> Batch {
        let (pixels, classes): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        let count = pixels.len();
        let images = TensorData::new(pixels.concat(), [count, 1, SIZE, SIZE]);
        let targets: Vec<i64> = classes.into_iter().map(|class| class as i64).collect();
        Batch {
            images: Tensor::from_data(images, device),
            targets: Tensor::from_data(TensorData::new(targets, [count]), device),
        }
    }
}
