//! Files that are never half written: a reader sees the old content or the new, after a power cut too.

#[cfg(test)]
pub(crate) mod faults;

use crate::{Error, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// One change of the disk.
#[cfg_attr(not(test), expect(dead_code, reason = "the machine that may stop is a unit test's"))]
enum Change<'a> {
    /// A new file with these bytes.
    Create(&'a Path, &'a [u8]),
    /// These bytes at the end of a file.
    Append(&'a Path, &'a [u8]),
    /// What was written to a file outlives a power cut from here on.
    Sync(&'a Path),
    Rename(&'a Path, &'a Path),
    /// So do the names in a folder.
    SyncFolder(&'a Path),
    Remove(&'a Path),
}

/// Every change passes here before it is made: a unit test can let the machine stop at any of them.
fn pass(change: &Change) -> io::Result<()> {
    #[cfg(test)]
    faults::pass(change)?;
    let _ = change;
    Ok(())
}

/// Writes `bytes` to a new file beside `path`, sees it to the disk, and renames it over `path`.
///
/// # Errors
/// The folder cannot be written, or the disk is full; what stood at `path` is whole then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    if let Err(error) = write(&beside, bytes) {
        // The first error is the one to tell.
        let _ = remove(&beside);
        return Err(Error::file(&beside, &error));
    }
    let named = pass(&Change::Rename(&beside, path)).and_then(|()| std::fs::rename(&beside, path));
    named.map_err(|e| Error::file(path, &e))?;
    // The new name, too, has to outlive a power cut; not every system lets a folder be opened for that.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    pass(&Change::SyncFolder(folder)).map_err(|e| Error::file(folder, &e))?;
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    pass(&Change::Create(path, bytes))?;
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    sync(&file, path)
}

/// Writes `bytes` at the end of the file at `path`, which is open for that, in one call of the system.
///
/// # Errors
/// The disk is full.
pub fn append(mut file: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    pass(&Change::Append(path, bytes))?;
    file.write_all(bytes)
}

/// Sees what was written to an open file to the disk.
///
/// # Errors
/// The disk reports one.
pub fn sync(file: &File, path: &Path) -> io::Result<()> {
    pass(&Change::Sync(path))?;
    file.sync_all()
}

/// Removes a file.
///
/// # Errors
/// It is not there, or not to be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    pass(&Change::Remove(path))?;
    std::fs::remove_file(path)
}
