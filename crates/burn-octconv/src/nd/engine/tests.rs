//! Which layers the engine computes as a whole; what it computes is compared elsewhere.

use burn::tensor::Device;

use super::*;
use crate::{
    MapTensor, MultiOctConv2dConfig, OctConv1dConfig, OctConv3dConfig, OctConvNd,
    OctConvTranspose1dConfig, OctConvTranspose2dConfig, OctConvTranspose3dConfig,
    OctConvTransposeNd, nd::layer::values, ops::without_engine,
};

fn zeros<const D: usize, const R: usize>(
    plan_channels: &[usize],
    size: [usize; D],
    octave_axes: [bool; D],
    batch: usize,
) -> OctMaps<D, R>
where
    Tensor<R>: MapTensor<D>,
{
    let groups = plan_channels.iter().enumerate().map(|(level, &channels)| {
        let mut dims = [batch; R];
        dims[1] = channels;
        for axis in 0..D {
            let halvings = if octave_axes[axis] { level } else { 0 };
            dims[2 + axis] = size[axis].div_ceil(1 << halvings);
        }
        (channels > 0).then(|| Tensor::zeros(dims, &Device::flex()))
    });
    OctMaps::new(groups.collect(), size, octave_axes).expect("groups of one map")
}

fn convolves<const D: usize, const R: usize>(conv: &OctConvNd<D, R>, size: [usize; D]) -> bool
where
    Tensor<R>: MapTensor<D>,
{
    let x = zeros(&conv.plan.input, size, conv.plan.octave_axes, 2);
    let (kernels, biases) = values(&conv.kernels, &conv.biases);
    convolve(&conv.plan, &x, &kernels, &biases).is_some()
}

fn transposes<const D: usize, const R: usize>(
    layer: &OctConvTransposeNd<D, R>,
    size: [usize; D],
) -> bool
where
    Tensor<R>: MapTensor<D>,
{
    let plan = &layer.plan;
    let y = zeros(&plan.output, plan.output_size(size), plan.octave_axes, 2);
    let (kernels, biases) = values(&layer.kernels, &layer.biases);
    transpose(plan, &y, &kernels, &biases, (size, layer.scale)).is_some()
}

#[test]
fn convolutions_of_up_to_four_frequencies_are_the_engines() {
    let device = Device::flex();
    for (shares, has) in [
        (vec![1.0], true),
        (vec![0.5, 0.5], true),
        (vec![0.5, 0.25, 0.25], true),
        (vec![0.25; 4], true),
        (vec![0.25, 0.25, 0.25, 0.125, 0.125], false),
    ] {
        let plane = MultiOctConv2dConfig::new([16, 16], [3, 3]).with_shares(shares.clone());
        let plane = plane.init(&device);
        assert_eq!(convolves(&plane, [13, 24]), has, "2d, {shares:?}");
        let line = OctConv1dConfig::new([16, 16], [5]).with_shares(shares.clone());
        assert_eq!(convolves(&line.init(&device), [37]), has, "1d, {shares:?}");
        let video = OctConv3dConfig::new([16, 16], [3, 3, 3]).with_shares(shares.clone());
        assert_eq!(
            convolves(&video.init(&device), [3, 13, 24]),
            has,
            "3d, {shares:?}"
        );
        assert!(!without_engine(|| convolves(&plane, [13, 24])));
    }
}

#[test]
fn transposed_layers_over_one_and_two_axes_are_the_engines() {
    let device = Device::flex();
    let shares = vec![0.5, 0.25, 0.25];
    for stride in [1, 2] {
        let config = OctConvTranspose2dConfig::new([16, 16], [3, 3]);
        let config = config.with_shares(shares.clone()).with_stride([stride; 2]);
        let adjoint = config.clone().init(&device);
        let mean = config.with_scale(Scale::Mean).init(&device);
        assert!(transposes(&adjoint, [13, 24]) && transposes(&adjoint, [16, 24]));
        // At an odd border an average is no multiple of a sum.
        assert!(!transposes(&mean, [13, 24]) && transposes(&mean, [16, 24]));
    }
    let line = OctConvTranspose1dConfig::new([16, 16], [5]).with_shares(shares.clone());
    assert!(transposes(&line.init(&device), [37]));
    let video = OctConvTranspose3dConfig::new([16, 16], [3, 3, 3]).with_shares(shares);
    assert!(!transposes(&video.init(&device), [3, 12, 24]));
}
