//! Rounds: what a launch does, one family of items after another, and what must be done before each.
//!
//! A launch has a block of threads for every item. Blocks take turns, so whatever a block waits for is in blocks that
//! have begun before it: a wait always ends, and the order in which a device starts blocks does not matter.

use super::Work;

/// The most rounds of a launch. As in rounds.cuh.
pub(super) const MOST_ROUNDS: usize = 24;

/// What the items of a round do, as forward.cu and backward.cu number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Import,
    Sum,
    Small,
    Unit,
    Moments,
    Statistics,
    ReadOutput,
    Seed,
    PlainGradient,
    UnitGradient,
    UnitInput,
    Contribute,
    Dots,
    AddUp,
    Export,
}

impl Family {
    /// The kernel that does it, and its number there.
    pub fn kernel(self) -> (&'static str, i32) {
        match self {
            Self::Import => ("forward", 0),
            Self::Sum => ("forward", 1),
            Self::Small => ("forward", 2),
            Self::Unit => ("forward", 3),
            Self::Moments => ("forward", 4),
            Self::Statistics => ("forward", 5),
            Self::ReadOutput => ("forward", 6),
            Self::Seed => ("backward", 0),
            Self::PlainGradient => ("backward", 1),
            Self::UnitGradient => ("backward", 2),
            Self::UnitInput => ("backward", 3),
            Self::Contribute => ("backward", 4),
            Self::Dots => ("backward", 5),
            Self::AddUp => ("backward", 6),
            Self::Export => ("backward", 7),
        }
    }

    /// What profiles call it: the function of the kernels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Import => "import_images",
            Self::Sum => "sum_forward",
            Self::Small => "small_forward",
            Self::Unit => "unit_forward",
            Self::Moments => "moments",
            Self::Statistics => "statistics",
            Self::ReadOutput => "read_output",
            Self::Seed => "seed",
            Self::PlainGradient => "plain_gradient",
            Self::UnitGradient => "unit_gradient",
            Self::UnitInput => "unit_input",
            Self::Contribute => "contribute",
            Self::Dots => "dots",
            Self::AddUp => "add_up",
            Self::Export => "export_images",
        }
    }
}

/// When a round belongs to a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Always,
    /// With statistics of the batch.
    Batch,
    /// With running statistics.
    Running,
}

/// What the items of a round wait for, as rounds.cuh numbers it: all that come before them, of their image or at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wait {
    OwnImage = 1,
    Everything = 2,
}

/// One family's items, side by side.
#[derive(Clone, Debug)]
pub struct Round {
    pub family: Family,
    pub when: When,
    /// Where its items begin in the table, and how many they are, for each image or at all.
    pub first: i32,
    pub count: i32,
    pub each_image: bool,
    /// Floats of dynamic shared memory.
    pub shared: usize,
    /// For each image.
    pub work: Work,
    /// Rounds of one wave do not wait for one another, but for all waves before, as this says.
    pub wave: usize,
    pub wait: Wait,
}

/// One launch of a list.
#[derive(Clone, Debug)]
pub enum Step {
    /// Of one kernel, `forward` or `backward`.
    Rounds(Vec<Round>),
    /// A kernel of weights.cu, a thread for each of `count` numbers; `first`: its other number.
    Flat { kernel: &'static str, first: i32, count: i32 },
}

/// What a kernel is told of a round: the struct `Round` of rounds.cuh.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RoundWords {
    kind: i32,
    first: i32,
    count: i32,
    each_image: i32,
    waits: i32,
    before: i32,
    once: i32,
}

/// The struct `Rounds` of rounds.cuh.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Rounds {
    count: i32,
    blocks: i32,
    of: [RoundWords; MOST_ROUNDS],
}

// SAFETY: numbers only, all of one size.
unsafe impl bytemuck::NoUninit for RoundWords {}
// SAFETY: the same.
unsafe impl bytemuck::NoUninit for Rounds {}

impl Rounds {
    /// Of rounds that run, at most [`MOST_ROUNDS`], and a batch.
    pub fn new(rounds: &[&Round], batch: i32) -> Self {
        let mut told = Self::default();
        // Items of an image, and those that are there once: of waves before, and of this one too.
        let (mut before, mut so_far, mut wave) = ([0; 2], [0; 2], None);
        for (to, round) in told.of.iter_mut().zip(rounds) {
            if wave != Some(round.wave) {
                (before, wave) = (so_far, Some(round.wave));
            }
            let waits = if before == [0; 2] { 0 } else { round.wait as i32 };
            // Otherwise what is counted for an image would not tell whether all before is done.
            assert!(waits != Wait::OwnImage as i32 || before[1] == 0, "{:?} waits too little", round.family);
            *to = RoundWords {
                kind: round.family.kernel().1,
                first: round.first,
                count: round.count,
                each_image: round.each_image.into(),
                waits,
                before: before[0],
                once: before[1],
            };
            so_far[usize::from(!round.each_image)] += round.count;
        }
        assert!(rounds.len() <= MOST_ROUNDS, "{} rounds", rounds.len());
        told.count = rounds.len() as i32;
        told.blocks = so_far[0] * batch + so_far[1];
        told
    }

    /// Blocks of threads of the launch.
    pub fn blocks(&self) -> u32 {
        self.blocks as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(family: Family, count: i32, each_image: bool, wave: usize, wait: Wait) -> Round {
        Round { family, when: When::Always, first: 0, count, each_image, shared: 0, work: Work::default(), wave, wait }
    }

    #[test]
    fn items_wait_for_all_waves_before_and_for_nothing_of_their_own() {
        let rounds = [
            round(Family::UnitGradient, 5, true, 0, Wait::Everything),
            round(Family::Dots, 3, true, 0, Wait::Everything),
            round(Family::UnitInput, 2, true, 1, Wait::OwnImage),
            round(Family::AddUp, 7, false, 2, Wait::Everything),
            round(Family::Contribute, 1, true, 3, Wait::Everything),
        ];
        let told = Rounds::new(&rounds.iter().collect::<Vec<_>>(), 4);
        let waits = told.of.map(|round| [round.waits, round.before, round.once]);
        assert_eq!(waits[..5], [[0, 0, 0], [0, 0, 0], [1, 8, 0], [2, 10, 0], [2, 10, 7]]);
        assert_eq!(told.blocks(), 4 * (5 + 3 + 2 + 1) + 7);
    }

    #[test]
    #[should_panic(expected = "waits too little")]
    fn an_image_does_not_wait_for_itself_alone_after_sums_over_the_batch() {
        let rounds = [
            round(Family::AddUp, 1, false, 0, Wait::Everything),
            round(Family::Contribute, 1, true, 1, Wait::OwnImage),
        ];
        Rounds::new(&rounds.iter().collect::<Vec<_>>(), 4);
    }
}
