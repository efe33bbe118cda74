//! Building a network in its inference form: what is refused, and maps that belong elsewhere.
#![cfg(feature = "flex")]

use burn::{
    nn::{LinearConfig, PaddingConfig2d, conv::Conv2dConfig},
    tensor::{Device, Tensor},
};
use burn_octconv::{
    Downsample, OctConv2d, OctConv2dConfig, Refusal,
    infer::{Epilogue, NetworkBuilder, OctMap},
    ops::norm::Activation,
};

fn conv(change: impl FnOnce(OctConv2dConfig) -> OctConv2dConfig) -> OctConv2d {
    change(OctConv2dConfig::new([8, 8], [3, 3])).init(&Device::flex())
}

/// A builder with a map of two frequencies.
fn begin() -> (NetworkBuilder, OctMap) {
    let mut net = NetworkBuilder::default();
    let stem = Conv2dConfig::new([3, 8], [3, 3])
        .with_padding(PaddingConfig2d::Same)
        .init(&Device::flex());
    let x = net.stem(&stem, Activation::Relu, false).unwrap();
    let first = conv(|c| c.with_alpha_in(0.0));
    let x = net.conv(x, &first, Epilogue::relu()).unwrap();
    (net, x)
}

#[test]
fn a_map_of_another_builder_is_refused() {
    let (mut net, x) = begin();
    let (other, foreign) = begin();
    let layer = conv(|c| c);
    let fc = LinearConfig::new(8, 2).init(&Device::flex());
    let last = conv(|c| c.with_alpha_out(0.0));

    let panics = |work: &mut dyn FnMut()| {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let payload = caught.expect_err("a foreign map is taken");
        let text = payload.downcast_ref::<&str>().copied().unwrap_or_default();
        assert!(text.contains("another NetworkBuilder"), "{text}");
    };
    panics(&mut || drop(net.conv(foreign, &layer, Epilogue::relu())));
    let residual = Epilogue {
        residual: Some(foreign),
        ..Epilogue::default()
    };
    panics(&mut || drop(net.conv(x, &layer, residual)));
    let projection = Epilogue {
        projection: Some((foreign, &layer)),
        ..Epilogue::default()
    };
    panics(&mut || drop(net.conv(x, &layer, projection)));
    panics(&mut || drop(net.max_pool(foreign)));

    // The builder goes on with its own.
    let x = net.conv(x, &last, Epilogue::relu()).unwrap();
    let mut other = Some(other);
    panics(&mut || drop(other.take().unwrap().finish(x, &fc)));
    let network = net.finish(x, &fc).unwrap();
    let logits = network.forward(&Tensor::ones([2, 3, 9, 7], &Device::flex()));
    assert_eq!(logits.unwrap().dims(), [2, 2]);
}

#[test]
fn refusals_name_the_reason() {
    let (mut net, x) = begin();
    let mut refusal = |layer: &OctConv2d| net.conv(x, layer, Epilogue::relu()).unwrap_err();
    let max = conv(|c| c.with_downsample(Downsample::Max));
    assert_eq!(refusal(&max), Refusal::Downsample);
    let strided = conv(|c| c.with_stride([2, 2]).with_strided(true));
    assert_eq!(refusal(&strided), Refusal::Strided);
    // Another split of the channels than the map has.
    let other = conv(|c| c.with_alpha_in(0.25));
    assert_eq!(refusal(&other), Refusal::Shape);
    let tracked = OctConv2dConfig::new([8, 8], [3, 3]).init(&Device::flex().autodiff());
    assert_eq!(refusal(&tracked), Refusal::Tracked);
    let depthwise = conv(|c| c.with_groups(8));
    let residual = Epilogue {
        residual: Some(x),
        ..Epilogue::default()
    };
    let refused = net.conv(x, &depthwise, residual).unwrap_err();
    assert_eq!(refused, Refusal::Epilogue);
    assert_eq!(net.max_pool(x).unwrap_err(), Refusal::Pooling);
}
