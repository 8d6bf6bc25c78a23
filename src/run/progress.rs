//! Progress on stderr: a bar on a terminal, a line now and then elsewhere, a summary after each epoch in both.
//!
//! There is no colour, so `NO_COLOR` has nothing to switch off, and nothing goes to stdout, which belongs to results.

use crate::error::tell;
use crate::streams::Stderr;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Without a terminal, at most one line in this time, and then only where a tenth of the epoch is done …
const OFTEN: Duration = Duration::from_secs(2);
/// … or where this much time has passed.
const SELDOM: Duration = Duration::from_secs(30);

/// Shows how far a run is.
pub struct Progress {
    face: Face,
    started: Instant,
    /// Steps of the whole run so far.
    total: u64,
    /// The epoch that is running, if the run has any.
    epoch: Option<u64>,
    epochs: Option<u64>,
    /// The first epoch that this process runs: a resumed run's pace is that of its own epochs.
    first: Option<u64>,
    /// The loop over steps that is running, if one is.
    steps: Option<Loop>,
    shown: Vec<(String, f64)>,
}

enum Face {
    Bar(ProgressBar),
    Lines { sink: Box<dyn Write + Send>, last: Instant },
    Hidden,
}

struct Loop {
    started: Instant,
    done: u64,
    count: Option<u64>,
}

impl Progress {
    /// A bar where stderr is a terminal, lines where it is not.
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            Self::with(Face::Bar(bar))
        } else {
            Self::lines(Box::new(Stderr))
        }
    }

    /// Plain lines into `sink`.
    pub fn lines(sink: Box<dyn Write + Send>) -> Self {
        Self::with(Face::Lines { sink, last: Instant::now() })
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::with(Face::Hidden)
    }

    fn with(face: Face) -> Self {
        Self {
            face,
            started: Instant::now(),
            total: 0,
            epoch: None,
            epochs: None,
            first: None,
            steps: None,
            shown: Vec::new(),
        }
    }

    /// A new epoch begins, number `epoch` counted from 0, of `epochs`.
    pub fn begin_epoch(&mut self, epoch: u64, epochs: Option<u64>) {
        self.end_steps();
        (self.epoch, self.epochs) = (Some(epoch), epochs);
        self.first.get_or_insert(epoch);
    }

    /// A loop over steps begins; `count` of them if that is known.
    pub fn begin_steps(&mut self, count: Option<u64>) {
        self.end_steps();
        self.steps = Some(Loop { started: Instant::now(), done: 0, count });
        if let Face::Bar(bar) = &self.face {
            bar.reset();
            bar.set_length(count.unwrap_or(0));
            let style = match count {
                Some(_) => ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg}"),
                None => ProgressStyle::with_template("{prefix} {spinner} {pos} {msg}"),
            };
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─"));
            bar.set_prefix(self.position());
        }
    }

    /// One step is done; `values` are shown until the next one's.
    pub fn step(&mut self, values: &[(String, f64)]) {
        self.total += 1;
        if !values.is_empty() {
            self.shown = values.to_vec();
        }
        let Some(steps) = &mut self.steps else { return };
        steps.done += 1;
        let (done, count) = (steps.done, steps.count);
        match &mut self.face {
            Face::Hidden => {}
            Face::Bar(bar) => {
                bar.set_position(done);
                let message = self.message();
                if let Face::Bar(bar) = &self.face {
                    bar.set_message(message);
                }
            }
            Face::Lines { last, .. } => {
                let tenth = count.is_some_and(|count| done % count.div_ceil(10) == 0 && done < count);
                if (tenth && last.elapsed() >= OFTEN) || last.elapsed() >= SELDOM {
                    *last = Instant::now();
                    let of = count.map_or(String::new(), |count| format!("/{count}"));
                    let line = format!("{}  step {done}{of}  {}", self.position(), self.message());
                    self.line(&line);
                }
            }
        }
    }

    /// The loop over steps is done.
    pub fn end_steps(&mut self) {
        if self.steps.take().is_some()
            && let Face::Bar(bar) = &self.face
        {
            bar.finish_and_clear();
        }
    }

    /// Numbers that sum an epoch up.
    pub fn summary(&mut self, values: &[(String, f64)]) {
        if !values.is_empty() {
            let numbers: Vec<String> = values.iter().map(|(name, value)| shown(name, *value)).collect();
            let took = self.started.elapsed();
            let left = self.left(took).map(|left| format!(", about {} left", spoken(left))).unwrap_or_default();
            let line = format!("{}  {}  after {}{left}", self.position(), numbers.join("  "), spoken(took));
            self.line(&line);
        }
    }

    /// How long the epochs after this one take, if they take as long as those so far, of which this is the last.
    fn left(&self, took: Duration) -> Option<Duration> {
        let (first, epoch, epochs) = (self.first?, self.epoch?, self.epochs?);
        let after = epochs.saturating_sub(epoch + 1);
        (after > 0).then(|| took.mul_f64(after as f64 / (epoch + 1 - first) as f64))
    }

    /// A line of somebody else's.
    pub fn note(&mut self, line: &str) {
        self.line(line);
    }

    fn line(&mut self, line: &str) {
        let line = line.trim_start();
        match &mut self.face {
            // A closed stderr must not stop a search.
            Face::Lines { sink, .. } => drop(writeln!(sink, "{line}").and_then(|()| sink.flush())),
            Face::Bar(bar) => bar.suspend(|| tell(line)),
            Face::Hidden => {}
        }
    }

    fn position(&self) -> String {
        match (self.epoch, self.epochs) {
            (Some(epoch), Some(epochs)) => format!("epoch {}/{epochs}", epoch + 1),
            (Some(epoch), None) => format!("epoch {}", epoch + 1),
            (None, _) => String::new(),
        }
    }

    /// Values, rate, and how long the run still takes at the pace it had so far.
    fn message(&self) -> String {
        let mut parts: Vec<String> = self.shown.iter().map(|(name, value)| shown(name, *value)).collect();
        if let Some(steps) = &self.steps {
            let rate = steps.done as f64 / steps.started.elapsed().as_secs_f64().max(1e-9);
            parts.push(if rate >= 1.0 { format!("{rate:.1} steps/s") } else { format!("{:.1} s/step", 1.0 / rate) });
            if let Some(count) = steps.count {
                let after =
                    self.epochs.zip(self.epoch).map_or(0, |(epochs, epoch)| epochs.saturating_sub(epoch + 1) * count);
                let left = (count.saturating_sub(steps.done) + after) as f64;
                let pace = self.started.elapsed().as_secs_f64() / self.total.max(1) as f64;
                parts.push(format!("{} left", spoken(Duration::from_secs_f64(left * pace))));
            }
        }
        parts.join("  ")
    }
}

fn shown(name: &str, value: f64) -> String {
    match value.abs() {
        0.0 | 1e-3..1e7 => format!("{name} {value:.4}"),
        // Four digits after the point would be zeros, or far more digits before it than anyone reads.
        _ => format!("{name} {value:.3e}"),
    }
}

/// A duration to the precision that matters: "12 s", "3 min 20 s", "2 h 05 min".
fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_told_apart() {
        let shown = |value| shown("loss", value);
        assert_eq!(shown(2.4026), "loss 2.4026");
        assert_eq!(shown(0.0), "loss 0.0000");
        assert_eq!((shown(1e-6), shown(2.5e-7)), ("loss 1.000e-6".into(), "loss 2.500e-7".into()));
        assert_eq!(shown(-3e30), "loss -3.000e30");
        assert_eq!(shown(f64::NAN), "loss NaN");
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(spoken(Duration::from_millis(12_400)), "12 s");
        assert_eq!(spoken(Duration::from_secs(200)), "3 min 20 s");
        assert_eq!(spoken(Duration::from_secs(7_500)), "2 h 05 min");
    }
}
