//! Lists the bundled pictures for `src/pictures.rs`, so that the program has them within itself.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../data/emoji");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut list = String::from("&[\n");
    for split in ["train", "val"] {
        for class in sorted(&root.join(split))? {
            for file in sorted(&class)? {
                let name = file
                    .strip_prefix(&root)?
                    .to_str()
                    .ok_or("a name is no text")?;
                let name = name.replace('\\', "/");
                writeln!(
                    list,
                    "    ({name:?}, include_bytes!({:?})),",
                    file.display().to_string()
                )?;
            }
        }
    }
    list += "]\n";
    fs::write(Path::new(&env::var("OUT_DIR")?).join("emoji.rs"), list)?;
    Ok(())
}

/// What a folder holds, in ascending order.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<Result<Vec<_>, std::io::Error>>()?;
    entries.sort_unstable();
    Ok(entries)
}
