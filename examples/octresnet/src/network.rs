//! The networks of `burn-octresnet` as what `burn-image-train` trains: the two know nothing of each
//! other, and meet here.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_image_train::{Baseline, Classifier, Cost, NetworkError, Start};
use burn_octresnet::{
    model::{Alpha, Arch, OctNet, OctNetConfig, Stem, Stride},
    weights::{Checkpoint, WeightsError},
};
use serde::{Deserialize, Serialize};

pub(crate) type Recipe = burn_image_train::Recipe<ModelRecipe>;

/// The network of a recipe.
///
/// Not an [`OctNetConfig`]: the number of classes comes from the images, and what a recipe leaves
/// out is as in the default run. Nor flattened into one: serde then neither refuses unknown fields
/// nor says where a fault is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ModelRecipe {
    /// Which network of the family.
    pub(crate) arch: Arch,
    /// Share of low-frequency channels: a number, or three for the first three stages; or the shares of
    /// more than two frequencies.
    pub(crate) alpha: Alpha,
    /// How the stages take stride 2: auto, pooled or strided.
    pub(crate) stride: Stride,
    /// The layers before the first stage.
    pub(crate) stem: Stem,
    /// Factor on all channel counts.
    pub(crate) width: f64,
    /// Whether every block starts as the identity.
    pub(crate) zero_init_residual: bool,
}

impl ModelRecipe {
    /// The network for a number of classes.
    pub(crate) fn config(&self, num_classes: usize) -> OctNetConfig {
        OctNetConfig {
            alpha: self.alpha,
            stride: self.stride,
            stem: self.stem,
            width: self.width,
            zero_init_residual: self.zero_init_residual,
            ..OctNetConfig::new(self.arch, num_classes)
        }
    }
}

impl Default for ModelRecipe {
    fn default() -> Self {
        Self {
            arch: Arch::OctResNet26,
            alpha: Alpha::Uniform(0.5),
            stride: Stride::Auto,
            stem: Stem::Imagenet,
            width: 0.5,
            zero_init_residual: true,
        }
    }
}

impl Classifier for ModelRecipe {
    type Network = OctNet;

    fn init(&self, classes: usize, device: &Device) -> Result<OctNet, NetworkError> {
        Ok(self.config(classes).try_init(device)?)
    }

    fn features(network: &OctNet, images: Tensor<4>) -> Tensor<2> {
        network.forward_pooled(images)
    }

    fn classify(network: &OctNet, features: Tensor<2>) -> Tensor<2> {
        network.fc.forward(features)
    }

    fn for_inference(network: OctNet) -> impl Fn(Tensor<4>) -> Tensor<2> {
        let network = network.fold_batch_norm();
        move |images| network.forward(images)
    }

    /// PyTorch, safetensors, burnpack, or the folder of a run, also of another α, with other classes or
    /// without a classifier.
    fn init_from(
        &self,
        start: Start<'_>,
        classes: usize,
        device: &Device,
    ) -> Result<OctNet, NetworkError> {
        let checkpoint = open(start.path, start.key, start.allow_nan)?;
        let (network, notes) = checkpoint.start(&self.config(classes), device)?;
        notes.iter().for_each(|note| log::warn!("{note}"));
        Ok(network)
    }

    fn validate(&self) -> Result<(), NetworkError> {
        Ok(self.config(1).validate()?)
    }

    fn cost(&self, classes: usize, size: [usize; 2]) -> Option<Cost> {
        let cost = self.config(classes).cost(size).ok()?;
        Some(Cost {
            params: cost.params,
            macs: cost.macs.total(),
            activations: cost.activations,
        })
    }

    fn baseline(&self) -> Option<Baseline<Self>> {
        Some(Baseline {
            config: Self {
                alpha: Alpha::Uniform(0.0),
                stride: Stride::Auto,
                ..self.clone()
            },
            name: "vanilla",
            about: "the same network with α = 0 and strided convolutions",
        })
    }

    fn describe(&self) -> String {
        let Self {
            arch, alpha, width, ..
        } = self;
        let stride = stride_words(self.stride);
        format!("{arch} with α = {alpha}{stride}, width {width}")
    }
}

/// What is said of a stride beside α: nothing of the usual one.
pub(crate) fn stride_words(stride: Stride) -> String {
    match stride {
        Stride::Auto => String::new(),
        stride => format!(", stride {stride}"),
    }
}

/// Opens a checkpoint as the flags say.
pub(crate) fn open(
    path: &Path,
    key: Option<&str>,
    allow_nan: bool,
) -> Result<Checkpoint, WeightsError> {
    let checkpoint = Checkpoint::open(path)?.with_nan(allow_nan);
    match key {
        Some(key) => checkpoint.with_key(key),
        None => Ok(checkpoint),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use serde_json::Value;

    use super::*;

    fn config(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../configs")
            .join(name)
    }

    #[test]
    fn the_recipes_are_complete_and_valid() {
        let mut count = 0;
        for entry in fs::read_dir(config("")).unwrap() {
            let path = entry.unwrap().path();
            let recipe = Recipe::load(&path).unwrap();
            assert!(
                !recipe.about.is_empty() && !recipe.expected.is_empty(),
                "{path:?}"
            );
            // What decides a run is said and not left to the default run.
            let text = fs::read_to_string(&path).unwrap();
            let given: Value = serde_json::from_str(&text).unwrap();
            let decisive = [
                "/model/arch",
                "/model/alpha",
                "/model/stem",
                "/model/width",
                "/data/path",
                "/data/batch_size",
                "/data/train/size",
                "/data/val/size",
                "/optimizer/lr",
                "/optimizer/weight_decay",
                "/schedule/kind",
                "/label_smoothing",
                "/epochs",
            ];
            for place in decisive {
                assert!(given.pointer(place).is_some(), "{path:?} lacks {place}");
            }
            assert!(!text.contains("TODO"), "{path:?}");
            count += 1;
        }
        assert!(count >= 26);
    }

    #[test]
    fn networks_that_cannot_be_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.json");
        let cases = [
            (r#"{"alpha": "half"}"#, &["model.alpha", "0.5"][..]),
            (r#"{"arch": "resnet"}"#, &["model.arch", "oct-resnet-26"]),
            (r#"{"alpha": 1.5}"#, &["1.5"]),
            (r#"{"width": 0.0}"#, &["width is 0"]),
            (r#"{"num_classes": 3}"#, &["num_classes"]),
            (r#"{"stride": "both"}"#, &["model.stride", "pooled"]),
            (
                r#"{"arch": "oct-densenet-121", "stride": "pooled"}"#,
                &["oct-densenet-121", "'auto'"],
            ),
        ];
        for (model, expected) in cases {
            fs::write(&path, format!("{{\"model\": {model}}}")).unwrap();
            let error = Recipe::load(&path).unwrap_err().to_string();
            for part in expected {
                assert!(error.contains(part), "{error:?} lacks {part:?}");
            }
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_network_per_stage_survives_the_json_of_its_recipe() {
        let mut recipe = Recipe::default();
        recipe.model.alpha = Alpha::PerStage([0.5, 0.25, 0.125]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, recipe.to_json()).unwrap();
        assert_eq!(Recipe::load(&path).unwrap(), recipe);
    }

    #[test]
    fn parts_are_named_as_the_layers_whose_cost_is_counted() {
        let recipe = ModelRecipe::default();
        let parts = recipe.parts().unwrap();
        for layer in recipe.config(1).layer_costs([64, 64]).unwrap() {
            assert!(parts.contains(&layer.name), "{}", layer.name);
        }
    }
}
