//! Image files in one folder per class: `cat/1.png`, `dog/summer/1.jpg` …, under `train/` and `test/` where they are
//! divided already. Nothing is left out in silence: what is not read is counted, what is not used is named.

use super::encoded::{Encoded, Files, decode};
use super::inner;
use super::labels::{hold_out_by_key, known_classes};
use super::loaded::Loaded;
use super::names::{self, Part};
use super::options::{ImageOptions, Nested};
use super::parts::Parts;
use super::tree::{Leaf, Listing, Passed, Walk, holds_runs, unlabelled};
use crate::random::Seed;
use crate::{Error, Result};
use rand::Rng;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The step of the stream that says what is held out: one at which small folders of numbered files (0.jpg … 9.png) give
/// just their share.
const HELD_OUT: u64 = 2982;

/// A class with its images.
pub(super) type Class = (String, Vec<Leaf>);

/// The names in a folder in ascending order, hidden ones left out.
pub(super) fn entries(folder: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::file(folder, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !names::is_litter(&name) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The folder's own name, for titles.
pub(super) fn display_name(folder: &Path) -> String {
    folder.file_name().map_or_else(|| folder.display().to_string(), names::text)
}

/// What a folder holds, and what of it is not used.
pub(super) struct Found {
    pub classes: Vec<String>,
    pub parts: Parts<Files>,
    pub notes: Vec<String>,
    pub held_out: bool,
    pub passed: Passed,
}

/// Reads one folder per class. Without a test folder, a share of each class (`ImageOptions::test`) is held out, chosen
/// by `ImageOptions::seed`.
pub(super) fn load(folder: &Path, options: &ImageOptions) -> Result<Loaded> {
    let Found { classes, parts, mut notes, held_out, passed } = files(folder, options)?;
    let mut list = super::list::of_files(folder, &classes, &parts);
    let decoded = decode(parts, &classes, options)?;
    for (listed, content) in list.iter_mut().zip(decoded.contents) {
        listed.content = content;
    }
    notes.extend(decoded.notes);
    notes.extend(passed.advice());
    let remarks = if held_out { format!(" held out{passed}") } else { passed.to_string() };
    Ok(Loaded { notes, remarks, list, ..Loaded::new(display_name(folder), classes, decoded.parts) })
}

/// The classes, and the files of each part.
pub(super) fn files(folder: &Path, options: &ImageOptions) -> Result<Found> {
    let mut search = Search { walk: Walk::default(), options, notes: Vec::new(), hierarchy: None };
    let (root, listing) = search.unwrapped(folder.to_path_buf(), false)?;
    let parts = search.parts(&listing.folders);
    let (classes, parts, held_out) = match parts {
        Some(parts) => search.divided(&root, &listing, parts)?,
        None => {
            let doubtful =
                listing.folders.iter().map(|name| names::text(name)).filter(|name| names::looks_like_part(name));
            for name in doubtful.collect::<Vec<_>>() {
                search.notes.push(format!(
                    "\"{name}\" looks like a part of the data, but is read as a class: there is no folder \"train\""
                ));
            }
            let classes = search.classes(&root, listing, search.least())?;
            search.undivided(classes)?
        }
    };
    Ok(Found { classes, parts, notes: search.notes, held_out, passed: search.walk.passed })
}

/// The folders of a data set that is divided.
#[derive(Default)]
struct Divided {
    train: Option<OsString>,
    test: Option<OsString>,
    valid: Option<OsString>,
}

impl Divided {
    fn is_whole(&self) -> bool {
        self.train.is_some() && (self.test.is_some() || self.valid.is_some())
    }
}

struct Search<'a> {
    walk: Walk,
    options: &'a ImageOptions,
    notes: Vec<String>,
    /// Whether classes are inner folders, once that is decided: for all parts alike.
    hierarchy: Option<bool>,
}

impl Search<'_> {
    /// The fewest classes: a trained network may be judged by the images of one.
    fn least(&self) -> usize {
        if self.options.like.is_some() { 1 } else { 2 }
    }

    /// Whether a network is to be judged that knows a class of this name.
    fn is_known_class(&self, name: &str) -> bool {
        self.options.like.as_ref().is_some_and(|like| like.legend.classes.iter().any(|class| class == name))
    }

    /// The folder that holds what is looked for: this one, or the only one in it where that holds just folders, as in
    /// archives that unpack into a folder of their own. Inside a part that one may be called like a part again.
    fn unwrapped(&mut self, mut folder: PathBuf, in_part: bool) -> Result<(PathBuf, Listing)> {
        loop {
            let mut listing = self.walk.list(&folder)?;
            let passed = &mut self.walk.passed;
            listing.folders.retain(|name| {
                let mark = holds_runs(&folder.join(name));
                if let Some(mark) = &mark {
                    passed.unused.push(format!("{}/, which holds runs (it has {mark})", names::text(name)));
                }
                mark.is_none()
            });
            let [only] = &listing.folders[..] else { return Ok((folder, listing)) };
            let name = names::text(only);
            let is_part = !in_part && names::part(&name).is_some();
            if !listing.images.is_empty() || self.is_known_class(&name) {
                return Ok((folder, listing));
            }
            let inner = folder.join(only);
            let within = Walk::default().list(&inner)?;
            // A part that holds training and test images is none: `train/train`, `train/test`.
            let is_part = is_part && !self.parts(&within.folders).is_some_and(|parts| parts.is_whole());
            if is_part || !within.images.is_empty() || within.folders.is_empty() {
                return Ok((folder, listing));
            }
            folder = inner;
        }
    }

    /// The folders that are parts, if there is one to learn from.
    fn parts(&self, folders: &[OsString]) -> Option<Divided> {
        let mut sets: BTreeMap<String, Divided> = BTreeMap::new();
        for folder in folders {
            let name = names::text(folder);
            let Some((words, part)) = names::part(&name).filter(|_| !self.is_known_class(&name)) else { continue };
            let set = sets.entry(words).or_default();
            let place = match part {
                Part::Train => &mut set.train,
                Part::Test => &mut set.test,
                Part::Valid => &mut set.valid,
            };
            place.get_or_insert_with(|| folder.clone());
        }
        let to_judge = self.options.like.is_some();
        // Words before "train" have to come before "test", too, or it is a class like any other.
        sets.into_iter()
            .find(|(words, set)| match (&set.train, set.test.is_some() || set.valid.is_some()) {
                (Some(_), others) => words.is_empty() || others,
                (None, others) => to_judge && others,
            })
            .map(|(_, set)| set)
    }

    /// The images of class folders that may be divided inside.
    fn undivided(&mut self, classes: Vec<Class>) -> Result<(Vec<String>, Parts<Files>, bool)> {
        let classes = match self.options.nested {
            Nested::Auto => match inner::divide(classes) {
                Ok(parts) => {
                    self.options.no_held_out("this folder")?;
                    self.notes.push("the folders inside class folders are taken as parts, after their names".into());
                    let names: Vec<String> = parts.train.iter().map(|(name, _)| name.clone()).collect();
                    return Ok((names.clone(), parts.try_map(|part| collect(part, &names))?, false));
                }
                Err(classes) => {
                    self.notes.extend(inner::merged(&classes));
                    classes
                }
            },
            _ => classes,
        };
        let (names, parts) = divide(classes, self.options)?;
        Ok((names, parts, true))
    }

    /// Reads folders that are divided already.
    fn divided(
        &mut self,
        root: &Path,
        listing: &Listing,
        mut divided: Divided,
    ) -> Result<(Vec<String>, Parts<Files>, bool)> {
        let used = [&divided.train, &divided.test, &divided.valid].map(Clone::clone);
        for name in listing.folders.iter().filter(|name| !used.iter().flatten().any(|used| used == *name)) {
            self.walk.passed.unused.push(format!("the folder {}", names::text(name)));
        }
        if !listing.images.is_empty() {
            self.walk.passed.unused.push(format!("{} images outside of all folders", listing.images.len()));
        }
        for part in [&mut divided.test, &mut divided.valid] {
            let Some(name) = part else { continue };
            let inside = unlabelled(&root.join(&*name))?;
            if inside.folders.is_empty() && !inside.images.is_empty() {
                let count = inside.images.len();
                self.walk
                    .passed
                    .unused
                    .push(format!("{count} images in {}, which has no class folders", names::text(name)));
                *part = None;
            }
        }
        if divided.test.is_none() && divided.valid.is_some() {
            divided.test = divided.valid.take();
            let name = divided.test.as_deref().map(names::text).unwrap_or_default();
            self.notes.push(format!("\"{name}\" is what the network is judged by: there is no folder \"test\""));
        }
        let least = self.least();
        let mut read = |part: &Option<OsString>, least| {
            part.as_ref().map(|name| {
                let (folder, listing) = self.unwrapped(root.join(name), true)?;
                self.classes(&folder, listing, least)
            })
        };
        let train = read(&divided.train, least).transpose()?;
        let (test, valid) = (read(&divided.test, 1).transpose()?, read(&divided.valid, 1).transpose()?);
        match (train, test) {
            (Some(train), None) => {
                let (classes, parts) = divide(train, self.options)?;
                Ok((classes, parts, true))
            }
            (train, test) => {
                self.options.no_held_out("this folder")?;
                let known = train.as_ref().or(test.as_ref());
                let classes: Vec<String> = known.into_iter().flatten().map(|(name, _)| name.clone()).collect();
                let parts = Parts { train: train.unwrap_or_default(), test: test.unwrap_or_default(), valid };
                let parts = parts.try_map(|part| collect(part, &classes))?;
                Ok((classes, parts, false))
            }
        }
    }

    /// The classes in a folder, in ascending order: by number where all names are numbers.
    fn classes(&mut self, folder: &Path, listing: Listing, least: usize) -> Result<Vec<Class>> {
        if !listing.images.is_empty() {
            let count = listing.images.len();
            self.walk
                .passed
                .unused
                .push(format!("{count} images beside the class folders of {}", display_name(folder)));
        }
        // Names that differ in nothing but how accents are written are one class.
        let mut tops: BTreeMap<String, Vec<Leaf>> = BTreeMap::new();
        for name in &listing.folders {
            let leaves = self.walk.leaves(&folder.join(name))?;
            let class = names::text(name);
            if name.to_str().is_none() {
                self.notes.push(format!("a folder whose name is not UTF-8 is the class \"{class}\""));
            }
            tops.entry(class).or_default().extend(leaves);
        }
        if tops.len() < least {
            let found = tops.keys().next().map_or("no class folder".into(), |name| format!("only one class, {name}"));
            return Err(Error::user(format!("{}: there is {found}", folder.display()))
                .hint("put the images into one folder per class, at least two of them"));
        }
        let hierarchy = self.hierarchy.unwrap_or_else(|| self.is_hierarchy(&tops));
        self.hierarchy = Some(hierarchy);
        if hierarchy {
            let mut classes: BTreeMap<String, Vec<Leaf>> = BTreeMap::new();
            for (top, leaves) in tops {
                for leaf in leaves {
                    let name = if leaf.below.is_empty() { top.clone() } else { format!("{top}/{}", leaf.below) };
                    classes.entry(name).or_default().push(Leaf { below: String::new(), ..leaf });
                }
            }
            tops = classes;
        }
        if let Some((name, _)) = tops.iter().find(|(_, leaves)| leaves.is_empty()) {
            let mut walk = Walk::default();
            // What other classes hold does not count here.
            let found = walk.leaves(&folder.join(name)).map_or_else(|_| String::new(), |_| walk.passed.to_string());
            let found = found.trim_start_matches("; ");
            let found = if found.is_empty() { String::new() } else { format!(" ({found})") };
            return Err(Error::user(format!(
                "{}: this class folder holds no images{found}",
                folder.join(name).display()
            ))
            .hint(format!("image files end in {}", names::ENDINGS.join(", "))));
        }
        let mut classes: Vec<Class> = tops.into_iter().collect();
        if classes.iter().all(|(name, _)| name.parse::<u64>().is_ok()) {
            classes.sort_by_key(|(name, _)| name.parse::<u64>().ok());
        }
        Ok(classes)
    }

    /// Whether the classes are the inner folders (`a/airfield`) and not the outer ones: no outer folder holds images
    /// itself, the inner ones have names of their own, and those are words. `2023/` and `2024/` in each class are no
    /// classes.
    fn is_hierarchy(&mut self, tops: &BTreeMap<String, Vec<Leaf>>) -> bool {
        match self.options.nested {
            Nested::Top => return false,
            Nested::Path => return true,
            Nested::Auto => {}
        }
        if let Some(like) = &self.options.like {
            return !tops.keys().any(|top| like.legend.classes.contains(top));
        }
        if inner::are_parts(tops.values().flatten()) {
            return false;
        }
        let inner = |leaf: &Leaf| leaf.below.split('/').next().unwrap_or_default().to_string();
        let mut owners: HashMap<String, &str> = HashMap::new();
        for (top, leaves) in tops {
            for leaf in leaves {
                let name = inner(leaf);
                let is_word = name.chars().any(char::is_alphabetic);
                if !is_word || *owners.entry(name).or_insert(top) != top {
                    return false;
                }
            }
        }
        let hierarchy = owners.len() > tops.len();
        if hierarchy {
            let example = tops.iter().find_map(|(top, leaves)| Some(format!("{top}/{}", leaves.first()?.below)));
            self.notes.push(format!(
                "classes are named by their path ({}), as the outer folders hold no images of their own; nested: \
                 \"top\" makes each outer folder one class",
                example.unwrap_or_default()
            ));
        }
        hierarchy
    }
}

/// All images of a part with their labels, indices in `classes`.
fn collect(part: Vec<Class>, classes: &[String]) -> Result<Files> {
    let labels: HashMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    let mut files = Files::default();
    for (name, leaves) in part {
        let label = *labels.get(name.as_str()).ok_or_else(|| {
            let folder = leaves.first().map(|leaf| leaf.folder.display().to_string()).unwrap_or_default();
            Error::user(format!("{folder}: there is no training folder of this class"))
                .hint(known_classes(&name, classes))
        })?;
        for leaf in leaves {
            let images = leaf.names.into_iter().map(|name| Encoded::File { folder: leaf.folder.clone(), name });
            files.0.extend(images);
            files.1.resize(files.0.len(), label);
        }
    }
    Ok(files)
}

/// Holds out a share of each class. Whether an image is held out is decided by its path within the class alone, so that
/// nothing else moves when one is added or removed.
fn divide(classes: Vec<Class>, options: &ImageOptions) -> Result<(Vec<String>, Parts<Files>)> {
    let (mut train, mut test) = (Files::default(), Files::default());
    let mut all = Vec::with_capacity(classes.len());
    for ((class, leaves), label) in classes.into_iter().zip(0..) {
        let key = |below: &str, name: &OsStr| {
            Seed(options.seed).rng(&format!("{below}/{}", names::text(name)), HELD_OUT).next_u64()
        };
        let keys = leaves.iter().flat_map(|leaf| leaf.names.iter().map(|name| key(&leaf.below, name)));
        let held = hold_out_by_key(&keys.collect::<Vec<_>>(), &class, options.held_out())?;
        let images = leaves.into_iter().flat_map(|Leaf { folder, names, .. }| {
            names.into_iter().map(move |name| Encoded::File { folder: folder.clone(), name })
        });
        for (image, held) in images.zip(held) {
            let part = if held { &mut test } else { &mut train };
            part.0.push(image);
            part.1.push(label);
        }
        all.push(class);
    }
    Ok((all, Parts { train, test, valid: None }))
}
