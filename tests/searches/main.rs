//! The searches in `scripts/searches`: each runs small and leaves what a search leaves; what makes it this method and
//! not another is checked beside it.

mod bounds;
mod controllers;
mod evolution;
mod scripts_say;
mod successors;

#[path = "../support/binary.rs"]
mod binary;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/scripts.rs"]
mod scripts;
#[path = "../support/search.rs"]
mod search;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/start.rs"]
mod start;
