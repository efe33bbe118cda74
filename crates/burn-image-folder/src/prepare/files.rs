//! Images that the caller has in memory.

use std::fs;
use std::path::Path;

use super::part::{AddError, Part, Split};
use super::{PartReport, PrepareError, Prepared};

/// Makes an image folder of pictures: their paths, `train/<class>/<file>` or `val/<class>/<file>`, and
/// contents.
///
/// # Errors
///
/// What the system refuses, and a path of another form.
pub fn pictures(files: &[(&str, &[u8])], root: &Path) -> Result<Prepared, PrepareError> {
    let mut parts = Vec::new();
    for split in [Split::Train, Split::Val] {
        let Some(mut part) = Part::begin(root, split)? else {
            parts.push(PartReport::left(split, None));
            continue;
        };
        for (path, content) in files {
            let names: Vec<_> = path.split('/').collect();
            let [first, class, file] = names[..] else {
                let reason = AddError::Name("which is not in a class of train or val");
                return Err(reason.of_entry(root, path));
            };
            if first == split.folder() {
                let added = part.add(class, file, content);
                added.map_err(|error| error.of_entry(root, path))?;
            }
        }
        parts.push(part.finish(None)?);
    }
    Ok(Prepared { parts })
}

/// Writes files that are no images, such as a licence, into the top of an image folder.
///
/// # Errors
///
/// What the system refuses.
pub fn plain_files(files: &[(&str, &[u8])], root: &Path) -> Result<(), PrepareError> {
    fs::create_dir_all(root).map_err(PrepareError::io("make the folder", root))?;
    for (name, content) in files {
        let path = root.join(name);
        let hidden = root.join(format!(".{name}.preparing"));
        fs::write(&hidden, content)
            .and_then(|()| fs::rename(&hidden, &path))
            .map_err(PrepareError::io("write", &path))?;
    }
    Ok(())
}
