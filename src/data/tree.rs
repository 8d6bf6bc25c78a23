//! A folder with all that is in it: the images, and what was left out, counted so that it can be told.

use super::names;
use crate::error::shown;
use crate::{Error, Result, interrupt};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The images of one folder, not of those inside it.
pub(super) struct Leaf {
    /// The folder's path below the one that was walked, as text with `/`; empty for that one itself.
    pub below: String,
    pub folder: Arc<Path>,
    /// In ascending order.
    pub names: Vec<Box<OsStr>>,
}

/// What was met that is not an image.
#[derive(Clone, Debug, Default)]
pub(super) struct Passed {
    /// Files by their ending; the empty one for those without.
    endings: BTreeMap<String, usize>,
    litter: usize,
    broken_links: usize,
    /// Pipes, sockets and devices.
    special: usize,
    /// Folders and images that have no place in the data set, in words.
    pub unused: Vec<String>,
}

/// What a folder holds, in ascending order.
#[derive(Default)]
pub(super) struct Listing {
    pub images: Vec<Box<OsStr>>,
    pub folders: Vec<OsString>,
}

/// A walk through folders.
#[derive(Default)]
pub(super) struct Walk {
    pub passed: Passed,
    /// Folders that links led to and that are being walked.
    linked: Vec<PathBuf>,
}

impl Walk {
    /// What a folder holds.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn list(&mut self, folder: &Path) -> Result<Listing> {
        interrupt::check()?;
        let failed = |error| Error::file(folder, &error);
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if names::is_litter(&name) {
                self.passed.litter += 1;
                continue;
            }
            let kind = entry.file_type().map_err(failed)?;
            let kind = match kind.is_symlink() {
                true => std::fs::metadata(entry.path()).ok().map(|target| target.file_type()),
                false => Some(kind),
            };
            let Some(kind) = kind else {
                self.passed.broken_links += 1;
                continue;
            };
            if kind.is_dir() {
                listing.folders.push(name);
            } else if !kind.is_file() {
                self.passed.special += 1;
            } else if names::is_image(&name) || (names::ending(&name).is_none() && begins_as_image(&entry.path())) {
                listing.images.push(name.into());
            } else {
                *self.passed.endings.entry(names::ending(&name).unwrap_or_default()).or_default() += 1;
            }
        }
        listing.images.sort_unstable();
        listing.folders.sort_unstable();
        Ok(listing)
    }

    /// The images in a folder and in all folders inside it.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn leaves(&mut self, folder: &Path) -> Result<Vec<Leaf>> {
        let mut leaves = Vec::new();
        self.descend(folder, String::new(), &mut leaves)?;
        Ok(leaves)
    }

    fn descend(&mut self, folder: &Path, below: String, leaves: &mut Vec<Leaf>) -> Result<()> {
        let listing = self.list(folder)?;
        if !listing.images.is_empty() {
            leaves.push(Leaf { below: below.clone(), folder: folder.into(), names: listing.images });
        }
        for name in listing.folders {
            let inner = folder.join(&name);
            let link = inner.is_symlink();
            if link && !self.follow(folder, &inner) {
                self.passed.unused.push(format!("{}, a link that leads back", shown(&inner)));
                continue;
            }
            let name = names::text(&name);
            let below = if below.is_empty() { name } else { format!("{below}/{name}") };
            self.descend(&inner, below, leaves)?;
            if link {
                self.linked.pop();
            }
        }
        Ok(())
    }

    /// Whether a link in `folder` leads to somewhere else than where it came from.
    fn follow(&mut self, folder: &Path, link: &Path) -> bool {
        let (Ok(here), Ok(there)) = (folder.canonicalize(), link.canonicalize()) else { return false };
        let on = !here.starts_with(&there) && !self.linked.contains(&there);
        if on {
            self.linked.push(there);
        }
        on
    }
}

/// By what one sees that a folder is a run's, or one of runs, which lie where a script was started: what runs write and
/// no class has. What else runs have, as charts, counts only in folders inside one that is called "runs".
pub(super) fn holds_runs(folder: &Path) -> Option<String> {
    const FILES: [&str; 2] = ["run.json", "journal.jsonl"];
    const FOLDERS: [&str; 4] = ["checkpoint", "checkpoints", "plots", "charts"];
    let certain = |path: &Path| FILES.into_iter().find(|name| path.join(name).is_file());
    let likely = |path: &Path| FOLDERS.into_iter().find(|name| path.join(name).is_dir());
    if let Some(mark) = certain(folder) {
        return Some(mark.into());
    }
    if folder.file_name() != Some(OsStr::new("runs")) {
        return None;
    }
    let inner = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut runs: Vec<PathBuf> = inner.filter(|path| path.is_dir()).collect();
    runs.sort_unstable();
    runs.iter().find_map(|run| {
        let mark = certain(run).or_else(|| likely(run))?;
        Some(format!("{}/{mark}", run.file_name().map(names::text).unwrap_or_default()))
    })
}

/// What a part holds, or the only folder in it where that one is called after images and not after a class.
pub(super) fn unlabelled(part: &Path) -> Result<Listing> {
    let listing = Walk::default().list(part)?;
    match &listing.folders[..] {
        [only] if listing.images.is_empty() && names::means_images(&names::text(only)) => {
            Walk::default().list(&part.join(only))
        }
        _ => Ok(listing),
    }
}

/// Whether a file without an ending holds an image.
fn begins_as_image(path: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(32).read_to_end(&mut head));
    read.is_ok() && image::guess_format(&head).is_ok_and(|format| format.reading_enabled())
}

impl Passed {
    /// Files that are not read, as "12 .heic, 3 .txt"; pictures first.
    fn unread(&self) -> Option<String> {
        let mut endings: Vec<(&String, &usize)> = self.endings.iter().collect();
        endings.sort_by_key(|(ending, count)| (!names::is_unread_picture(ending), std::cmp::Reverse(**count)));
        let named: Vec<String> = endings
            .iter()
            .take(6)
            .map(|(ending, count)| match ending.is_empty() {
                true => format!("{count} without an ending"),
                false => format!("{count} .{ending}"),
            })
            .collect();
        let rest: usize = endings.iter().skip(6).map(|(_, count)| **count).sum();
        let more = if rest > 0 { format!(" and {rest} others") } else { String::new() };
        (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
    }

    /// What to do about pictures that are not read.
    pub fn advice(&self) -> Option<String> {
        let kinds: Vec<String> =
            self.endings.keys().filter(|e| names::is_unread_picture(e)).map(|e| format!(".{e}")).collect();
        let all: usize = self.endings.iter().filter(|(e, _)| names::is_unread_picture(e)).map(|(_, n)| n).sum();
        (all > 0).then(|| {
            format!("{all} pictures ({}) are not read: convert them to JPEG or PNG to use them", kinds.join(", "))
        })
    }
}

impl fmt::Display for Passed {
    /// Nothing, or "; not read: 12 .heic; left alone: 3 files of systems and notebooks; not used: …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(unread) = self.unread() {
            write!(f, "; not read: {unread}")?;
        }
        if self.broken_links > 0 {
            write!(f, "; {} links that lead nowhere", self.broken_links)?;
        }
        if self.special > 0 {
            write!(f, "; {} that are neither files nor folders", self.special)?;
        }
        if self.litter > 0 {
            write!(f, "; left alone: {} hidden or left by systems", self.litter)?;
        }
        if !self.unused.is_empty() {
            write!(f, "; not used: {}", self.unused.join("; "))?;
        }
        Ok(())
    }
}
