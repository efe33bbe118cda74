//! Lists what the program has within itself: the bundled pictures for `src/pictures.rs`, and the recipes for
//! `src/recipes.rs`.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..");
    let emoji = root.join("examples/data/emoji");
    let mut pictures = Vec::new();
    for split in ["train", "val"] {
        for class in sorted(&emoji.join(split))? {
            pictures.extend(sorted(&class)?);
        }
    }
    let name = |picture: &Path| Ok(text(picture.strip_prefix(&emoji)?)?.replace('\\', "/"));
    write("emoji.rs", "include_bytes", &pictures, &name)?;
    let configs = root.join("configs");
    let mut recipes = sorted(&configs)?;
    // By name, which a hyphen and the dot of a file's ending sort differently.
    recipes.sort_by(|a, b| a.file_stem().cmp(&b.file_stem()));
    let name =
        |recipe: &Path| Ok(text(recipe.file_stem().unwrap_or_default().as_ref())?.to_string());
    write("recipes.rs", "include_str", &recipes, &name)?;
    for folder in [emoji, configs] {
        println!("cargo::rerun-if-changed={}", text(&folder)?);
    }
    Ok(())
}

/// Writes a list of files, each with its name.
fn write(
    list: &str,
    include: &str,
    files: &[PathBuf],
    name: &dyn Fn(&Path) -> Result<String>,
) -> Result<()> {
    let mut lines = String::from("&[\n");
    for file in files {
        let (name, path) = (name(file)?, text(file)?);
        writeln!(lines, "    ({name:?}, {include}!({path:?})),")?;
    }
    lines += "]\n";
    Ok(fs::write(
        Path::new(&env::var("OUT_DIR")?).join(list),
        lines,
    )?)
}

fn text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or("a name is no text")?)
}

/// What a folder holds, in ascending order.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_unstable();
    Ok(entries)
}
