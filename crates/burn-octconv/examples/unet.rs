//! An octave U-Net: it finds discs and crosses in generated pictures, pixel by pixel, with transposed
//! octave convolutions on the way up and skips that keep both frequencies.
//!
//! ```sh
//! cargo run --release --example unet
//! ```

use std::time::{Duration, Instant};

use burn::{
    module::Module,
    nn::loss::CrossEntropyLossConfig,
    optim::{AdamConfig, GradientsParams},
    tensor::{Device, Int, Tensor, TensorData},
};
use burn_octconv::{
    MapsError, OctBatchNorm, OctBatchNormConfig, OctConv2d, OctConv2dConfig, OctConvTranspose2d,
    OctConvTranspose2dConfig, OctFeatures, Scale,
};

const HEIGHT: usize = 30;
const WIDTH: usize = 46;
const BATCH: usize = 8;
/// Background, disc, cross.
const KINDS: usize = 3;

/// A convolution, a norm and an activation.
#[derive(Module, Debug)]
struct Block {
    conv: OctConv2d,
    norm: OctBatchNorm,
}

impl Block {
    fn new(channels: [usize; 2], [alpha_in, alpha_out]: [f64; 2], device: &Device) -> Self {
        Self {
            conv: OctConv2dConfig::new(channels, [3, 3])
                .with_alpha_in(alpha_in)
                .with_alpha_out(alpha_out)
                .with_bias(false)
                .init(device),
            norm: OctBatchNormConfig::new(channels[1])
                .with_alpha(alpha_out)
                .init(device),
        }
    }

    fn forward(&self, x: impl Into<OctFeatures>) -> OctFeatures {
        self.norm.forward(self.conv.forward(x)).relu()
    }
}

/// On the way up: to twice the resolution, beside the map of the way down, and a block over both.
#[derive(Module, Debug)]
struct Up {
    up: OctConvTranspose2d,
    block: Block,
}

impl Up {
    fn new(channels: [usize; 2], alpha: f64, device: &Device) -> Self {
        let [deep, shallow] = channels;
        Self {
            up: OctConvTranspose2dConfig::new([deep, shallow], [3, 3])
                .with_stride([2, 2])
                .with_alpha(alpha)
                .with_scale(Scale::Mean)
                .init(device),
            block: Block::new([2 * shallow, shallow], [alpha; 2], device),
        }
    }

    fn forward(&self, x: OctFeatures, skip: OctFeatures) -> Result<OctFeatures, MapsError> {
        // The size of the skip: of two sizes that are pooled to the same it is the right one.
        let up = self.up.forward_to(x, skip.size());
        Ok(self.block.forward(OctFeatures::try_from(up)?.concat(skip)?))
    }
}

#[derive(Module, Debug)]
struct UNet {
    top: Block,
    middle: Block,
    bottom: Block,
    up_middle: Up,
    up_top: Up,
    last: OctConv2d,
}

impl UNet {
    fn new(alpha: f64, device: &Device) -> Self {
        Self {
            top: Block::new([1, 12], [0.0, alpha], device),
            middle: Block::new([12, 24], [alpha; 2], device),
            bottom: Block::new([24, 48], [alpha; 2], device),
            up_middle: Up::new([48, 24], alpha, device),
            up_top: Up::new([24, 12], alpha, device),
            last: OctConv2dConfig::new([12, KINDS], [1, 1])
                .with_alpha_in(alpha)
                .with_alpha_out(0.0)
                .init(device),
        }
    }

    /// `[batch, 1, height, width]` to `[batch · height · width, kinds]`.
    fn forward(&self, pictures: Tensor<4>) -> Result<Tensor<2>, MapsError> {
        let top = self.top.forward(pictures);
        let middle = self.middle.forward(top.clone().avg_pool2());
        let bottom = self.bottom.forward(middle.clone().avg_pool2());
        let x = self.up_middle.forward(bottom, middle)?;
        let x = self.up_top.forward(x, top)?;
        let logits = self.last.forward(x).into_high();
        let pixels = logits.permute([0, 2, 3, 1]);
        Ok(pixels.reshape([-1, KINDS as i32]))
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

/// A picture with a disc and a cross of any brightness under noise, and the kind of each pixel.
fn picture(random: &mut Random) -> (Vec<f32>, Vec<i64>) {
    let mut shape = || {
        let radius = 4.0 + 4.0 * random.next();
        let centre = [HEIGHT, WIDTH].map(|size| size as f32 * random.next());
        (radius, centre, 0.6 + random.next())
    };
    let (disc, cross) = (shape(), shape());
    let kind = |row: usize, column: usize| {
        let apart = |centre: [f32; 2]| [row as f32 - centre[0], column as f32 - centre[1]];
        let ([y, x], [v, u]) = (apart(disc.1), apart(cross.1));
        match () {
            () if y.hypot(x) < disc.0 => 1,
            // A bar across and one down.
            () if v.abs().max(u.abs()) < cross.0 && v.abs().min(u.abs()) < 0.3 * cross.0 => 2,
            () => 0,
        }
    };
    let kinds = (0..HEIGHT * WIDTH).map(|i| kind(i / WIDTH, i % WIDTH));
    let kinds: Vec<i64> = kinds.collect();
    let brightness = [0.0, disc.2, cross.2];
    let pixels = kinds.iter().map(|&kind| brightness[kind as usize]);
    let pixels = pixels.map(|x| x + 0.8 * (random.next() - 0.5)).collect();
    (pixels, kinds)
}

fn batch(random: &mut Random, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let pictures = (0..BATCH).map(|_| picture(random));
    let (pixels, kinds): (Vec<_>, Vec<_>) = pictures.unzip();
    let pixels = TensorData::new(pixels.concat(), [BATCH, 1, HEIGHT, WIDTH]);
    let kinds = TensorData::new(kinds.concat(), [BATCH * HEIGHT * WIDTH]);
    (
        Tensor::from_data(pixels, device),
        Tensor::from_data(kinds, device),
    )
}

/// Trains a network, and says how long it took.
fn train(alpha: f64, steps: usize) -> Result<(UNet, Duration), MapsError> {
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut net = UNet::new(alpha, &device);
    let mut random = Random(1);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let mut optimizer = AdamConfig::new().init();
    let start = Instant::now();
    for _ in 0..steps {
        let (pictures, kinds) = batch(&mut random, &device);
        let loss = loss.forward(net.forward(pictures)?, kinds);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(5e-3, net, gradients);
    }
    Ok((net.valid(), start.elapsed()))
}

/// Intersection over union of discs and crosses on new pictures, and the first of them as found.
fn test(net: &UNet) -> Result<([f64; 2], Vec<i64>), MapsError> {
    let (device, mut random) = (Device::flex(), Random(2));
    let (mut common, mut either, mut first) = ([0.0; 2], [0.0; 2], None);
    for _ in 0..4 {
        let (pictures, kinds) = batch(&mut random, &device);
        let found: Tensor<1, Int> = net.forward(pictures)?.argmax(1).squeeze_dim(1);
        for (i, kind) in [1, 2].into_iter().enumerate() {
            let [a, b] = [&found, &kinds].map(|x| x.clone().equal_elem(kind).float());
            let both = (a.clone() * b.clone()).sum().into_scalar::<f64>();
            common[i] += both;
            either[i] += (a + b).sum().into_scalar::<f64>() - both;
        }
        first.get_or_insert(found.narrow(0, 0, HEIGHT * WIDTH));
    }
    let first = first.expect("there was a batch").into_data();
    let first = first.convert::<i64>().try_to_vec().expect("whole numbers");
    Ok(([0, 1].map(|i| common[i] / either[i]), first))
}

fn main() -> Result<(), MapsError> {
    // So that the first network does not pay for what is set up once.
    train(0.0, 1)?;
    let mut vanilla = None;
    let mut drawn = Vec::new();
    println!("alpha   disc IoU    cross IoU   training");
    for alpha in [0.0, 0.5] {
        let (net, took) = train(alpha, 150)?;
        let ([disc, cross], first) = test(&net)?;
        let time = *vanilla.get_or_insert(took);
        println!(
            "{alpha:<6} {:>7.1} % {:>10.1} %   {:.2} s, {:.0} %",
            100.0 * disc,
            100.0 * cross,
            took.as_secs_f64(),
            100.0 * took.as_secs_f64() / time.as_secs_f64(),
        );
        assert!(disc.min(cross) > 0.5, "the network has not learned");
        drawn = first;
    }
    println!("a new picture, as the octave network finds it:");
    for row in drawn.chunks(WIDTH) {
        let row = row.iter().map(|&kind| ['.', 'o', '+'][kind as usize]);
        println!("  {}", row.collect::<String>());
    }
    Ok(())
}
