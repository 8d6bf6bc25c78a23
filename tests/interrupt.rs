//! Ctrl-C stops a run's loops at the next turn and leaves the journal whole. One test only: the flag is the process's.

use candlewick::error::{Blame, Error};
use candlewick::run::{Entry, Progress, Run, RunFolder, RunInfo, number, read};

#[test]
fn an_interrupted_run_ends_at_the_next_turn_with_its_journal_whole() {
    let folder = tempfile::tempdir().unwrap();
    let info = RunInfo { script: "search.rhai".into(), ..RunInfo::default() };
    let run =
        Run::start(RunFolder::begin(folder.path(), &info, None).unwrap(), Progress::hidden(), vec![], Entry::new())
            .unwrap();
    let mut stop = None;
    'run: for epoch in run.epochs(5) {
        let epoch = epoch.unwrap();
        for step in run.steps((0..10u64).map(Ok), Some(10)) {
            match step {
                Ok(step) => run
                    .log(&Entry::from_iter([("train_loss".to_string(), number(1.0))]))
                    .map(|()| {
                        if (epoch, step) == (1, 4) {
                            candlewick::interrupt::request();
                        }
                    })
                    .unwrap(),
                Err(error) => {
                    stop = Some(error);
                    break 'run;
                }
            }
        }
    }
    assert_eq!(stop.map(|error| error.blame), Some(Blame::Interrupt));
    assert_eq!(run.epochs(1).next().and_then(Result::err).map(|error| error.blame), Some(Blame::Interrupt));
    drop(run);
    let text = std::fs::read_to_string(folder.path().join("journal.jsonl")).unwrap();
    assert!(text.ends_with("}\n"));
    assert_eq!(read(&folder.path().join("journal.jsonl")).unwrap().len(), 15);
    // An error of candle's is what it is, although the flag stands.
    let misfit: Error = candle_core::Error::Msg("shapes do not fit".into()).into();
    assert_eq!((misfit.blame, misfit.message.as_str()), (Blame::User, "shapes do not fit"));
}
