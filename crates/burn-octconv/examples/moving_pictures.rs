//! An octave network over three axes: it tells which way a square moves in short generated videos.
//! Lower frequencies have half the height and width, but every frame, as in the Oct-I3D of the paper.
//!
//! ```sh
//! cargo run --release --example moving_pictures
//! ```

use std::time::{Duration, Instant};

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig},
    optim::{AdamConfig, GradientsParams},
    tensor::{Device, Int, Tensor, TensorData},
};
use burn_octconv::{
    OctConv3d, OctConv3dConfig, OctConvError, OctMaps, OctMapsBatchNorm, OctMapsBatchNormConfig,
};

const WAYS: [(&str, [i32; 2]); 5] = [
    ("still", [0, 0]),
    ("up", [-1, 0]),
    ("down", [1, 0]),
    ("left", [0, -1]),
    ("right", [0, 1]),
];
const FRAMES: usize = 6;
const SIZE: usize = 20;
const BATCH: usize = 10;
const CHANNELS: usize = 16;

#[derive(Module, Debug)]
struct Net {
    convs: Vec<OctConv3d>,
    norms: Vec<OctMapsBatchNorm>,
    classifier: Linear,
}

/// The layers of the network; the last one halves height and width.
fn layers(alpha: f64) -> Vec<OctConv3dConfig> {
    let inner = OctConv3dConfig::new([CHANNELS; 2], [3, 3, 3])
        .with_bias(false)
        .with_alpha(alpha);
    let first = OctConv3dConfig::new([1, CHANNELS], [3, 3, 3])
        .with_bias(false)
        .with_alpha_in(0.0)
        .with_alpha_out(alpha);
    vec![first, inner.clone(), inner.with_stride([1, 2, 2])]
}

impl Net {
    fn new(alpha: f64, device: &Device) -> Result<Self, OctConvError> {
        let layers = layers(alpha);
        let norm = OctMapsBatchNormConfig::new(CHANNELS).with_shares([1.0 - alpha, alpha].into());
        let convs = layers.iter().map(|layer| layer.try_init(device));
        Ok(Self {
            convs: convs.collect::<Result<_, _>>()?,
            norms: (layers.iter().map(|_| norm.init(device))).collect(),
            classifier: LinearConfig::new(CHANNELS, WAYS.len()).init(device),
        })
    }

    /// `[batch, 1, frames, height, width]` to `[batch, ways]`.
    fn forward(&self, videos: Tensor<5>) -> Tensor<2> {
        let layers = self.convs.iter().zip(&self.norms);
        let x = layers.fold(OctMaps::from(videos), |x, (conv, norm)| {
            norm.forward(conv.forward(x)).relu()
        });
        // The largest value of every channel: a square is somewhere.
        self.classifier.forward(x.global_max_pool())
    }
}

/// A small generator of numbers in [0, 1) (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
    }
}

/// A square of 5 pixels that moves by two pixels a frame, around the border, under noise.
fn video(way: usize, random: &mut Random) -> Vec<f32> {
    let size = SIZE as i32;
    let (_, step) = WAYS[way];
    let start = [(); 2].map(|()| (random.next() * SIZE as f32) as i32);
    let inside = |axis: usize, at: usize, frame: usize| {
        let corner = start[axis] + 2 * frame as i32 * step[axis];
        (at as i32 - corner).rem_euclid(size) < 5
    };
    let pixels = (0..FRAMES * SIZE * SIZE).map(|i| {
        let (frame, row, column) = (i / (SIZE * SIZE), i / SIZE % SIZE, i % SIZE);
        f32::from(u8::from(inside(0, row, frame) && inside(1, column, frame)))
    });
    let pixels: Vec<f32> = pixels.collect();
    let noise = |x: f32| x + random.next() - 0.5;
    pixels.into_iter().map(noise).collect()
}

fn batch(random: &mut Random, device: &Device) -> (Tensor<5>, Tensor<1, Int>) {
    let ways: Vec<i64> = (0..BATCH).map(|i| (i % WAYS.len()) as i64).collect();
    let videos = ways.iter().flat_map(|&way| video(way as usize, random));
    let videos = TensorData::new(videos.collect::<Vec<f32>>(), [BATCH, 1, FRAMES, SIZE, SIZE]);
    let ways = TensorData::new(ways, [BATCH]);
    (
        Tensor::from_data(videos, device),
        Tensor::from_data(ways, device),
    )
}

/// Trains a network; returns the share of new videos that it names, and how long it trained.
fn train(alpha: f64, steps: usize) -> Result<(f64, Duration), OctConvError> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut net = Net::new(alpha, &device)?;
    let mut random = Random(1);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut optimizer = AdamConfig::new().init();
    let start = Instant::now();
    for _ in 0..steps {
        let (videos, ways) = batch(&mut random, &device);
        let loss = loss.forward(net.forward(videos), ways);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(1e-2, net, gradients);
    }
    let took = start.elapsed();

    let (net, device) = (net.valid(), Device::flex());
    let mut right = 0.0;
    for _ in 0..10 {
        let (videos, ways) = batch(&mut random, &device);
        let guesses: Tensor<1, Int> = net.forward(videos).argmax(1).squeeze_dim(1);
        right += guesses.equal(ways).float().mean().into_scalar::<f64>() / 10.0;
    }
    Ok((right, took))
}

fn main() -> Result<(), OctConvError> {
    // So that the first network does not pay for what is set up once.
    train(0.0, 1)?;
    println!(
        "which way a square moves: {}",
        WAYS.map(|(way, _)| way).join(", ")
    );
    println!("alpha    right    multiply-adds      training");
    let mut vanilla = None;
    for alpha in [0.0, 0.5] {
        let mut size = [FRAMES, SIZE, SIZE];
        let mut macs = 0;
        for layer in layers(alpha) {
            macs += layer.cost(size)?.macs.total();
            size = layer.plan()?.output_size(size);
        }
        let (right, took) = train(alpha, 40)?;
        let (all, time) = *vanilla.get_or_insert((macs, took));
        println!(
            "{alpha:<6} {:>5.1} %   {:>5.1} M, {:>5.1} %   {:.2} s, {:.0} %",
            100.0 * right,
            macs as f64 / 1e6,
            100.0 * macs as f64 / all as f64,
            took.as_secs_f64(),
            100.0 * took.as_secs_f64() / time.as_secs_f64(),
        );
        assert!(right > 0.8, "the network has not learned");
    }
    Ok(())
}
