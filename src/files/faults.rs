//! A machine that stops in the middle of its work, for unit tests.

use super::Change;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a thread has changed on its disk while a test watches.
#[derive(Default)]
struct Disk {
    /// Changes that are still made; none after that.
    left: usize,
    stopped: bool,
    /// By file: how many of its bytes a power cut leaves.
    unsynced: HashMap<PathBuf, u64>,
    /// Names that a power cut takes back.
    renamed: Vec<(PathBuf, PathBuf)>,
}

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// How the machine stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// The process ends; the system goes on and writes what it was given.
    Killed,
    /// What was not synced is lost.
    PowerCut,
}

/// Runs `work` on a machine that makes `changes` changes of its disk, stops within the next one (a file is half
/// written) and makes none from there on.
pub fn stopping<T>(stop: Stop, changes: usize, work: impl FnOnce() -> T) -> T {
    DISK.set(Some(Disk { left: changes, ..Disk::default() }));
    let result = work();
    let disk = DISK.take().expect("it was set above");
    if stop == Stop::PowerCut {
        for (path, length) in disk.unsynced {
            if let Ok(file) = OpenOptions::new().write(true).open(path) {
                file.set_len(length).expect("the file can be cut");
            }
        }
        for (from, to) in disk.renamed.into_iter().rev() {
            std::fs::rename(to, from).expect("the file can have its old name");
        }
    }
    result
}

/// Meets a change: notes it, or refuses it once the machine has stopped.
pub(super) fn pass(change: &Change) -> io::Result<()> {
    DISK.with_borrow_mut(|disk| match disk {
        Some(disk) if disk.left > 0 => {
            disk.left -= 1;
            disk.note(change);
            Ok(())
        }
        Some(disk) => {
            if !std::mem::replace(&mut disk.stopped, true)
                && let Change::Create(path, bytes) | Change::Append(path, bytes) = change
            {
                disk.note(change);
                let mut file = OpenOptions::new().create(true).append(true).open(path)?;
                file.write_all(&bytes[..bytes.len() / 2])?;
            }
            Err(io::Error::other("the machine has stopped"))
        }
        None => Ok(()),
    })
}

impl Disk {
    fn note(&mut self, change: &Change) {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        match change {
            Change::Create(path, _) => _ = self.unsynced.insert(path.to_path_buf(), 0),
            Change::Append(path, _) => _ = self.unsynced.entry(path.to_path_buf()).or_insert_with(|| length(path)),
            Change::Sync(path) => _ = self.unsynced.remove(*path),
            Change::Rename(from, to) => {
                if let Some(length) = self.unsynced.remove(*from) {
                    self.unsynced.insert(to.to_path_buf(), length);
                }
                self.renamed.push((from.to_path_buf(), to.to_path_buf()));
            }
            Change::SyncFolder(folder) => self.renamed.retain(|(_, to)| to.parent() != Some(folder)),
            Change::Remove(path) => _ = self.unsynced.remove(*path),
        }
    }
}
