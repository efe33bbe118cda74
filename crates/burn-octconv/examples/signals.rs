//! An octave network over one axis: it tells five kinds of generated signals apart, at one, two and
//! three sampling rates.
//!
//! ```sh
//! cargo run --release --example signals
//! ```

use std::time::{Duration, Instant};

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig},
    optim::{AdamConfig, GradientsParams},
    tensor::{Device, Int, Tensor, TensorData},
};
use burn_octconv::{
    OctConv1d, OctConv1dConfig, OctConvError, OctMaps, OctMapsBatchNorm, OctMapsBatchNormConfig,
};

const KINDS: [&str; 5] = ["tone", "rising", "falling", "beating", "clicks"];
const LENGTH: usize = 250;
const BATCH: usize = 20;
const CHANNELS: usize = 64;

#[derive(Module, Debug)]
struct Net {
    convs: Vec<OctConv1d>,
    norms: Vec<OctMapsBatchNorm>,
    classifier: Linear,
}

/// The layers of the network: a plain signal comes in, then every layer has the same shares.
fn layers(shares: &[f64]) -> Vec<OctConv1dConfig> {
    let inner = OctConv1dConfig::new([CHANNELS; 2], [9])
        .with_bias(false)
        .with_shares(shares);
    let first = OctConv1dConfig::new([1, CHANNELS], [9])
        .with_bias(false)
        .with_alpha_in(0.0)
        .with_shares_out(shares.into());
    vec![
        first,
        inner.clone().with_stride([2]),
        inner.clone().with_stride([2]),
        inner,
    ]
}

impl Net {
    fn new(shares: &[f64], device: &Device) -> Result<Self, OctConvError> {
        let layers = layers(shares);
        let norm = OctMapsBatchNormConfig::new(CHANNELS).with_shares(shares.into());
        let convs = layers.iter().map(|layer| layer.try_init(device));
        Ok(Self {
            convs: convs.collect::<Result<_, _>>()?,
            norms: (layers.iter().map(|_| norm.init(device))).collect(),
            classifier: LinearConfig::new(CHANNELS, KINDS.len()).init(device),
        })
    }

    /// `[batch, 1, length]` to `[batch, kinds]`.
    fn forward(&self, signals: Tensor<3>) -> Tensor<2> {
        let layers = self.convs.iter().zip(&self.norms);
        let x = layers.fold(OctMaps::from(signals), |x, (conv, norm)| {
            norm.forward(conv.forward(x)).relu()
        });
        self.classifier.forward(x.global_avg_pool())
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

/// A signal of a kind, under noise.
fn signal(kind: usize, random: &mut Random) -> Vec<f32> {
    let (start, phase, rate) = (random.next(), random.next(), random.next());
    let frequency = 0.05 + 0.05 * rate;
    let value = |i: usize| {
        let t = i as f32;
        let along = t / LENGTH as f32;
        let turns = match kind {
            // The phase is the integral of the frequency.
            1 => frequency * t * (0.4 + 0.6 * along),
            2 => frequency * t * (1.6 - 0.6 * along),
            _ => frequency * t,
        };
        let wave = (std::f32::consts::TAU * (turns + phase)).sin();
        match kind {
            3 => wave * (std::f32::consts::TAU * (3.0 * along + start)).sin(),
            4 if (i + (40.0 * start) as usize) % 40 < 2 => 3.0 * wave.signum(),
            4 => 0.3 * wave,
            _ => wave,
        }
    };
    let clean: Vec<f32> = (0..LENGTH).map(value).collect();
    let noise = |x: f32| x + 2.0 * (random.next() - 0.5);
    clean.into_iter().map(noise).collect()
}

fn batch(random: &mut Random, device: &Device) -> (Tensor<3>, Tensor<1, Int>) {
    let kinds: Vec<i64> = (0..BATCH).map(|i| (i % KINDS.len()) as i64).collect();
    let signals = kinds.iter().flat_map(|&kind| signal(kind as usize, random));
    let signals = TensorData::new(signals.collect::<Vec<f32>>(), [BATCH, 1, LENGTH]);
    let kinds = TensorData::new(kinds, [BATCH]);
    (
        Tensor::from_data(signals, device),
        Tensor::from_data(kinds, device),
    )
}

/// Trains a network; returns the share of new signals that it names, and how long it trained.
fn train(shares: &[f64], steps: usize) -> Result<(f64, Duration), OctConvError> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut net = Net::new(shares, &device)?;
    let mut random = Random(1);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut optimizer = AdamConfig::new().init();
    let start = Instant::now();
    for _ in 0..steps {
        let (signals, kinds) = batch(&mut random, &device);
        let loss = loss.forward(net.forward(signals), kinds);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(5e-3, net, gradients);
    }
    let took = start.elapsed();

    let (net, device) = (net.valid(), Device::flex());
    let mut right = 0.0;
    for _ in 0..8 {
        let (signals, kinds) = batch(&mut random, &device);
        let guesses: Tensor<1, Int> = net.forward(signals).argmax(1).squeeze_dim(1);
        right += guesses.equal(kinds).float().mean().into_scalar::<f64>() / 8.0;
    }
    Ok((right, took))
}

fn main() -> Result<(), OctConvError> {
    // So that the first network does not pay for what is set up once.
    train(&[1.0], 1)?;
    println!("{} kinds of signals: {}", KINDS.len(), KINDS.join(", "));
    println!("shares            right    multiply-adds     training");
    let mut vanilla = None;
    for shares in [&[1.0][..], &[0.5, 0.5], &[0.5, 0.25, 0.25]] {
        let mut size = [LENGTH];
        let mut macs = 0;
        for layer in layers(shares) {
            macs += layer.cost(size)?.macs.total();
            size = layer.plan()?.output_size(size);
        }
        let (right, took) = train(shares, 60)?;
        let (all, time) = *vanilla.get_or_insert((macs, took));
        println!(
            "{:<16} {:>5.1} %   {:>5.2} M, {:>5.1} %   {:.2} s, {:.0} %",
            format!("{shares:?}"),
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
