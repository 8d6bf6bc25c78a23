//! Checkpoints: all that a run needs to go on, as files that outlive crashes and power cuts.
//!
//! `checkpoint/NUMBER-CRC32.safetensors`: the tensors of everything that lasts, named `INDEX.KIND.NAME` after their
//! index in the run's list, and in the metadata's entry `candlewick` the rest as JSON ([`Header`]). A file's name says
//! what its bytes add up to, so one that was damaged is skipped for the one before; two are kept.

use super::plots::Plot;
use crate::{Error, Result, files};
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

const ENTRY: &str = "candlewick";
/// Counts changes that older versions cannot read.
const FORMAT: u32 = 1;
/// How many checkpoints are kept.
const GENERATIONS: usize = 2;

/// Something that a run's loop changes and that a resumed run must find again: a network, an optimiser, a position in
/// the data, the positions of random streams. A handle; clones are the same thing.
pub trait Lasting: Send {
    /// What it is, in one word that stands in file names and messages.
    fn kind(&self) -> &'static str;

    /// All that changes, as named tensors that nothing changes any more.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;

    /// Puts back what [`state`](Self::state) gave.
    fn restore(&self, state: &[(String, Tensor)]) -> Result<()>;
}

/// What a checkpoint holds beside tensors.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Header {
    pub format: u32,
    /// The epoch that begins here.
    pub epoch: u64,
    /// The last step that ran, and the steps begun, over the whole run.
    pub step: u64,
    pub begun: u64,
    /// Bytes of the journal that were written.
    pub journal: u64,
    /// Seconds that the run had taken.
    pub elapsed: f64,
    /// The values that the script keeps.
    pub kept: Map<String, Value>,
    /// The genotype logged last.
    pub genotype: Option<Value>,
    /// Charts that were yet to be drawn.
    pub put_off: BTreeSet<Plot>,
    /// The kinds of what lasts, in order.
    pub lasting: Vec<String>,
}

/// The state of a run between two epochs.
pub struct Snapshot {
    pub header: Header,
    /// The tensors of each lasting thing, in order.
    lasting: Vec<Vec<(String, Tensor)>>,
}

impl Snapshot {
    /// The state of `lasting` as it is now.
    pub fn take(header: Header, lasting: &[Box<dyn Lasting>]) -> Result<Self> {
        let kinds = lasting.iter().map(|item| item.kind().to_string()).collect();
        let states = lasting.iter().map(|item| item.state()).collect::<Result<_>>()?;
        Ok(Self { header: Header { format: FORMAT, lasting: kinds, ..header }, lasting: states })
    }

    /// Puts the state back.
    ///
    /// # Errors
    /// Other things than those that the checkpoint was made of, or other shapes.
    pub fn restore(&self, lasting: &[Box<dyn Lasting>]) -> Result<()> {
        let hint = "resume with the script and the settings that the run began with";
        let kinds: Vec<&str> = lasting.iter().map(|item| item.kind()).collect();
        if kinds != self.header.lasting {
            return Err(Error::user(format!(
                "the checkpoint holds {}; the script lists {}",
                listed(&self.header.lasting),
                listed(&kinds)
            ))
            .hint(hint));
        }
        for (index, (item, state)) in lasting.iter().zip(&self.lasting).enumerate() {
            item.restore(state).map_err(|error| Error {
                message: format!("the checkpoint's {} at index {index} does not fit: {}", item.kind(), error.message),
                hint: error.hint.or_else(|| Some(hint.into())),
                ..error
            })?;
        }
        Ok(())
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let failed = |error: &dyn fmt::Display| Error::run(format!("checkpoint: {error}"));
        let header = serde_json::to_string(&self.header).map_err(|e| failed(&e))?;
        let named = self.lasting.iter().zip(&self.header.lasting).enumerate();
        let tensors = named.flat_map(|(index, (state, kind))| {
            state
                .iter()
                .map(move |(name, tensor)| Ok((format!("{index}.{kind}.{name}"), tensor.to_device(&Device::Cpu)?)))
        });
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        safetensors::serialize(tensors, Some(HashMap::from([(ENTRY.to_string(), header)]))).map_err(|e| failed(&e))
    }

    /// The snapshot in a file's bytes; `None` if they are none that this version can read.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).ok()?;
        let header: Header = serde_json::from_str(metadata.metadata().as_ref()?.get(ENTRY)?).ok()?;
        let mut lasting: Vec<Vec<(String, Tensor)>> = header.lasting.iter().map(|_| Vec::new()).collect();
        for (name, tensor) in candle_core::safetensors::load_buffer(bytes, &Device::Cpu).ok()? {
            let mut parts = name.splitn(3, '.');
            let index: usize = parts.next()?.parse().ok()?;
            lasting.get_mut(index)?.push((parts.nth(1)?.to_string(), tensor));
        }
        (header.format <= FORMAT).then_some(Self { header, lasting })
    }
}

fn listed<T: fmt::Display>(kinds: &[T]) -> String {
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    if kinds.is_empty() { "nothing".into() } else { kinds.join(", ") }
}

/// The checkpoints of one run.
pub struct Checkpoints {
    folder: PathBuf,
}

impl Checkpoints {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Whether none was ever written.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.files()?.is_empty())
    }

    /// Writes the snapshot beside the others, and removes all but the last two.
    ///
    /// # Errors
    /// The folder cannot be written or the disk is full; the checkpoints before are whole then.
    pub fn write(&self, snapshot: &Snapshot) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(|e| Error::file(&self.folder, &e))?;
        let files = self.files()?;
        let bytes = snapshot.bytes()?;
        let number = files.last().map_or(0, |(number, _)| number + 1);
        let name = format!("{number:06}-{:08x}.safetensors", crc32fast::hash(&bytes));
        files::replace(&self.folder.join(name), &bytes)?;
        let old = files.into_iter().rev().skip(GENERATIONS - 1).map(|(_, path)| path);
        // Leftovers of writes that were interrupted.
        let half = self.paths()?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "part"));
        for path in old.chain(half) {
            files::remove(&path).map_err(|e| Error::file(&path, &e))?;
        }
        Ok(())
    }

    /// The newest snapshot that is whole and whose part of the journal is, where the journal has `journal` bytes; and
    /// the files that were skipped for it.
    ///
    /// # Errors
    /// There is none.
    pub fn newest(&self, journal: u64) -> Result<(Snapshot, Vec<PathBuf>)> {
        let mut passed = Vec::new();
        for (_, path) in self.files()?.into_iter().rev() {
            let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, &e))?;
            let whole = sum(&path) == Some(crc32fast::hash(&bytes));
            match whole.then(|| Snapshot::read(&bytes)).flatten() {
                Some(snapshot) if snapshot.header.journal <= journal => return Ok((snapshot, passed)),
                _ => passed.push(path),
            }
        }
        Err(Error::user(format!("no checkpoint in {} is whole", self.folder.display()))
            .hint("the files were damaged, or written by a later version of candlewick"))
    }

    /// The whole files by number.
    fn files(&self) -> Result<Vec<(u64, PathBuf)>> {
        let number = |path: &Path| path.file_name()?.to_str()?.split_once('-')?.0.parse().ok();
        let whole = self.paths()?.into_iter().filter(|path| sum(path).is_some());
        let mut files: Vec<(u64, PathBuf)> = whole.filter_map(|path| Some((number(&path)?, path))).collect();
        files.sort();
        Ok(files)
    }

    fn paths(&self) -> Result<Vec<PathBuf>> {
        match std::fs::read_dir(&self.folder) {
            Ok(entries) => Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::file(&self.folder, &error)),
        }
    }
}

/// The sum that a file's name says its bytes have.
fn sum(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_suffix(".safetensors")?;
    u32::from_str_radix(name.split_once('-')?.1, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::faults::{Stop, stopping};

    fn snapshot(epoch: u64) -> Snapshot {
        let weights = Tensor::full(epoch as f32, 1000, &Device::Cpu).unwrap();
        let header = Header { format: FORMAT, epoch, lasting: vec!["network".into()], ..Header::default() };
        Snapshot { header, lasting: vec![vec![("weights".into(), weights)]] }
    }

    /// The epochs of the checkpoints that are whole, from the newest on.
    fn whole(checkpoints: &Checkpoints) -> Vec<u64> {
        let files = checkpoints.files().unwrap().into_iter().rev().map(|(_, path)| path);
        let read = files.filter_map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            let snapshot = (sum(&path) == Some(crc32fast::hash(&bytes))).then(|| Snapshot::read(&bytes))??;
            let weights = snapshot.lasting[0][0].1.to_vec1::<f32>().unwrap();
            assert!(weights.iter().all(|&weight| weight == snapshot.header.epoch as f32));
            Some(snapshot.header.epoch)
        });
        read.collect()
    }

    #[test]
    fn a_checkpoint_is_whole_wherever_writing_the_next_one_stops() {
        for stop in [Stop::Killed, Stop::PowerCut] {
            for changes in 0.. {
                let folder = tempfile::tempdir().unwrap();
                let checkpoints = Checkpoints::new(folder.path().join("checkpoint"));
                (0..2).for_each(|epoch| checkpoints.write(&snapshot(epoch)).unwrap());
                let ended = stopping(stop, changes, || checkpoints.write(&snapshot(2)));
                let found = whole(&checkpoints);
                match (&ended, found[0]) {
                    (Ok(()), _) => assert_eq!(found, [2, 1], "{stop:?} after {changes}"),
                    (Err(_), 2) => assert_eq!(found, [2, 1, 0], "{stop:?} after {changes}"),
                    (Err(_), _) => assert_eq!(found, [1, 0], "{stop:?} after {changes}"),
                }
                let (newest, _) = checkpoints.newest(u64::MAX).unwrap();
                assert_eq!(newest.header.epoch, found[0], "{stop:?} after {changes}");
                // A run that goes on from there leaves two, and nothing half written.
                checkpoints.write(&snapshot(3)).unwrap();
                assert_eq!(whole(&checkpoints), [3, found[0]], "{stop:?} after {changes}");
                assert_eq!(checkpoints.paths().unwrap().len(), GENERATIONS, "{stop:?} after {changes}");
                if ended.is_ok() {
                    // Create, sync, rename, sync the folder, remove: each was a place to stop at.
                    assert_eq!(changes, 5);
                    break;
                }
            }
        }
    }
}
