//! Files that are never half written: whoever reads one sees the old content or the new.

use crate::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes `bytes` to a new file beside `path`, sees it to the disk, and renames it over `path`.
///
/// # Errors
/// The folder cannot be written, or the disk is full; what stood at `path` is whole then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let written = File::create(&beside).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    if let Err(error) = written {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&beside);
        return Err(Error::file(&beside, &error));
    }
    std::fs::rename(&beside, path).map_err(|e| Error::file(path, &e))?;
    // The new name, too, has to outlive a power cut; not every system lets a folder be opened for that.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}
