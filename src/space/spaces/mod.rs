//! Search spaces of discrete cells as values: how many cells they hold, cells drawn at random, small changes, codes for
//! predictors, and whether a cell lies inside.
//!
//! A space is a list of [decisions](Decision), each with a number of choices, and a cell in it is a *code*: one choice
//! for each decision. Where the cells are a normal and a reduction cell, codes and [genotypes](super::Genotype) are two
//! forms of the same (`genotypes`); elsewhere a code is kept with its space (`coded`).
//! `named` has the spaces of the literature.

mod coded;
mod genotypes;
mod named;

pub use coded::{CodedCell, Part};
pub use genotypes::{Cells, Concat, Inputs};
pub use named::{NAMES, Sizes};

use crate::random::Rng;
use crate::{Error, Result};
use rand::RngExt;

/// One thing that has to be decided about a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// For messages: "normal, state 2, its first op".
    pub name: String,
    pub choices: Vec<String>,
    /// The level, the part and the kind that it belongs to: a mutation chooses each of them before it chooses among
    /// decisions, so that few decisions of one kind change as often as many of another.
    pub group: [usize; 3],
}

/// What [`Decision::group`] ends with for the states that a node reads.
pub const INPUT: usize = 0;
/// … and for operations.
pub const OP: usize = 1;

/// A space of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellSpace {
    name: String,
    decisions: Vec<Decision>,
    /// Choice 0 of a decision ends the code; the first decision cannot be that.
    ends: bool,
    /// Where cells are codes: the sizes that make it this space and no other.
    sizes: Sizes,
    cells: Option<Cells>,
}

/// Which decisions a mutation may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Any,
    Input,
    Op,
}

impl Change {
    const ALL: [(&'static str, Change); 3] = [("any", Change::Any), ("input", Change::Input), ("op", Change::Op)];

    /// "any", "input" or "op".
    ///
    /// # Errors
    /// Another name.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, change)| change).ok_or_else(|| Error::unknown("change", name, Self::ALL.map(|(name, _)| name)))
    }
}

impl CellSpace {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// How its codes are genotypes, where they are.
    pub fn cells(&self) -> Option<&Cells> {
        self.cells.as_ref()
    }

    /// How many codes there are: exact as long as a float can be.
    pub fn count(&self) -> f64 {
        let sizes = self.decisions.iter().map(|decision| decision.choices.len() as f64);
        if !self.ends {
            return sizes.product();
        }
        // Codes that go on to each decision; those that end there are counted on the way.
        let (mut going, mut ended) = (1.0, 0.0);
        for (index, size) in sizes.enumerate() {
            if index > 0 {
                ended += going;
            }
            going *= size - 1.0;
        }
        ended + going
    }

    /// All codes, each once, if there are no more than `most`.
    ///
    /// # Errors
    /// More of them.
    pub fn all(&self, most: usize) -> Result<Vec<Vec<usize>>> {
        if self.count() > most as f64 {
            return Err(Error::user(format!(
                "the space \"{}\" holds {:e} cells, too many to list",
                self.name,
                self.count()
            ))
            .hint(format!("spaces of up to {most} cells are listed; random_genotype(space) draws from any")));
        }
        let mut codes = vec![vec![]];
        for (index, decision) in self.decisions.iter().enumerate() {
            let longer = |code: Vec<usize>| -> Vec<Vec<usize>> {
                if self.has_ended(&code) {
                    return vec![code];
                }
                let choices = self.first_choice(index)..decision.choices.len();
                choices.map(|choice| [code.as_slice(), &[choice]].concat()).collect()
            };
            codes = codes.into_iter().flat_map(longer).collect();
        }
        Ok(codes)
    }

    /// A code with every choice as likely as any other of its decision.
    pub fn random(&self, rng: &mut Rng) -> Vec<usize> {
        let mut code = Vec::with_capacity(self.decisions.len());
        for (index, decision) in self.decisions.iter().enumerate() {
            code.push(rng.random_range(self.first_choice(index) as u32..decision.choices.len() as u32) as usize);
            if self.has_ended(&code) {
                break;
            }
        }
        code
    }

    /// The code with one decision changed to another choice. Level, part and kind of the decision are chosen first,
    /// each as likely as any other; where a choice is a pair of states, one of the two changes.
    ///
    /// # Errors
    /// A code outside of the space; a change that the space does not have.
    pub fn mutate(&self, code: &[usize], change: Change, rng: &mut Rng) -> Result<Vec<usize>> {
        self.check(code)?;
        let wanted = |index: &usize| match change {
            Change::Any => true,
            Change::Input => self.decisions[*index].group[2] == INPUT,
            Change::Op => self.decisions[*index].group[2] == OP,
        };
        let mut open: Vec<usize> = (0..code.len()).filter(wanted).collect();
        open.retain(|&index| !self.others(index, code[index]).is_empty());
        for level in 0..3 {
            let mut groups: Vec<usize> = open.iter().map(|&index| self.decisions[index].group[level]).collect();
            groups.sort_unstable();
            groups.dedup();
            let Some(chosen) = pick(&groups, rng) else { break };
            open.retain(|&index| self.decisions[index].group[level] == chosen);
        }
        let Some(index) = pick(&open, rng) else {
            return Err(Error::user(format!(
                "a cell of the space \"{}\" has nothing of that kind to change",
                self.name
            )));
        };
        let mut code = code.to_vec();
        let others = self.others(index, code[index]);
        code[index] = pick(&others, rng).unwrap_or(code[index]);
        if self.ends && code[index] == 0 {
            code.truncate(index + 1);
        } else if self.ends && index + 1 == code.len() && index + 1 < self.decisions.len() {
            // The layer in place of the end is followed by the end.
            code.push(0);
        }
        Ok(code)
    }

    /// The choices that a mutation may put in place of one.
    fn others(&self, index: usize, choice: usize) -> Vec<usize> {
        let words = &self.decisions[index].choices;
        let others = (self.first_choice(index)..words.len()).filter(|&other| other != choice);
        match self.decisions[index].group[2] {
            INPUT => others.filter(|&other| shares_a_state(&words[choice], &words[other])).collect(),
            _ => others.collect(),
        }
    }

    /// The least choice of a decision: a code cannot end before it has begun.
    fn first_choice(&self, index: usize) -> usize {
        usize::from(self.ends && index == 0)
    }

    fn has_ended(&self, code: &[usize]) -> bool {
        self.ends && code.last() == Some(&0)
    }

    /// Checks that a code lies in the space.
    ///
    /// # Errors
    /// Too many or too few numbers, or one that is not a choice, with the decision that it stands for.
    pub fn check(&self, code: &[usize]) -> Result<()> {
        let outside = |what: String| Error::user(format!("this is not a cell of the space \"{}\": {what}", self.name));
        for (index, &choice) in code.iter().enumerate() {
            let Some(decision) = self.decisions.get(index) else {
                return Err(outside(format!(
                    "its code has {} numbers, at most {} fit",
                    code.len(),
                    self.decisions.len()
                )));
            };
            if choice < self.first_choice(index) || choice >= decision.choices.len() {
                return Err(outside(format!("{} cannot be {choice}", decision.name)).hint(format!(
                    "the choices are {} to {}",
                    self.first_choice(index),
                    decision.choices.len() - 1
                )));
            }
            if self.has_ended(&code[..=index]) && index + 1 < code.len() {
                return Err(outside(format!("{} ends it, but its code goes on", decision.name)));
            }
        }
        match self.has_ended(code) || code.len() == self.decisions.len() {
            true => Ok(()),
            false => Err(outside(format!("its code has {} of {} numbers", code.len(), self.decisions.len()))),
        }
    }

    /// The length of a one-hot code.
    pub fn width(&self) -> usize {
        self.decisions.iter().map(|decision| decision.choices.len()).sum()
    }

    /// A one-hot code: for each decision as many numbers as it has choices, 1 at the chosen one; zeros after the end.
    ///
    /// # Errors
    /// A code outside of the space.
    pub fn one_hot(&self, code: &[usize]) -> Result<Vec<f32>> {
        self.check(code)?;
        let mut hot = vec![0.0; self.width()];
        let mut at = 0;
        for (decision, &choice) in self.decisions.iter().zip(code) {
            hot[at + choice] = 1.0;
            at += decision.choices.len();
        }
        Ok(hot)
    }

    /// The chosen words of a code.
    ///
    /// # Errors
    /// A code outside of the space.
    pub fn words(&self, code: &[usize]) -> Result<Vec<&str>> {
        self.check(code)?;
        Ok(self.decisions.iter().zip(code).map(|(decision, &choice)| decision.choices[choice].as_str()).collect())
    }
}

/// Whether two choices of states to read differ in one state: pairs have one in common, single states always do.
fn shares_a_state(one: &str, other: &str) -> bool {
    !one.contains(' ') || one.split(' ').any(|state| other.split(' ').any(|another| another == state))
}

fn pick(from: &[usize], rng: &mut Rng) -> Option<usize> {
    match from.len() {
        0 => None,
        count => Some(from[rng.random_range(0..count as u32) as usize]),
    }
}
