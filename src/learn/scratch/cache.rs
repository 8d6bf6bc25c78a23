//! Scores on the disk, so that no cell is trained twice: a file of JSON for each, named after its key's fingerprint.

use super::CellScore;
use crate::fingerprint::Fingerprint;
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Counts changes of the files' form. What changes a score (settings, data, the program's version) is in the key.
const FORMAT: u64 = 1;

/// One file.
#[derive(Serialize, Deserialize)]
struct Kept {
    format: u64,
    key: Value,
    score: CellScore,
}

/// A folder of scores; without one nothing is found and nothing kept.
#[derive(Clone, Debug, Default)]
pub struct ScoreCache {
    folder: Option<PathBuf>,
}

impl ScoreCache {
    /// Scores in this folder, which is made when the first is kept.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The score that is kept under a key.
    ///
    /// # Errors
    /// A file of another form or a damaged one.
    pub fn find(&self, key: &Value) -> Result<Option<CellScore>> {
        let Some(path) = self.file(key) else { return Ok(None) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(&path, &error)),
        };
        let kept = read(&path, &text)?;
        // Another key of the same fingerprint: it is trained, and takes the place.
        Ok((kept.key == *key).then_some(kept.score))
    }

    /// Keeps a score; its file is there whole or not at all.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn keep(&self, key: &Value, score: &CellScore) -> Result<()> {
        let (Some(folder), Some(path)) = (&self.folder, self.file(key)) else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, &error))?;
        let kept = Kept { format: FORMAT, key: key.clone(), score: score.clone() };
        let text = serde_json::to_string_pretty(&kept).map_err(|error| Error::run(format!("a score: {error}")))?;
        match files::replace(&path, format!("{text}\n").as_bytes()) {
            // Another process may have kept the same score at the same time, and renamed the file first.
            Err(_) if self.find(key).is_ok_and(|there| there.as_ref() == Some(score)) => Ok(()),
            written => written,
        }
    }

    fn file(&self, key: &Value) -> Option<PathBuf> {
        let name = format!("{}.json", Fingerprint::of(key.to_string().as_bytes()));
        self.folder.as_ref().map(|folder| folder.join(name))
    }
}

fn read(path: &Path, text: &str) -> Result<Kept> {
    let away = || format!("delete the folder {} to train its cells again", path.parent().unwrap_or(path).display());
    let damaged = |error: serde_json::Error| {
        Error::user(format!("{} is not the score of a cell: {error}", path.display())).hint(away())
    };
    let value: Value = serde_json::from_str(text).map_err(damaged)?;
    match value.get("format").and_then(Value::as_u64) {
        Some(FORMAT) => serde_json::from_value(value).map_err(damaged),
        Some(other) => {
            let own = env!("CARGO_PKG_VERSION");
            let by = value["key"]["candlewick"].as_str().unwrap_or("another version");
            Err(Error::user(format!(
                "{} was written by candlewick {by} in form {other}, but candlewick {own} knows form {FORMAT}",
                path.display()
            ))
            .hint(away()))
        }
        None => {
            Err(Error::user(format!("{} is not the score of a cell: it has no `format`", path.display())).hint(away()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score() -> CellScore {
        CellScore { loss: 0.1 + 0.2, accuracy: Some(0.9), perplexity: None, parameters: 3, macs: 4, cost: 5.0 }
    }

    #[test]
    fn a_score_is_found_under_its_own_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ScoreCache::new(Some(folder.path().join("cells")));
        let key = serde_json::json!({ "seed": 1 });
        assert_eq!(cache.find(&key).unwrap(), None);
        cache.keep(&key, &score()).unwrap();
        assert_eq!(cache.find(&key).unwrap(), Some(score()));
        assert_eq!(cache.find(&serde_json::json!({ "seed": 2 })).unwrap(), None);
        let none = ScoreCache::default();
        none.keep(&key, &score()).unwrap();
        assert_eq!(none.find(&key).unwrap(), None);
    }

    #[test]
    fn files_of_another_form_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ScoreCache::new(Some(folder.path().to_path_buf()));
        let key = serde_json::json!({ "candlewick": "7.1.0" });
        cache.keep(&key, &score()).unwrap();
        let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let refused = |text: String, says: &str| {
            std::fs::write(&path, text).unwrap();
            let error = cache.find(&key).unwrap_err();
            assert!(error.message.contains(says), "{error}");
            assert!(error.message.contains(&path.display().to_string()), "{error}");
            assert!(error.hint.unwrap().contains("delete the folder"));
        };
        refused(text.replace("\"format\": 1", "\"format\": 2"), "written by candlewick 7.1.0 in form 2");
        refused(text[..text.len() / 2].to_string(), "is not the score of a cell");
        refused("{}".into(), "it has no `format`");
    }

    #[test]
    fn a_machine_that_stops_leaves_a_whole_score_or_none() {
        use crate::files::faults::{Stop, stopping};
        for changes in 0..8 {
            let folder = tempfile::tempdir().unwrap();
            let cache = ScoreCache::new(Some(folder.path().to_path_buf()));
            let key = serde_json::json!({ "seed": 1 });
            // A score that is lost is computed again: whether keeping it failed is of no interest here.
            let _ = stopping(Stop::PowerCut, changes, || cache.keep(&key, &score()));
            let found = cache.find(&key).expect("no half of a file");
            assert!(found.is_none() || found == Some(score()), "after {changes}");
        }
    }
}
