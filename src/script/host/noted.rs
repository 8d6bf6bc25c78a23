//! The data that a script has read, kept for its run: to be written into the run's folder, and to be compared with what
//! a run that goes on was read from.

use super::{Host, lock};
use crate::data::Listed;
use crate::run::{Recorded, write_data};
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Data that were read.
#[derive(Clone)]
pub(super) struct Noted {
    name: String,
    list: Arc<[Listed]>,
    /// That of its list in the run's folder, counted from 1.
    number: usize,
}

impl Host {
    /// Notes what a data set, a text or a table called `name` was read from: for the run folder, and to make sure that
    /// a resumed run goes on with what it began with. What is read again as it was is one with what was read before.
    ///
    /// # Errors
    /// Other data than those of the run that is to go on, unless that is allowed; a run folder that cannot be written.
    pub fn note_data(&self, name: &str, list: &Arc<[Listed]>) -> Result<()> {
        if list.is_empty() {
            return Ok(());
        }
        let known = |one: &Noted| one.name == name && one.list == *list;
        if lock(&self.data).iter().any(known) {
            return Ok(());
        }
        let mut recorded = lock(&self.recorded);
        let before = match (&mut *recorded, &self.setup.resume) {
            (Some(before), _) => before,
            (none, Some(folder)) if !self.setup.force => none.insert(Recorded::of(folder)?),
            // A damaged list keeps nobody from going on by force.
            (none, Some(folder)) => none.insert(Recorded::of(folder).unwrap_or_default()),
            (none, None) => none.insert(Recorded::default()),
        };
        let met = before.meet(list);
        let first_new = before.count() + 1;
        drop(recorded);
        let number = {
            let mut data = lock(&self.data);
            let news = data.iter().filter(|one| one.number >= first_new).count();
            let number = met.as_ref().map_or(first_new + news, |(number, _)| *number);
            data.push(Noted { name: name.to_string(), list: list.clone(), number });
            number
        };
        if let (Some(folder), false) = (&self.setup.resume, self.setup.force)
            && let Some((_, Some(difference))) = met
        {
            let folder = folder.display();
            return Err(Error::user(format!(
                "the data are not those that the run in {folder} began with: {difference}"
            ))
            .hint("put them back as they were, or go on all the same with --force"));
        }
        match self.notes.run() {
            Some(run) => write_data(&run.folder(), number, list),
            None => Ok(()),
        }
    }

    /// Writes the lists noted so far into a run's folder.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write_data(&self, folder: &Path) -> Result<()> {
        let data = lock(&self.data).clone();
        data.iter().try_for_each(|one| write_data(folder, one.number, &one.list))
    }
}
