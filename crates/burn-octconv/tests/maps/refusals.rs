//! What does not fit together or has no octave form.

use super::*;

#[test]
fn maps_that_do_not_fit_together_are_refused() {
    let new = |groups: Vec<Option<Tensor<4>>>| OctMaps::<2, 4>::new(groups, [9, 6], [true, false]);
    let error = |groups| new(groups).unwrap_err().to_string();
    assert!(error(vec![None, None]).contains("at least one group"));
    let high = || Some(random([2, 3, 9, 6]));
    let wrong = error(vec![high(), Some(random([2, 1, 5, 3]))]);
    assert!(wrong.contains("group 1") && wrong.contains("[2, channels, [5, 6]], not [2, 1, 5, 3]"));
    assert!(error(vec![high(), None, Some(random([1, 1, 3, 6]))]).contains("group 2"));
    let maps = new(vec![high(), None, Some(random([2, 1, 3, 6])), None]).unwrap();
    assert_eq!(maps.channels(), [3, 0, 1]);
    assert_eq!(
        maps.describe(),
        "[2, 3, 9, 6] + nothing + [2, 1, 3, 6] halving [true, false]"
    );

    let layer = MultiOctConv2dConfig::new([4, 4], [3, 3]).init(&device());
    let error = layer.check(&maps).unwrap_err().to_string();
    assert!(error.contains("[2, 2] channels, got [3, 0, 1]"), "{error}");
    let layer = MultiOctConv2dConfig::new([4, 4], [3, 3]).with_shares_in(maps.shares());
    let layer = layer.init(&device());
    let error = layer.check(&maps).unwrap_err().to_string();
    assert!(
        error.contains("halves the axes [true, true], the map [true, false]"),
        "{error}"
    );
    assert!(OctFeatures::try_from(maps).is_err());
    let spectrogram = OctMaps::split(random([1, 4, 8, 8]), &[0.5, 0.5], [true, false]).unwrap();
    assert!(OctFeatures::try_from(spectrogram).is_err());

    let valid = OctConv1dConfig::new([2, 2], [5])
        .with_alpha(0.0)
        .with_padding(PaddingConfig1d::Valid)
        .init(&device());
    let error = valid
        .check(&random([1, 2, 4]).into())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("reads a map of [4]") && error.contains("[5]"),
        "{error}"
    );
}

#[test]
fn configurations_that_have_no_octave_form_are_refused() {
    let line = || OctConv1dConfig::new([8, 8], [3]);
    let volume = || OctConv3dConfig::new([8, 8], [3; 3]);
    let up = || OctConvTranspose2dConfig::new([8, 8], [3, 3]).with_stride([2, 2]);
    for (error, part) in [
        (
            line().with_alpha(1.5).validate(),
            "shares_in are [-0.5, 1.5]",
        ),
        (
            line().with_shares([0.5, 0.4]).validate(),
            "their sum must be 1",
        ),
        (line().with_stride([3]).validate(), "stride is [3]"),
        (
            line().with_octave_axes([false]).validate(),
            "octave_axes are [false]",
        ),
        (line().with_groups(3).validate(), "groups = 3 must divide"),
        (line().with_groups(0).validate(), "groups is 0"),
        (line().with_dilation([0]).validate(), "dilation is [0]"),
        (
            line().with_padding(PaddingConfig1d::Valid).validate(),
            "padding [(0, 0)] does not",
        ),
        (
            line()
                .with_groups(8)
                .with_shares_in([1.0].into())
                .validate(),
            "input is split in [8], its output in [4, 4]",
        ),
        (
            line()
                .with_alpha_in(0.0)
                .with_exchange(Exchange::Neither)
                .validate(),
            "no path reaches group 1",
        ),
        (
            OctConv1dConfig::new([usize::MAX, 8], [3]).validate(),
            "too large",
        ),
        (
            volume().with_stride([1, 2, 4]).validate(),
            "stride is [1, 2, 4]",
        ),
        (
            volume()
                .with_padding(PaddingConfig3d::Explicit(1, 1, 0))
                .validate(),
            "padding [(1, 1), (1, 1), (0, 0)] does not",
        ),
        (
            up().with_padding(Some([0, 0])).validate(),
            "padding ([0, 0], [0, 0]) does not",
        ),
        (
            up().with_strided(true)
                .with_padding(Some([1, 1]))
                .with_padding_out([1, 1])
                .validate(),
            "padding ([1, 1], [1, 1]) does not keep",
        ),
        (
            up().with_alpha_in(0.0)
                .with_exchange(Exchange::Neither)
                .validate(),
            "no path reaches group 1 of the output: with [8] channels in and [4, 4] out",
        ),
        (
            up().with_alpha_in(2.0).validate(),
            "shares_in are [-1.0, 2.0]",
        ),
    ] {
        let error = error.expect_err(part).to_string();
        assert!(error.contains(part), "'{error}' lacks '{part}'");
    }
    // Their own padding, where every path stays aligned.
    for (kernel, padding) in [(2, 0), (4, 1)] {
        OctConvTranspose2dConfig::new([8, 8], [kernel; 2])
            .with_stride([2, 2])
            .with_strided(true)
            .with_padding(Some([padding; 2]))
            .validate()
            .unwrap();
    }
    let wrong = line().init(&device()).with_vanilla(random([8, 4, 3]), None);
    let error = wrong.map(drop).unwrap_err().to_string();
    assert!(
        error.contains("[8, 4, 3]") && error.contains("[8, 8, 3]"),
        "{error}"
    );
}
