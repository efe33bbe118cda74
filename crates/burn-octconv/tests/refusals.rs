//! What `OctConv2d` and `OctFeatures` refuse, by what value and with what advice.

use burn::{
    nn::{Initializer, PaddingConfig2d},
    tensor::{Device, Distribution, Tensor},
};
use burn_octconv::{Downsample, Exchange, FeatureError, OctConv2dConfig, OctFeatures};

fn random(dims: [usize; 4]) -> Tensor<4> {
    Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), &Device::flex())
}

#[test]
fn illegal_configurations_are_refused_with_the_value_and_the_fix() {
    let base = || OctConv2dConfig::new([8, 8], [3, 3]);
    let nan = f64::NAN;
    let table: Vec<(OctConv2dConfig, &str)> = vec![
        (base().with_alpha_in(1.5), "alpha_in is 1.5"),
        (base().with_alpha_out(-0.1), "alpha_out is -0.1"),
        (base().with_alpha_in(nan), "alpha_in is NaN"),
        (OctConv2dConfig::new([0, 8], [3, 3]), "channels is [0, 8]"),
        (
            OctConv2dConfig::new([8, 8], [3, 0]),
            "kernel_size is [3, 0]",
        ),
        (base().with_dilation([0, 1]), "dilation is [0, 1]"),
        (base().with_groups(0), "groups is 0"),
        (base().with_stride([3, 3]), "stride is [3, 3]"),
        (base().with_stride([1, 2]), "stride is [1, 2]"),
        (
            OctConv2dConfig::new([1 << 40, 1 << 20], [3, 3]),
            "channels is [1099511627776, 1048576] with kernel_size 3×3: too large",
        ),
        (
            OctConv2dConfig::new([1, 1], [usize::MAX, 1]),
            "channels is [1, 1] with kernel_size 18446744073709551615×1: too large",
        ),
        (
            base().with_dilation([1, usize::MAX / 2]),
            "dilation is [1, 9223372036854775807] with kernel_size 3×3: too large",
        ),
        (
            base().with_dilation([usize::MAX / 2, 1]),
            "dilation is [9223372036854775807, 1] with kernel_size 3×3: too large",
        ),
        (
            base().with_padding(PaddingConfig2d::Explicit(0, usize::MAX, 0, 0)),
            "padding is Explicit(0, 18446744073709551615, 0, 0): too large",
        ),
        (
            base().with_initializer(Initializer::Uniform { min: 1.0, max: 1.0 }),
            "initializer is Uniform { min: 1.0, max: 1.0 }: min must be less than max",
        ),
        (
            base().with_initializer(Initializer::Uniform {
                min: 0.0,
                max: 1e39,
            }),
            "both finite in f32",
        ),
        (
            base().with_initializer(Initializer::Uniform {
                min: -3e38,
                max: 3e38,
            }),
            "both finite in f32",
        ),
        (
            base().with_initializer(Initializer::Normal {
                mean: 0.0,
                std: -1.0,
            }),
            "std not negative",
        ),
        (
            base().with_initializer(Initializer::Normal {
                mean: nan,
                std: 1.0,
            }),
            "mean and std must be finite",
        ),
        (
            base().with_initializer(Initializer::Normal {
                mean: 0.0,
                std: 1e39,
            }),
            "mean and std must be finite",
        ),
        (
            base().with_initializer(Initializer::XavierUniform { gain: 0.0 }),
            "the gain must lie between 1e-30 and 1e30",
        ),
        (
            base().with_initializer(Initializer::XavierNormal { gain: -1.0 }),
            "the gain must lie between 0 and 1e30",
        ),
        (
            base().with_initializer(Initializer::Orthogonal { gain: 1.0 }),
            "use with_bias(false)",
        ),
        (
            base().with_padding(PaddingConfig2d::Valid),
            "use PaddingConfig2d::Same",
        ),
        (
            base().with_padding(PaddingConfig2d::Explicit(2, 1, 0, 1)),
            "[(2, 0), (1, 1)] does not keep",
        ),
        (
            base().with_groups(4).with_alpha_in(0.25),
            "high in 6, low in 2, high out 4, low out 4",
        ),
        (
            base().with_groups(8).with_alpha_in(0.25),
            "alpha_in = 0.25 must equal alpha_out = 0.5",
        ),
        (
            base().with_alpha_in(0.0).with_exchange(Exchange::Neither),
            "need the H→L path, which is switched off",
        ),
        (
            base().with_alpha_in(1.0).with_exchange(Exchange::HighToLow),
            "need the L→H path, which is switched off",
        ),
    ];
    for (config, part) in table {
        let error = config.try_init(&Device::flex()).map(drop).expect_err(part);
        assert!(error.to_string().contains(part), "'{error}' lacks '{part}'");
        // Compared as text, since NaN is not equal to itself.
        let validated = config.validate().unwrap_err();
        assert_eq!(validated.to_string(), error.to_string());
    }
}

/// Every initialisation that is let through can be drawn from, also at the edge of what is legal.
#[test]
fn legal_initialisations_can_be_drawn() {
    let table = [
        Initializer::Constant { value: 2.0 },
        Initializer::Ones,
        Initializer::Zeros,
        Initializer::Uniform {
            min: -1e38,
            max: 1e38,
        },
        Initializer::Normal {
            mean: 1e38,
            std: 0.0,
        },
        Initializer::KaimingUniform {
            gain: 1e-30,
            fan_out_only: true,
        },
        Initializer::KaimingUniform {
            gain: 1e30,
            fan_out_only: false,
        },
        Initializer::KaimingNormal {
            gain: 0.0,
            fan_out_only: false,
        },
        Initializer::XavierUniform { gain: 1e30 },
        Initializer::XavierNormal { gain: 1e30 },
        Initializer::Orthogonal { gain: -1.0 },
    ];
    for initializer in table {
        let config = OctConv2dConfig::new([6, 8], [3, 3]).with_initializer(initializer.clone());
        let layer = config.with_bias(false).init(&Device::flex());
        let weights = layer.h2l.expect("there is H→L").val();
        assert_eq!(weights.dims(), [4, 3, 3, 3]);
        let finite = weights.is_finite().all().into_scalar::<bool>();
        assert!(finite, "{initializer:?}");
    }
}

#[test]
fn maps_smaller_than_the_kernel_are_named() {
    let config = |kernel| {
        OctConv2dConfig::new([2, 2], kernel)
            .with_padding(PaddingConfig2d::Explicit(0, 1, 1, 0))
            .with_dilation([2, 1])
            .with_stride([2, 2])
    };
    let device = &Device::flex();
    let check = |config: OctConv2dConfig, input: OctFeatures| {
        let layer = config.init(device);
        layer.check(&input).map_err(|error| error.to_string())
    };
    let high = |h, w| OctFeatures::from(random([1, 2, h, w]));
    let low = |h: usize, w: usize| {
        OctFeatures::from_low(random([1, 2, h.div_ceil(2), w.div_ceil(2)]), [h, w])
    };
    let paths = [
        // Pooled once, at half the resolution, and pooled twice.
        ("H→H", 0.0, 0.0, 7, 3),
        ("H→L", 0.0, 1.0, 13, 5),
        ("L→H", 1.0, 0.0, 7, 3),
        ("L→L", 1.0, 1.0, 13, 5),
    ];
    // An extent of 5×3, with one row and one column of padding.
    for (path, alpha_in, alpha_out, height, width) in paths {
        let config = config([3, 3])
            .with_alpha_in(alpha_in)
            .with_alpha_out(alpha_out);
        let input = |h, w| {
            if alpha_in == 0.0 {
                high(h, w)
            } else {
                low(h, w)
            }
        };
        assert_eq!(check(config.clone(), input(height, width)), Ok(()));
        config.init(device).forward(input(height, width));
        let error = check(config.clone(), input(height - 1, width)).unwrap_err();
        assert_eq!(
            error,
            format!(
                "the {path} path reads a map of [3, 2], which with padding (top, bottom), (left, \
                 right) = [(0, 1), (1, 0)] is smaller than the extent [5, 3] of the dilated kernel"
            )
        );
        let error = check(config, input(height, width - 1)).unwrap_err();
        assert!(error.contains("a map of [4, 1]"), "{error}");
    }

    // The strided H→L reads the pooled map itself, the strided layer the input.
    let down = config([3, 3]).with_alpha_in(0.0).with_alpha_out(1.0);
    let down = down.with_downsample(Downsample::Strided);
    assert_eq!(check(down.clone(), high(7, 3)), Ok(()));
    let error = check(down.clone(), high(6, 3)).unwrap_err();
    assert!(error.contains("a map of [3, 2]"), "{error}");
    assert_eq!(check(down.with_strided(true), high(4, 2)), Ok(()));

    // `Same` fits any map but an empty one.
    let same = OctConv2dConfig::new([2, 2], [7, 7]).with_alpha(0.0);
    assert_eq!(check(same.clone(), high(1, 1)), Ok(()));
    let error = check(same, high(1, 0)).unwrap_err();
    assert!(error.contains("a map of [1, 0]"), "{error}");
}

#[test]
#[should_panic(expected = "stride is [4, 4]")]
fn init_panics_with_the_message_of_the_error() {
    let config = OctConv2dConfig::new([8, 8], [3, 3]).with_stride([4, 4]);
    config.init(&Device::flex());
}

#[test]
fn features_that_do_not_fit_name_both_shapes() {
    let layer = OctConv2dConfig::new([8, 8], [3, 3]).init(&Device::flex());
    let error = layer.check(&random([1, 8, 4, 4]).into()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected 4 high-frequency and 4 low-frequency channels, got 8 and 0: \
         the previous layer's alpha_out must equal this layer's alpha_in"
    );

    let error = OctFeatures::try_new(
        Some(random([2, 4, 7, 6])),
        Some(random([2, 4, 3, 3])),
        [7, 6],
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "a low-frequency group for a full resolution of [7, 6] has shape \
         [2, channels, 4, 3], not [2, 4, 3, 3]"
    );
    assert_eq!(
        OctFeatures::try_new(None, None, [1, 1]).unwrap_err(),
        FeatureError::Empty
    );

    let both = OctFeatures::new(random([1, 2, 4, 4]), random([1, 2, 2, 2]));
    let error = both
        .try_zip_with(random([1, 2, 4, 4]).into(), Tensor::add)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "feature maps differ: high [1, 2, 4, 4] + low [1, 2, 2, 2] and high [1, 2, 4, 4]"
    );
}
