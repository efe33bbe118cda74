//! Transposed layers.

use super::*;

#[test]
fn transposed_layers_reach_the_size_that_is_asked_for() {
    let up = OctConvTranspose3dConfig::new([8, 4], [3; 3]).with_stride([1, 2, 2]);
    let up = up.with_shares(THREE).init(&device());
    let x = video(2, 8, [3, 5, 4]);
    let y = up.forward(x.clone());
    assert_eq!(y.size(), [3, 10, 8]);
    assert_eq!(y.channels(), [2, 1, 1]);
    let y = up.forward_to(x.clone(), [3, 9, 7]);
    assert_eq!(y.group(2).unwrap().dims(), [2, 1, 3, 3, 2]);
    let error = up.check(&x, [3, 11, 8]).unwrap_err().to_string();
    assert!(
        error.contains("an output of [3, 11, 8]") && error.contains("an input of [3, 5, 4]"),
        "{error}"
    );
}

/// With the scale of means every path keeps constants, at the border too.
#[test]
fn paths_of_a_transposed_layer_keep_constants_on_the_scale_of_means() {
    let ones = OctMaps::split(
        Tensor::<4>::ones([1, 8, 5, 7], &device()),
        &THREE,
        [true; 2],
    );
    let up = OctConvTranspose2dConfig::new([8, 4], [1, 1])
        .with_stride([2, 2])
        .with_shares(THREE)
        .with_bias(false)
        .with_initializer(burn::nn::Initializer::Ones)
        .with_scale(Scale::Mean)
        .init(&device());
    let y = up.forward_to(ones.unwrap(), [9, 13]).merge();
    equal(y.clone(), Tensor::ones(y.dims(), &device()) * 8.0);
}
