//! The recipes that come with the program, so that one can be asked for by its name in any folder.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::network::Recipe;

/// Names and texts, in ascending order of the names.
static RECIPES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/recipes.rs"));

/// The names of all recipes, in ascending order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    RECIPES.iter().map(|(name, _)| *name)
}

/// The text of a recipe.
pub(crate) fn text(name: &str) -> Option<&'static str> {
    let place = RECIPES.binary_search_by(|(known, _)| (*known).cmp(name));
    place.ok().map(|place| RECIPES[place].1)
}

/// Reads the recipe in a file, or else the one of that name.
///
/// # Errors
///
/// What is wrong with the file, and a name that neither a file nor a recipe has.
pub(crate) fn load(file_or_name: &Path) -> anyhow::Result<Recipe> {
    if let (false, Some(name)) = (file_or_name.is_file(), file_or_name.to_str()) {
        if let Some(text) = text(name) {
            return Ok(Recipe::from_json(text, file_or_name)?);
        }
        if is_name(file_or_name) {
            bail!(
                "`{name}` is neither a file nor a recipe: octresnet recipes lists those there are"
            );
        }
    }
    Ok(Recipe::load(file_or_name)?)
}

/// The run that `train` does without a recipe.
pub(crate) fn default_run() -> Recipe {
    Recipe {
        about: "The default run: Oct-ResNet-26 of half width, alpha 0.5, on the bundled emoji of 12 classes".into(),
        expected: "at least 70 % validation top-1".into(),
        ..Recipe::default()
    }
}

/// Where the images of the default run are, seen from a clone of the repository.
pub(crate) fn bundled_images() -> PathBuf {
    default_run().data.path
}

/// Whether this can be meant as the name of a recipe rather than as a path.
fn is_name(path: &Path) -> bool {
    path.extension().is_none() && path.components().count() == 1 && !path.exists()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use burn_octresnet::model::Alpha;

    use super::*;

    #[test]
    fn every_recipe_of_the_repository_comes_with_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let mut found: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                path.file_stem().unwrap().to_str().unwrap().to_string()
            })
            .collect();
        found.sort_unstable();
        assert_eq!(names().collect::<Vec<_>>(), found);
        for name in names() {
            load(Path::new(name)).unwrap();
        }
    }

    #[test]
    fn the_default_run_is_the_emoji_recipe_and_vanilla_differs_in_alpha_alone() {
        let [emoji, vanilla] =
            ["emoji", "emoji-vanilla"].map(|name| load(Path::new(name)).unwrap());
        assert_eq!(emoji, default_run());
        let mut expected = emoji;
        expected.model.alpha = Alpha::Uniform(0.0);
        expected.about.clone_from(&vanilla.about);
        expected.expected.clone_from(&vanilla.expected);
        assert_eq!(vanilla, expected);
    }

    #[test]
    fn what_is_neither_a_file_nor_a_recipe_is_told_apart_from_a_missing_file() {
        let error = |path: &str| load(Path::new(path)).unwrap_err().to_string();
        assert!(error("imagenet-oct-resnet-5").contains("octresnet recipes lists"));
        for path in ["nowhere.json", "configs/nowhere"] {
            assert!(
                error(path).contains("cannot read the recipe"),
                "{}",
                error(path)
            );
        }
    }
}
