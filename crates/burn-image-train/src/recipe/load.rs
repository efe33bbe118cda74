use std::path::Path;

use serde_json::Value;

use super::Recipe;
use crate::{classifier::Classifier, error::TrainError, files, text::printable};

impl<C: Classifier> Recipe<C> {
    /// Reads a recipe.
    ///
    /// # Errors
    ///
    /// [`TrainError::Recipe`] with the file, the place and the reason, and
    /// [`TrainError::Setting`] for a value out of its range.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let text = files::read_text(path).map_err(TrainError::io("read the recipe", path))?;
        Self::from_json(&text, path)
    }

    /// Reads a recipe that is no file of its own; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), but for those of reading a file.
    pub fn from_json(text: &str, name: impl AsRef<Path>) -> Result<Self, TrainError> {
        let checked = parse(text).and_then(|recipe: Self| {
            let valid = recipe.validate().map_err(|error| error.to_string());
            valid.map(|()| recipe)
        });
        checked.map_err(|message| TrainError::Recipe {
            path: name.as_ref().to_path_buf(),
            message: printable(&message),
        })
    }
}

/// Reads the text twice: as a recipe for errors that know their line, and as plain JSON to lay it
/// over the default run, so that a section given in part keeps the default run's other values.
fn parse<C: Classifier>(text: &str) -> Result<Recipe<C>, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed: Result<Recipe<C>, _> = serde_path_to_error::deserialize(&mut deserializer);
    parsed.map_err(|error| {
        let place = error.path().to_string();
        let reason = error.into_inner();
        match place.as_str() {
            // The path of an unknown name ends at the section, the reason has the name.
            "." | "" => reason.to_string(),
            place => format!("`{place}`: {reason}"),
        }
    })?;
    deserializer.end().map_err(|error| error.to_string())?;
    let given: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut whole =
        serde_json::to_value(Recipe::<C>::default()).map_err(|error| error.to_string())?;
    overlay(&mut whole, given);
    serde_json::from_value(whole).map_err(|error| error.to_string())
}

/// Puts `over` over `base`, name by name. A section of another kind replaces the whole section.
fn overlay(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            if over
                .get("kind")
                .is_some_and(|kind| base.get("kind") != Some(kind))
            {
                *base = over;
                return;
            }
            for (name, value) in over {
                overlay(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

#[cfg(test)]
mod tests {
    use crate::{optimizer::OptimizerConfig, schedule::ScheduleConfig, testing::TestConfig};

    type Recipe = super::Recipe<TestConfig>;

    fn parse(text: &str) -> Result<Recipe, String> {
        super::parse(text)
    }

    #[test]
    fn what_is_left_out_is_as_in_the_default_run() {
        let recipe =
            parse(r#"{"data": {"train": {"size": 96}}, "optimizer": {"kind": "sgd", "lr": 0.05}}"#)
                .unwrap();
        let mut expected = Recipe::default();
        expected.data.train.size = 96;
        expected.optimizer.set_lr(0.05);
        assert_eq!(recipe, expected);
        assert_eq!(parse("{}").unwrap(), Recipe::default());
    }

    #[test]
    fn another_kind_starts_from_its_own_defaults() {
        let recipe =
            parse(r#"{"optimizer": {"kind": "adamw"}, "schedule": {"kind": "constant"}}"#).unwrap();
        assert!(matches!(recipe.optimizer, OptimizerConfig::AdamW { lr, .. } if lr == 0.001));
        assert_eq!(recipe.schedule, ScheduleConfig::Constant {});
    }

    #[test]
    fn errors_name_the_key_and_the_line() {
        let cases = [
            ("{\n \"epoch\": 3}", &["epoch", "epochs", "line 2"][..]),
            (
                "{\n \"data\": {\"batch_size\": \"x\"}}",
                &["data.batch_size", "line 2"],
            ),
            (
                "{\n\n \"optimizer\": {\"kind\": \"sgd\", \"beta1\": 0.5}}",
                &["optimizer", "beta1", "line 3"],
            ),
            (
                "{\"model\": {\"channels\": \"many\"}}",
                &["model.channels", "line 1"],
            ),
            ("{\"device\": \"gpu\"}", &["device", "gpu", "cuda"]),
            ("{\"epochs\": 3", &["line 1"]),
            ("{} {}", &["line 1"]),
            ("", &["line 1"]),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            for part in expected {
                assert!(error.contains(part), "{error:?} lacks {part:?}");
            }
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
