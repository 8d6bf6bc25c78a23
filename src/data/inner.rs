//! Folders inside class folders, where the outer ones are the classes: `cat/train`, `cat/test` are parts of the data,
//! all others are taken together, and that is told.

use super::folder::Class;
use super::names::{self, Part};
use super::parts::Parts;
use super::tree::Leaf;
use std::collections::BTreeSet;

/// The name of the folder right inside the class folder.
fn outermost(leaf: &Leaf) -> &str {
    leaf.below.split('/').next().unwrap_or_default()
}

/// The part that such a folder is called after.
fn part(leaf: &Leaf) -> Option<Part> {
    names::part(outermost(leaf)).filter(|(words, _)| words.is_empty()).map(|(_, part)| part)
}

/// Whether every image lies in such a part.
pub(super) fn are_parts<'a>(mut leaves: impl Iterator<Item = &'a Leaf>) -> bool {
    leaves.all(|leaf| part(leaf).is_some())
}

/// The classes of each part, where every image lies in a part and every class has one to learn from. Test or
/// validation images, which may be in some classes only, there must be as well.
///
/// # Errors
/// The classes as they were, where that is not so.
pub(super) fn divide(classes: Vec<Class>) -> Result<Parts<Vec<Class>>, Vec<Class>> {
    let has = |leaves: &[Leaf], wanted| leaves.iter().any(|leaf| part(leaf) == Some(wanted));
    let learnt = |(_, leaves): &Class| are_parts(leaves.iter()) && has(leaves, Part::Train);
    let judges = |wanted| classes.iter().any(|(_, leaves)| has(leaves, wanted));
    let (test, valid) = (judges(Part::Test), judges(Part::Valid));
    if !classes.iter().all(learnt) || !(test || valid) {
        return Err(classes);
    }
    let mut parts = Parts { train: vec![], test: vec![], valid: (test && valid).then(Vec::new) };
    for (name, leaves) in classes {
        let mut divided = [vec![], vec![], vec![]];
        for leaf in leaves {
            let place = match part(&leaf) {
                Some(Part::Valid) if test => 2,
                Some(Part::Valid | Part::Test) => 1,
                _ => 0,
            };
            divided[place].push(leaf);
        }
        let [train, test, valid] = divided;
        let places = [Some(&mut parts.train), Some(&mut parts.test), parts.valid.as_mut()];
        for (place, leaves) in places.into_iter().zip([train, test, valid]) {
            if let Some(place) = place.filter(|_| !leaves.is_empty()) {
                place.push((name.clone(), leaves));
            }
        }
    }
    Ok(parts)
}

/// Says which folders are taken together, if there are any.
pub(super) fn merged(classes: &[Class]) -> Option<String> {
    let names: BTreeSet<&str> =
        classes.iter().flat_map(|(_, leaves)| leaves).map(outermost).filter(|name| !name.is_empty()).collect();
    let first: Vec<&str> = names.iter().take(4).copied().collect();
    let more = if names.len() > 4 { format!(" and {} more", names.len() - 4) } else { String::new() };
    (!first.is_empty()).then(|| {
        format!(
            "the folders inside class folders ({}{more}) are read as part of their class; nested: \"path\" makes each \
             a class of its own",
            first.join(", ")
        )
    })
}
