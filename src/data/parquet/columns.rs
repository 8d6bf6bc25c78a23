//! Which columns of a table hold the images and their labels, and how it names the classes.

use super::whole::Contradiction;
use crate::{Error, Result};
use ::parquet::file::metadata::FileMetaData;
use std::path::Path;

const IMAGE_COLUMNS: [&str; 2] = ["img", "image"];
const LABEL_COLUMNS: [&str; 2] = ["label", "fine_label"];

/// Which leaf columns hold the image bytes and the labels.
pub(super) struct Columns {
    pub image: usize,
    pub image_name: &'static str,
    pub label: usize,
    pub label_name: String,
}

impl Columns {
    /// Finds them by their names.
    ///
    /// # Errors
    /// No such columns, or columns of lists.
    pub fn find(path: &Path, facts: &FileMetaData, labels: Option<&str>) -> Result<Self> {
        let schema = facts.schema_descr();
        let leaves: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let place = |name: &str| leaves.iter().position(|leaf| leaf == name);
        let image = IMAGE_COLUMNS
            .iter()
            .find_map(|name| Some((place(&format!("{name}.bytes")).or_else(|| place(name))?, *name)));
        let label = match labels {
            // "coarse" is short for "coarse_label".
            Some(name) => [name.to_string(), format!("{name}_label")].into_iter().find_map(|n| Some((place(&n)?, n))),
            None => LABEL_COLUMNS.iter().find_map(|name| Some((place(name)?, name.to_string()))),
        };
        let (Some((image, image_name)), Some((label, label_name))) = (image, label) else {
            return Err(Error::user(format!("{}: no column of images with a column of labels", path.display())).hint(
                format!(
                    "its columns are {}; wanted are img.bytes or image.bytes, and {}",
                    leaves.join(", "),
                    labels.unwrap_or("label (or another that the option labels names)")
                ),
            ));
        };
        for leaf in [image, label] {
            if schema.column(leaf).max_rep_level() > 0 {
                return Err(Error::user(format!("{}: column {} holds lists", path.display(), leaves[leaf]))
                    .hint("each row needs one image and one label"));
            }
        }
        Ok(Self { image, image_name, label, label_name })
    }
}

/// The class names that the `datasets` library writes beside the schema, as JSON.
pub(super) fn class_names(facts: &FileMetaData, label: &str) -> Result<Option<Vec<String>>, Contradiction> {
    let mut entries = facts.key_value_metadata().into_iter().flatten();
    let holds_zeros = |text: &String| text.contains('\0');
    if entries.clone().any(|entry| holds_zeros(&entry.key) || entry.value.as_ref().is_some_and(holds_zeros)) {
        return Err("a text in its metadata holds zeros");
    }
    let Some(text) = entries.find(|entry| entry.key == "huggingface").and_then(|entry| entry.value.as_ref()) else {
        return Ok(None);
    };
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "what it says of its features cannot be read")?;
    let names = json.pointer(&format!("/info/features/{label}/names")).and_then(serde_json::Value::as_array);
    Ok(names.and_then(|names| names.iter().map(|name| name.as_str().map(String::from)).collect()))
}
