//! Ctrl-C stops a run's loops at the next turn and leaves the journal whole; it stops a decoder's loss, windows of
//! text and the scoring of cells. One test only: the flag is the process's.

use candle_core::{DType, Device, Tensor, Var};
use candlewick::data::text::{Jitter, TextOptions, TextSource, WindowOptions, Windows};
use candlewick::engine::DecoderLoss;
use candlewick::error::{Blame, Error};
use candlewick::learn::scratch::{ScoreCache, Task, score_all};
use candlewick::random::Seed;
use candlewick::run::{Entry, Progress, Run, RunFolder, RunInfo, number, read};

fn windows() -> Windows {
    let text = candlewick::data::text::read(&TextSource::Austen, &TextOptions::default()).unwrap();
    let options = WindowOptions { length: 10, jitter: Jitter::None };
    Windows::new(&text.valid, 4, options, Seed(0), "windows").unwrap()
}

#[test]
fn an_interrupted_run_ends_at_the_next_turn_with_its_journal_whole() {
    let folder = tempfile::tempdir().unwrap();
    let info = RunInfo { script: "search.rhai".into(), ..RunInfo::default() };
    let run =
        Run::start(RunFolder::begin(folder.path(), &info, None).unwrap(), Progress::hidden(), vec![], Entry::new())
            .unwrap();
    let (decoder, windows) = (DecoderLoss::new().unwrap(), windows());
    let x = Var::ones((3, 2), DType::F32, &Device::Cpu).unwrap();
    let (e, b) = (Tensor::ones((5, 2), DType::F32, &Device::Cpu).unwrap(), Tensor::zeros(5, DType::F32, &Device::Cpu));
    let (b, targets) = (b.unwrap(), Tensor::new(&[0u32, 1, 4], &Device::Cpu).unwrap());
    // Rows that weigh differently, so that the backward pass runs on its own.
    let weighted = decoder.of_rows(&x, &e, &b, &targets).unwrap();
    let weighted = (weighted * Tensor::new(&[1f32, 2.0, 3.0], &Device::Cpu).unwrap()).unwrap().sum_all().unwrap();
    assert!(weighted.backward().is_ok() && windows.next().is_ok());
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
    let stopped = |error: Option<Error>| assert_eq!(error.map(|error| error.blame), Some(Blame::Interrupt));
    stopped(decoder.of_rows(&x, &e, &b, &targets).err());
    stopped(weighted.backward().err().map(Error::from));
    stopped(windows.next().err());
    stopped(windows.epoch(0).next().and_then(Result::err));
    stopped(candlewick::data::text::read(&TextSource::Austen, &TextOptions::default()).err());
    let never = || panic!("no cell is trained any more");
    let cell = Task { cell: "a cell".into(), key: 1.into(), cost: 1.0, train: Box::new(never) };
    stopped(score_all(&[cell], &ScoreCache::default(), 2, |_| ()).err());
    drop(run);
    let text = std::fs::read_to_string(folder.path().join("journal.jsonl")).unwrap();
    assert!(text.ends_with("}\n"));
    assert_eq!(read(&folder.path().join("journal.jsonl")).unwrap().len(), 15);
    // An error of candle's is what it is, although the flag stands.
    let misfit: Error = candle_core::Error::Msg("shapes do not fit".into()).into();
    assert_eq!((misfit.blame, misfit.message.as_str()), (Blame::User, "shapes do not fit"));
}
