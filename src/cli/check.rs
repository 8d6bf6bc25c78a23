//! `candlewick check SCRIPT…`: what is wrong with scripts, as far as reading tells.

use super::lines::print;
use super::{Outcome, Pages};
use crate::error::tell;
use crate::script::{Host, Page, Script, Setup, on_script_thread};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// The scripts.
    #[arg(required = true)]
    scripts: Vec<PathBuf>,
}

pub fn check(arguments: Arguments) -> Outcome {
    let mut found = vec![];
    for path in &arguments.scripts {
        let pages = on_script_thread(|| findings(path))?;
        if pages.is_empty() {
            print(&format!("{}: nothing wrong found\n", path.display()))?;
        }
        found.extend(pages);
    }
    if found.is_empty() { Ok(()) } else { Err(Pages(found).into()) }
}

fn findings(path: &Path) -> Vec<Page> {
    match Script::load(Host::new(Setup { script: path.into(), ..Setup::default() })) {
        Ok(script) => {
            script.warnings().iter().for_each(|warning| tell(warning));
            script.check()
        }
        Err(page) => vec![*page],
    }
}
