//! The charts of a run: what they show is logged, and they are drawn from the journal, now or once the run has time.

use super::{Run, State};
use crate::run::drawing::cells_from_genotype;
use crate::run::journal::{Entry, read};
use crate::run::plots::{CurvesOver, MixingWeights, Plot, Results, figures};
use crate::{Error, Result, chart};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// The share of a run's time that drawing charts may take while it runs.
const DRAWING_SHARE: f64 = 0.05;

impl Run {
    /// Draws the fields `names` over time, and redraws them at the end of the run.
    ///
    /// # Errors
    /// A field of that name was never logged.
    pub fn plot(&self, names: &[String]) -> Result<()> {
        let state = &mut *self.state();
        for name in names {
            check_chart_name(name)?;
            if !state.journal.names().contains(name) {
                let known: Vec<&str> = state.journal.names().iter().map(String::as_str).collect();
                return Err(match known.is_empty() {
                    true => Error::user(format!("there is no field \"{name}\" to plot")).hint("log it first"),
                    false => Error::unknown("logged field", name, known),
                });
            }
        }
        state.want(Plot::Curves(names.to_vec()))
    }

    /// Logs mixing weights, by kind of cell, and draws their course and their state.
    pub fn plot_alphas(&self, weights: &BTreeMap<String, MixingWeights>) -> Result<()> {
        let value = serde_json::to_value(weights).map_err(|e| Error::run(format!("mixing weights: {e}")))?;
        let state = &mut *self.state();
        state.write(&Entry::from_iter([("alphas".to_string(), value)]))?;
        state.want(Plot::Alphas)
    }

    /// Logs a genotype (unless it is the last one logged) and draws its cells.
    ///
    /// # Errors
    /// It does not have the form of one, see [`cells_from_genotype`].
    pub fn draw(&self, genotype: &Value) -> Result<()> {
        cells_from_genotype(genotype)?;
        let state = &mut *self.state();
        if state.genotype.as_ref() != Some(genotype) {
            state.write(&Entry::from_iter([("genotype".to_string(), genotype.clone())]))?;
        }
        state.want(Plot::Cells)
    }

    /// Logs groups of results and draws them side by side.
    ///
    /// # Errors
    /// A result that is not finite, which no chart could show.
    pub fn plot_groups(&self, name: &str, groups: &Results) -> Result<()> {
        if let Some((group, value)) = groups.iter().find_map(|(g, v)| Some((g, v.iter().find(|v| !v.is_finite())?))) {
            return Err(Error::user(format!("the group \"{group}\" holds {value}, which no chart can show")));
        }
        check_chart_name(name)?;
        let value = serde_json::json!({ name: groups });
        let state = &mut *self.state();
        state.write(&Entry::from_iter([("groups".to_string(), value)]))?;
        state.want(Plot::Groups(name.to_string()))
    }

    /// Logs curves over a quantity of their own and draws them into one panel.
    ///
    /// # Errors
    /// A number that is not finite, which no chart could show, or a curve that runs backwards.
    pub fn plot_curves(&self, name: &str, curves: &CurvesOver) -> Result<()> {
        for (curve, points) in &curves.curves {
            if let Some(point) = points.iter().find(|(x, y)| !x.is_finite() || !y.is_finite()) {
                return Err(Error::user(format!("the curve \"{curve}\" holds {point:?}, which no chart can show")));
            }
            if let Some(pair) = points.windows(2).find(|pair| pair[0].0 > pair[1].0) {
                let (before, after) = (pair[0].0, pair[1].0);
                return Err(Error::user(format!("the curve \"{curve}\" runs backwards: {after} follows {before}"))
                    .hint(format!("points in ascending {}", curves.x)));
            }
        }
        check_chart_name(name)?;
        let value = serde_json::json!({ name: curves });
        let state = &mut *self.state();
        state.write(&Entry::from_iter([("curves".to_string(), value)]))?;
        state.want(Plot::Over(name.to_string()))
    }
}

/// A chart's name is that of its file in `plots/`, and must not lead out of there.
fn check_chart_name(name: &str) -> Result<()> {
    match name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        true => Err(Error::user(format!("\"{name}\" is not a name for a chart's file"))),
        false => Ok(()),
    }
}

impl State {
    /// Draws a chart if drawing has been cheap so far, or else puts it off.
    fn want(&mut self, plot: Plot) -> Result<()> {
        self.put_off.insert(plot);
        if self.keeper.waits() {
            return Ok(());
        }
        match self.drawing.as_secs_f64() <= DRAWING_SHARE * self.started.elapsed().as_secs_f64() {
            true => self.draw_all(),
            false => Ok(()),
        }
    }

    pub(super) fn draw_all(&mut self) -> Result<()> {
        if self.put_off.is_empty() {
            return Ok(());
        }
        self.journal.check_there()?;
        let begun = Instant::now();
        let entries = read(self.journal.path())?;
        for plot in std::mem::take(&mut self.put_off) {
            for (name, figure) in figures(&plot, &entries)? {
                let name = self.chart_file(name, &plot);
                chart::save(&figure, &self.folder.plots().join(name))?;
            }
        }
        self.drawing += begun.elapsed();
        Ok(())
    }

    /// The name of a chart's file: its own, unless another chart has it.
    fn chart_file(&mut self, name: String, plot: &Plot) -> String {
        let numbered = |number: u64| if number == 1 { name.clone() } else { format!("{name}-{number}") };
        let free = |name: &String| self.charts.get(name).is_none_or(|other| other == plot);
        let name = (1..).map(numbered).find(free).unwrap_or(name);
        self.charts.insert(name.clone(), plot.clone());
        name
    }
}
