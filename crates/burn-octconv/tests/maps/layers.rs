//! The other layers, and networks of them.

use super::*;

fn two(features: &OctFeatures) -> OctMaps<2, 4> {
    features.clone().into()
}

#[test]
fn layers_over_two_groups_are_those_of_two_frequencies() {
    let x = OctFeatures::split(random([3, 16, 6, 9]), 0.25);
    let shares = [0.75, 0.25];
    let device = device().autodiff();
    let on = |x: &OctFeatures| x.clone().map(|x| x.to_device(&device));

    let norm = OctBatchNormConfig::new(16).with_alpha(0.25).init(&device);
    let maps_norm = OctMapsBatchNormConfig::new(16).with_shares(shares.into());
    let maps_norm = maps_norm.init(&device);
    let expected = norm.forward(on(&x));
    let actual = maps_norm.forward(two(&on(&x)));
    close(actual.merge().inner(), expected.merge().inner());
    let glued = maps_norm.to_batch_norm();
    let vanilla = norm.to_batch_norm();
    close(
        glued.running_var.value_sync().inner(),
        vanilla.running_var.value_sync().inner(),
    );
    let again = OctMapsBatchNorm::from_batch_norm(&glued, &THREE).unwrap();
    assert_eq!(again.groups.len(), 3);
    let again = again.to_batch_norm();
    equal(
        again.running_mean.value_sync(),
        glued.running_mean.value_sync(),
    );
    equal(again.gamma.val(), glued.gamma.val());

    let excite = OctSqueezeExciteConfig::new(16).with_alpha(0.25);
    let excite = excite.with_reduction(4).init(&Device::flex());
    let mut maps_excite = OctMapsSqueezeExciteConfig::new(16)
        .with_shares(shares.into())
        .with_reduction(4)
        .init(&Device::flex());
    maps_excite.squeeze = excite.squeeze.clone();
    maps_excite.excite = vec![excite.excite_high.clone(), excite.excite_low.clone()];
    let expected = excite.forward(x.clone());
    close(maps_excite.forward(two(&x)).merge(), expected.merge());

    let gelu = OctActivation::new(&ActivationConfig::Gelu, &Device::flex());
    let expected = gelu.forward(x.clone());
    equal(gelu.forward_maps(two(&x)).merge(), expected.merge());
    close(two(&x).global_avg_pool(), x.clone().global_avg_pool());
    equal(two(&x).global_max_pool(), x.clone().global_max_pool());
    let pooled = OctFeatures::try_from(two(&x).avg_pool2([true; 2])).unwrap();
    assert_eq!(pooled.describe(), x.clone().avg_pool2().describe());
    equal(pooled.merge(), x.clone().avg_pool2().merge());
    let sum = two(&x) + two(&x);
    equal(sum.merge(), (x.clone() + x).merge());
}

/// Over any axes: a norm sees a map's pixels, not where they lie.
#[test]
fn norms_of_every_kind_over_three_axes() {
    let maps = video(2, 16, [3, 8, 4]);
    for norm in [
        NormalizationConfig::Group(GroupNormConfig::new(2, 0)),
        NormalizationConfig::Instance(InstanceNormConfig::new(0)),
        NormalizationConfig::Layer(LayerNormConfig::new(0)),
    ] {
        let layer = OctMapsNormConfig::new(16, norm.clone()).with_shares(THREE.into());
        let y = layer.init(&device()).forward(maps.clone());
        for level in 0..3 {
            let x = maps.group(level).unwrap().clone();
            let channels = x.dims()[1];
            let own = norm.clone().with_num_features(channels).init(&device());
            let expected = match norm {
                NormalizationConfig::Layer(_) => own
                    .forward(x.permute([0, 2, 3, 4, 1]))
                    .permute([0, 4, 1, 2, 3]),
                _ => own.forward(x),
            };
            close(y.group(level).unwrap().clone(), expected);
        }
    }
    let uneven = NormalizationConfig::Group(GroupNormConfig::new(4, 0));
    let uneven = OctMapsNormConfig::new(8, uneven).with_shares(THREE.into());
    let error = uneven
        .try_init(&device())
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(error.contains("which are [4, 2, 2]"), "{error}");
    let norm = OctMapsBatchNormConfig::new(8).init(&device());
    let error = norm.check(&maps).unwrap_err().to_string();
    assert!(error.contains("[4, 4] channels, got [8, 4, 4]"), "{error}");
    assert!(OctMapsBatchNormConfig::new(0).try_init(&device()).is_err());
    let zero = OctMapsSqueezeExciteConfig::new(8).with_reduction(0);
    assert!(zero.try_init(&device()).is_err());
}

#[test]
fn dropout_and_activations_act_on_every_group() {
    let x = video(1, 8, [2, 8, 8]);
    let relu = x.clone().relu();
    equal(
        relu.group(2).unwrap().clone(),
        activation::relu(x.group(2).unwrap().clone()),
    );
    equal(
        OctDropout::new(0.5).forward_maps(x.clone()).merge(),
        x.clone().merge(),
    );
    let device = Device::flex().autodiff();
    let dropped = OctDropout::new(0.5).forward_maps(x.map(|x| Tensor::ones(x.dims(), &device)));
    for level in 0..3 {
        let zeros = dropped.group(level).unwrap().clone().equal_scalar(0.0);
        let share = zeros.float().mean().into_scalar::<f32>();
        assert!((0.2..0.8).contains(&share), "{share}");
    }
}

/// A user's own network: a decoder with a skip.
#[derive(Module, Debug)]
struct Net {
    first: MultiOctConv2d,
    norm: OctMapsBatchNorm,
    up: burn_octconv::OctConvTranspose2d,
    last: MultiOctConv2d,
}

impl Net {
    fn new(device: &Device) -> Self {
        let conv = |channels| MultiOctConv2dConfig::new(channels, [3, 3]).with_shares(THREE);
        Self {
            first: conv([1, 8]).with_alpha_in(0.0).init(device),
            norm: OctMapsBatchNormConfig::new(8)
                .with_shares(THREE.into())
                .init(device),
            up: OctConvTranspose2dConfig::new([8, 8], [2, 2])
                .with_stride([2, 2])
                .with_shares(THREE)
                .with_scale(Scale::Mean)
                .init(device),
            last: conv([16, 1]).with_alpha_out(0.0).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let skip = self.norm.forward(self.first.forward(x)).relu();
        let down = skip.clone().avg_pool2([true; 2]);
        let up = self.up.forward_to(down, skip.size());
        self.last.forward(up.concat(skip).unwrap()).into_full()
    }
}

#[test]
fn a_network_trains_and_its_record_brings_it_back() {
    let device = device().autodiff();
    let mut net = Net::new(&device);
    // Running statistics count as well.
    let count = net.num_params();
    assert_eq!(count, 8 * 9 + 8 + 4 * 8 + 8 * 8 * 4 + 8 + 16 * 9 + 1);
    let x = random([2, 1, 9, 13]).to_device(&device);
    let mut optimizer = SgdConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..20 {
        let loss = (net.forward(x.clone()) - x.clone()).square().mean();
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(0.1, net, gradients);
    }
    assert!(losses[19] < 0.8 * losses[0], "{losses:?}");

    let net = net.valid();
    let x = x.inner();
    let expected = net.forward(x.clone());
    let record = net.clone().into_record();
    let restored = Net::new(&Device::flex()).load_record(record);
    equal(restored.forward(x), expected);
}

#[test]
fn configurations_are_written_and_read() {
    let config = OctConv3dConfig::new([8, 16], [1, 3, 3])
        .with_shares(THREE)
        .with_stride([1, 2, 2])
        .with_reach(Reach::Neighbours);
    let text = serde_json::to_string(&config).unwrap();
    let again: OctConv3dConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(again.plan().unwrap(), config.plan().unwrap());
    let up = OctConvTranspose1dConfig::new([8, 16], [4]).with_padding(Some([1]));
    let up = up.with_stride([2]).with_strided(true);
    let text = serde_json::to_string(&up).unwrap();
    let again: OctConvTranspose1dConfig = serde_json::from_str(&text).unwrap();
    assert_eq!(again.plan().unwrap(), up.plan().unwrap());
    assert!(again.to_string().contains("padding"));
}

#[test]
fn layers_say_what_they_are() {
    let layer = OctConv3dConfig::new([8, 16], [1, 3, 3])
        .with_shares(THREE)
        .with_stride([1, 2, 2])
        .init(&device());
    let shown = layer.to_string();
    for part in [
        "OctConvNd {ch_in: 8 (4 + 2 + 2), ch_out: 16 (8 + 4 + 4), kernel_size: [1, 3, 3]",
        "stride: [1, 2, 2] (pooled)",
        "octave_axes: [false, true, true], paths: 9, params: 1168}",
    ] {
        assert!(shown.contains(part), "'{shown}' lacks '{part}'");
    }
    let up = OctConvTranspose1dConfig::new([4, 8], [2]).with_stride([2]);
    let shown = up.with_strided(true).init(&device()).to_string();
    assert!(
        shown.contains("ch_in: 4 (2 + 2), ch_out: 8 (4 + 4)"),
        "{shown}"
    );
    assert!(shown.contains("[2] (strided)"), "{shown}");
    assert_eq!(ChannelSplit::new(8, 0.5).unwrap().total(), 8);
}
