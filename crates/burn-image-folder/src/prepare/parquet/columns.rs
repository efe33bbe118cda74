//! Which columns of a table hold images and classes.

use std::collections::HashSet;

use parquet::basic::Type;
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::ColumnDescriptor;
use serde_json::Value;

use super::super::archive::is_plain;
use super::ParquetSet;

/// A column with one value a row.
pub(super) struct Column {
    /// Its place among the file's columns.
    pub place: usize,
    /// The level at which a value is there; below, it is missing.
    pub whole: i16,
}

/// The columns that matter.
pub(super) struct Columns {
    pub image: Column,
    pub class: Column,
    /// Names of classes that are numbers, as folders can have them.
    names: Option<Vec<String>>,
}

/// What a column is looked for by.
struct Wanted {
    /// What it holds.
    what: &'static str,
    /// What Hugging Face calls the type of such a column.
    feature: &'static str,
    /// Its usual names.
    names: [&'static str; 2],
    /// Whether a column could be one, by its physical type.
    fits: fn(&ColumnDescriptor) -> bool,
}

const IMAGE: Wanted = Wanted {
    what: "image",
    feature: "Image",
    names: ["image", "img"],
    fits: |column| {
        let parts = column.path().parts();
        column.physical_type() == Type::BYTE_ARRAY && (parts.len() == 1 || parts[1..] == ["bytes"])
    },
};

const CLASS: Wanted = Wanted {
    what: "label",
    feature: "ClassLabel",
    names: ["label", "labels"],
    fits: |column| {
        let is_number_or_text = matches!(
            column.physical_type(),
            Type::INT32 | Type::INT64 | Type::BYTE_ARRAY
        );
        column.path().parts().len() == 1 && is_number_or_text
    },
};

impl Columns {
    /// Finds the columns: those that are asked for, or else those that the file says are images and
    /// classes, or are called so.
    ///
    /// # Errors
    ///
    /// What is missing, or could be meant by several.
    pub fn find(meta: &FileMetaData, set: &ParquetSet<'_>) -> Result<Self, String> {
        let features = features(meta);
        let (image, _) = column(meta, &features, set.image, &IMAGE)?;
        let (class, name) = column(meta, &features, set.label, &CLASS)?;
        Ok(Self {
            image,
            class,
            names: names(&features[name.as_str()]["names"])?,
        })
    }

    /// The name of a class that is a number.
    ///
    /// # Errors
    ///
    /// What is wrong with a row of this class.
    pub fn name(&self, number: i64) -> Result<String, String> {
        let place = usize::try_from(number);
        match (&self.names, place) {
            (Some(names), Ok(place)) if place < names.len() => Ok(names[place].clone()),
            (Some(names), _) => Err(format!("whose class is {number} of {}", names.len())),
            // So that the order of the names is that of the numbers.
            (None, Ok(number)) => Ok(format!("{number:04}")),
            (None, Err(_)) => Err(format!("whose class is {number}")),
        }
    }
}

/// What the file says of its columns, by their names.
fn features(meta: &FileMetaData) -> Value {
    let entries = meta.key_value_metadata().into_iter().flatten();
    let text = entries
        .filter(|entry| entry.key == "huggingface")
        .find_map(|entry| entry.value.as_deref());
    let value = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
    value.map_or(Value::Null, |value| value["info"]["features"].clone())
}

/// The one column that is wanted, and its name.
fn column(
    meta: &FileMetaData,
    features: &Value,
    asked: Option<&str>,
    wanted: &Wanted,
) -> Result<(Column, String), String> {
    let columns = meta.schema_descr().columns().iter().enumerate();
    let fitting =
        columns.filter(|(_, column)| column.max_rep_level() == 0 && (wanted.fits)(column));
    let fitting: Vec<_> = fitting
        .map(|(place, column)| {
            let whole = column.max_def_level();
            let name = column.path().parts().first().cloned().unwrap_or_default();
            (Column { place, whole }, name)
        })
        .collect();
    let Wanted { what, feature, .. } = wanted;
    let listed = |columns: &[(Column, String)]| {
        let names: Vec<_> = columns
            .iter()
            .map(|(_, name)| format!("`{name}`"))
            .collect();
        match names.is_empty() {
            true => "there is none that could be".to_string(),
            false => format!("it could be {}", names.join(" or ")),
        }
    };
    let take = |is: &dyn Fn(&str) -> bool| fitting.iter().filter(|(_, name)| is(name)).count();
    let is_asked = |name: &str| asked == Some(name);
    let is_known = |name: &str| features[name]["_type"] == *feature;
    let is_usual = |name: &str| wanted.names.contains(&name);
    let rule: &dyn Fn(&str) -> bool = match asked {
        Some(_) => &is_asked,
        None if take(&is_known) > 0 => &is_known,
        None => &is_usual,
    };
    if take(rule) == 0 {
        let asked = asked.map_or(String::new(), |name| format!(" `{name}`"));
        let listed = listed(&fitting);
        return Err(format!(
            "it has no column{asked} to take as {what}: {listed}"
        ));
    }
    let mut chosen: Vec<_> = fitting.into_iter().filter(|(_, name)| rule(name)).collect();
    match chosen.len() {
        1 => Ok(chosen.remove(0)),
        _ => Err(format!(
            "say which column to take as {what}: {}",
            listed(&chosen)
        )),
    }
}

/// The names of classes in what a file says of a column.
fn names(value: &Value) -> Result<Option<Vec<String>>, String> {
    let Some(names) = value.as_array() else {
        return Ok(None);
    };
    let mut seen = HashSet::new();
    let names = names.iter().map(|name| {
        let name = folder_name(name.as_str().unwrap_or_default());
        match is_plain(&name) && seen.insert(name.clone()) {
            true => Ok(name),
            false => Err(format!(
                "its class `{name}` is no name of a folder, or is there twice"
            )),
        }
    });
    Ok(Some(names.collect::<Result<_, _>>()?))
}

/// The name of a class, with `_` in the place of what the name of a folder cannot have.
fn folder_name(class: &str) -> String {
    let name = class
        .trim()
        .replace(|letter: char| !is_plain(&format!("a{letter}")), "_");
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_become_names_of_folders() {
        assert_eq!(folder_name("tench, Tinca tinca"), "tench, Tinca tinca");
        assert_eq!(folder_name("A/C: on?\n"), "A_C_ on_");
        assert_eq!(folder_name("../x"), "_._x");
        let of = |text: &str| names(&serde_json::from_str(text).unwrap());
        assert_eq!(of("null").unwrap(), None);
        assert_eq!(of(r#"["a", "b/c"]"#).unwrap().unwrap(), ["a", "b_c"]);
        for text in [r#"["b/c", "b?c"]"#, r#"["a", ""]"#, "[1]"] {
            of(text).unwrap_err();
        }
    }
}
