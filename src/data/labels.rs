//! Labels as files give them: in range, without gaps, and divided into training and test images.

use crate::error::closest;
use crate::{Error, Result};
use std::path::Path;

/// Checks that every label of `file` names one of `classes` classes.
pub(super) fn check_range(file: &Path, labels: &[i64], classes: usize) -> Result<Vec<u32>> {
    let in_range = |(record, &label): (usize, &i64)| match u32::try_from(label) {
        Ok(label) if (label as usize) < classes => Ok(label),
        _ => Err(Error::user(format!("{}: record {record} has label {label}", file.display()))
            .hint(format!("there are {classes} classes, so labels run from 0 to {}", classes.saturating_sub(1)))),
    };
    labels.iter().enumerate().map(in_range).collect()
}

/// The number of classes in training labels whose names nobody wrote down: the largest label and one. `parts` are the
/// files with their labels.
///
/// # Errors
/// A gap in 0, 1, 2 …: then the largest label is more likely a damaged record than a class, and is named.
pub(super) fn infer_classes(parts: &[(&Path, &[i64])]) -> Result<usize> {
    let mut distinct: Vec<i64> = parts.iter().flat_map(|(_, labels)| labels.iter().copied()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let gap = distinct.iter().enumerate().find(|&(expected, &label)| label != expected as i64);
    let Some((expected, &label)) = gap else { return Ok(distinct.len()) };
    let place = |(file, labels): &(&Path, &[i64])| {
        let record = labels.iter().position(|&l| l == label)?;
        Some((file.display().to_string(), record))
    };
    let Some((file, record)) = parts.iter().find_map(place) else { return Ok(distinct.len()) };
    Err(Error::user(format!("{file}: record {record} has label {label}, but no training image has label {expected}"))
        .hint("labels count the classes 0, 1, 2 … without a gap"))
}

/// Which images to learn from and which to hold out: of each class the last `share` (at least one of each kind), both
/// lists in ascending order.
///
/// `order` lists every image, the order within a class deciding who is last. A share of 1 holds out everything.
///
/// # Errors
/// A class with a single image.
pub(super) fn hold_out(
    order: &[usize],
    labels: &[u32],
    classes: &[String],
    share: f64,
) -> Result<(Vec<usize>, Vec<usize>)> {
    if share >= 1.0 {
        return Ok((vec![], order.to_vec()));
    }
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (class, name) in classes.iter().enumerate() {
        let members: Vec<usize> = order.iter().copied().filter(|&i| labels[i] as usize == class).collect();
        if members.len() < 2 {
            return Err(Error::user(format!(
                "class \"{name}\" has {} image(s), too few to hold one out",
                members.len()
            ))
            .hint("add images, or divide them yourself into train/ and test/ folders"));
        }
        let held = ((members.len() as f64 * share).round() as usize).clamp(1, members.len() - 1);
        let (learn, judge) = members.split_at(members.len() - held);
        train.extend_from_slice(learn);
        test.extend_from_slice(judge);
    }
    train.sort_unstable();
    test.sort_unstable();
    Ok((train, test))
}

/// Whether each image of a class is held out: where its key is among the lowest `share` of all keys there are, at least
/// one of each kind. A share of 1 holds out everything.
///
/// # Errors
/// A single image.
pub(super) fn hold_out_by_key(keys: &[u64], class: &str, share: f64) -> Result<Vec<bool>> {
    if share >= 1.0 {
        return Ok(vec![true; keys.len()]);
    }
    if keys.len() < 2 {
        return Err(Error::user(format!("class \"{class}\" has {} image(s), too few to hold one out", keys.len()))
            .hint("add images, or divide them yourself into train/ and test/ folders"));
    }
    let mut held: Vec<bool> = keys.iter().map(|&key| (key as f64) < share * 2f64.powi(64)).collect();
    let places = || (0..keys.len()).map(|place| (keys[place], place));
    if !held.contains(&true)
        && let Some((_, place)) = places().min()
    {
        held[place] = true;
    }
    if !held.contains(&false)
        && let Some((_, place)) = places().max()
    {
        held[place] = false;
    }
    Ok(held)
}

/// What to say of a class that no training image has.
pub(super) fn known_classes(name: &str, classes: &[String]) -> String {
    let near = closest(name, classes.iter().map(String::as_str));
    let near = near.map(|near| format!("did you mean \"{near}\"? ")).unwrap_or_default();
    format!("{near}classes in training: {}", classes.join(", "))
}
