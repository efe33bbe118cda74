use super::*;
use crate::testing::TestConfig;

type Recipe = super::Recipe<TestConfig>;

#[test]
fn a_recipe_survives_its_json() {
    let recipe = Recipe {
        output: Some("somewhere".into()),
        model: TestConfig { channels: 3 },
        // With digits that take exact arithmetic to read.
        ema: Some(0.9556395672092627),
        ..Default::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, recipe.to_json()).unwrap();
    assert_eq!(Recipe::load(&path).unwrap(), recipe);
}

#[test]
fn impossible_values_are_named() {
    type Change = fn(&mut Recipe);
    let cases: [(Change, &str); 17] = [
        (|r| r.mixup = -0.1, "`mixup` is -0.1"),
        (|r| r.cutmix = f64::INFINITY, "`cutmix` is inf"),
        (|r| r.dropout = 1.0, "`dropout` is 1"),
        (|r| r.accumulate = 0, "`accumulate` is 0"),
        (|r| r.clip_norm = Some(0.0), "`clip_norm` is 0"),
        (|r| r.ema = Some(1.0), "`ema` is 1"),
        (|r| r.checkpoint_every = Some(0), "`checkpoint_every` is 0"),
        (
            |r| r.freeze = vec!["layer9".into()],
            "`freeze` is \"layer9\"",
        ),
        (
            |r| r.layer_lr = [("fc".into(), -1.0)].into(),
            "`layer_lr.fc` is -1",
        ),
        (|r| r.epochs = 0, "`epochs` is 0"),
        (|r| r.label_smoothing = 1.0, "`label_smoothing` is 1"),
        (|r| r.data.batch_size = 0, "`data.batch_size` is 0"),
        (|r| r.data.train.size = 0, "`data.train.size` is 0"),
        (|r| r.data.val.crop_ratio = 0.0, "`data.val.crop_ratio`"),
        (|r| r.data.val_fraction = 1.0, "`data.val_fraction` is 1"),
        (|r| r.optimizer.set_lr(f64::NAN), "`optimizer.lr` is NaN"),
        (|r| r.model.channels = 0, "`model.channels` is 0"),
    ];
    for (change, expected) in cases {
        let mut recipe = Recipe::default();
        change(&mut recipe);
        let error = recipe.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn a_batch_that_fits_is_the_largest_that_does() {
    let mut recipe = Recipe::default();
    let cost = recipe.model.cost(12, [64, 64]).unwrap();
    for devices in ["flex", "flex,flex"] {
        recipe.device = devices.parse().unwrap();
        recipe.data.batch_size = 256;
        let whole = recipe.memory(&cost);
        assert_eq!(recipe.batch_size_within(&cost, whole), 256);
        assert_eq!(recipe.batch_size_within(&cost, u64::MAX), 256);
        let fits = recipe.batch_size_within(&cost, whole / 2);
        recipe.data.batch_size = fits;
        assert!(fits > 0 && recipe.memory(&cost) <= whole / 2, "{fits}");
        recipe.data.batch_size += 2;
        assert!(recipe.memory(&cost) > whole / 2, "{fits}");
        assert_eq!(recipe.batch_size_within(&cost, 1000), 0);
    }
}

#[test]
fn a_difference_is_one_that_changes_what_is_computed() {
    let recipe = Recipe::default();
    let mut other = recipe.clone();
    other.epochs += 1;
    other.data.workers = 7;
    other.data.path = "elsewhere".into();
    assert_eq!(recipe.difference(&other), None);
    other.data.batch_size = 64;
    let (field, mine, its) = recipe.difference(&other).unwrap();
    assert_eq!(
        (field.as_str(), mine.as_str(), its.as_str()),
        ("data.batch_size", "16", "64")
    );
}
