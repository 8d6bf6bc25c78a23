//! How a run begins, and how it goes on.

use super::lasting::{kept, lasting};
use crate::engine::Isa;
use crate::run::{Entry, Lasting, Progress, Run, RunFolder, RunInfo};
use crate::script::binding::type_name;
use crate::script::host::Host;
use crate::script::nouns::json::to_json;
use crate::{Error, Result};
use rhai::{Dynamic, Map};
use std::path::Path;
use std::sync::Arc;

/// `start_run(state, #{ keep: keep })`.
pub fn start(host: &Arc<Host>, state: &[Dynamic], keep: &Map) -> Result<Run> {
    let lasting = lasting(host, state)?;
    let parameters: Result<Entry> = host.params().into_iter().map(|p| Ok((p.name, to_json(&p.value)?))).collect();
    let script = &host.setup.script;
    let info = RunInfo {
        script: script.file_name().map_or("script.rhai".into(), |name| name.to_string_lossy().into_owned()),
        parameters: parameters?,
        settings: host.setup.settings.clone(),
        data: host.setup.data.clone(),
        seed: host.seed().0,
        device: host.setup.device_name.clone(),
        precision: precision(host).into(),
        threads: host.setup.threads,
        simd: Isa::choose()?.name().into(),
        state: state.iter().map(type_name).collect(),
    };
    // A script typed in rather than read from a file has nothing to copy.
    let source = std::fs::read_to_string(script).ok();
    let (path, source, kept) = (host.run_folder()?, source.as_deref(), kept(keep)?);
    let run = match host.take_resume() {
        true => resume(host, &path, &info, source, lasting, kept)?,
        false => Run::start(RunFolder::begin(&path, &info, source)?, Progress::on_stderr(), lasting, kept)?,
    };
    host.write_data(&path)?;
    host.notes.follow(&run);
    Ok(run)
}

/// The precision as the command line names it.
fn precision(host: &Host) -> &'static str {
    host.dtype().as_str()
}

/// Goes on with the run in the folder `path`, and says what makes it differ from the run that was never interrupted.
fn resume(
    host: &Host,
    path: &Path,
    info: &RunInfo,
    source: Option<&str>,
    lasting: Vec<Box<dyn Lasting>>,
    kept: Entry,
) -> Result<Run> {
    let before = RunFolder::info(path)?;
    if before.precision != info.precision {
        return Err(Error::user(format!("the run began in {}, not in {}", before.precision, info.precision))
            .hint(format!("--precision {}", before.precision)));
    }
    for (before, now) in [(&before.device, &info.device), (&before.simd, &info.simd)] {
        if before != now {
            host.notes.show(&format!("warning: the run began on {before}, this is {now}: not the same bits"));
        }
    }
    let reopened = RunFolder::reopen(path, info, source)?;
    if reopened.is_other_script() {
        host.notes.show("warning: the script is not the one that the run began with");
    }
    let folder = reopened.folder.clone();
    if folder.checkpoints().is_empty()? {
        host.notes.show(&format!("{} has no checkpoint yet: the run starts over", path.display()));
        folder.put_journal_aside()?;
        reopened.go_on()?;
        return Run::start(folder, Progress::on_stderr(), lasting, kept);
    }
    Run::resume(reopened, Progress::on_stderr(), lasting, kept)
}
