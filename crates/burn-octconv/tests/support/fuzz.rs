//! From arbitrary text to an octave convolution: what must hold on the way, whatever the text is.
//! Shared by the test of this name and by the target under `fuzz/`.

use burn::{
    config::Config,
    nn::PaddingConfig2d,
    tensor::{Device, Tensor},
};
use burn_octconv::{OctConv2dConfig, OctFeatures};

use super::case::{Case, forward_error};

/// The largest error against the reference, relative to sums of magnitudes. Rounding of f32 stays
/// below 1e-6 for the few thousand products here; a wrong pixel or divisor shows as 1e-3 and more.
const TOLERANCE: f64 = 1e-5;

/// How far a text came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is no configuration.
    Malformed,
    /// Building the layer returned a typed error.
    Refused,
    /// Legal, but too large to be run here.
    Large,
    /// The layer said that the input does not fit.
    Misfit,
    /// The layer ran.
    Ran,
}

/// Reads `text` as a configuration, builds the layer, and runs it on a small map.
///
/// # Panics
///
/// If anything breaks its documentation.
pub fn check(text: &str) -> Outcome {
    let Ok(config) = OctConv2dConfig::load_binary(text.as_bytes()) else {
        return Outcome::Malformed;
    };
    let device = &Device::flex();
    let layer = match config.try_init(device) {
        Ok(layer) => layer,
        Err(error) => {
            let again = config.validate().expect_err("refused once, refused always");
            assert_eq!(again.to_string(), error.to_string());
            return Outcome::Refused;
        }
    };
    let again = burn::config::config_to_json(&config);
    OctConv2dConfig::load_binary(again.as_bytes()).expect("what was written can be read");

    let size = [1 + text.len() % 7, 1 + text.len() / 7 % 6];
    let work = work(&config, size);
    if !work.fits(1 << 22) {
        return Outcome::Large;
    }
    let cost = config.cost(size).expect("a legal configuration");
    assert_eq!(cost.params, burn::module::Module::num_params(&layer) as u64);

    let input = |channels: usize, [height, width]: [usize; 2]| {
        (channels > 0).then(|| Tensor::ones([1, channels, height, width], device))
    };
    let low_size = size.map(|s| s.div_ceil(2));
    let features = OctFeatures::try_new(
        input(layer.input().high, size),
        input(layer.input().low, low_size),
        size,
    )
    .expect("the groups fit together");
    if layer.check(&features).is_err() {
        return Outcome::Misfit;
    }
    let output = layer.forward(features);
    assert_eq!(output.channels(), [layer.output().high, layer.output().low]);
    if config.padding == PaddingConfig2d::Same {
        assert_eq!(output.size(), config.output_size(size));
    }
    // The reference takes its time.
    if work.fits(1 << 14) {
        let case = Case {
            config,
            batch: 1,
            size,
            seed: text.len() as u64,
        };
        let error = forward_error(&case, &case.options(), device);
        assert!(error.is_some_and(|error| error < TOLERANCE), "{error:?}");
    }
    Outcome::Ran
}

/// What a layer takes to run.
struct Work {
    products: u128,
    pixels: u128,
    channels: u128,
}

impl Work {
    /// Whether the layer can be run with so many products, and small maps.
    fn fits(&self, products: u128) -> bool {
        self.products < products && self.pixels < 1 << 16 && self.channels < 1 << 10
    }
}

/// Counted before anything is allocated, in a type that nothing overflows.
fn work(config: &OctConv2dConfig, size: [usize; 2]) -> Work {
    let wide = |x: usize| u128::try_from(x).expect("usize is smaller");
    let product = |values: [usize; 2]| wide(values[0]).saturating_mul(wide(values[1]));
    let weights = product(config.channels).saturating_mul(product(config.kernel_size));
    let reach = [0, 1].map(|axis| {
        let explicit = match config.padding {
            PaddingConfig2d::Explicit(top, left, bottom, right) => {
                [(top, bottom), (left, right)][axis]
            }
            _ => (0, 0),
        };
        let kernel = wide(config.kernel_size[axis]).saturating_mul(wide(config.dilation[axis]));
        wide(size[axis])
            .saturating_add(kernel)
            .saturating_add(wide(explicit.0))
            .saturating_add(wide(explicit.1))
    });
    let pixels = reach[0].saturating_mul(reach[1]);
    let products = (weights / wide(config.groups)).saturating_mul(pixels);
    let channels = config.channels.into_iter().max().map_or(0, wide);
    Work {
        products,
        pixels,
        channels,
    }
}
