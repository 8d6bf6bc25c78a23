//! Rounds: what a launch does, one family of items after another, and what must be done before each.
//!
//! A launch has a block of threads for every item. Blocks take turns, so whatever a block waits for is in blocks that
//! have begun before it: a wait always ends, and the order in which a device starts blocks does not matter.
//!
//! Waves that wait for no more than their own image follow one another through the batch, so far apart that one is done
//! with an image when the next comes to it.

use super::{Tensors, Work};

/// The most rounds of a launch, and spans of its turns. As in rounds.cuh.
pub(super) const MOST_ROUNDS: usize = 24;
const MOST_SPANS: usize = 2 * MOST_ROUNDS;

/// Turns that a wave lags behind the one before. A large card works on a few hundred blocks at a time (two on each of
/// an H100's 132 multiprocessors), but some take several times as long as others, and a block that comes too early
/// keeps its place while it waits: a training step of DARTS_V2 took 77 ms with a lag of 396 turns, 69 with 792, 64 with
/// 1584.
const LAG: usize = 3168;

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
    Standardise,
    StandardiseGradient,
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
            Self::Standardise => ("forward", 7),
            Self::StandardiseGradient => ("forward", 8),
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
            Self::Standardise => "standardise",
            Self::StandardiseGradient => "standardise_gradient",
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
    pub tensors: Tensors,
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
    lag: i32,
    waits: i32,
    before: i32,
    once: i32,
}

/// Turns in which the same rounds take part: the struct `Span` of rounds.cuh.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Span {
    turns: i32,
    each: i32,
    first: i32,
    image: i32,
}

/// The struct `Rounds` of rounds.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rounds {
    blocks: i32,
    of: [RoundWords; MOST_ROUNDS],
    spans: [Span; MOST_SPANS],
}

// SAFETY: numbers only, all of one size.
unsafe impl bytemuck::NoUninit for RoundWords {}
// SAFETY: the same.
unsafe impl bytemuck::NoUninit for Span {}
// SAFETY: the same.
unsafe impl bytemuck::NoUninit for Rounds {}

/// Waves of which each but the first waits only for its own image.
pub struct Stretch<'r> {
    pub rounds: &'r [&'r Round],
}

impl<'r> Stretch<'r> {
    /// The stretches of a launch.
    pub fn all(rounds: &'r [&'r Round]) -> impl Iterator<Item = Self> {
        let together = |one: &&Round, next: &&Round| one.wave == next.wave || next.wait == Wait::OwnImage;
        rounds.chunk_by(together).map(|rounds| Self { rounds })
    }

    /// Images that its rounds go through, one after another.
    fn images(&self, batch: usize) -> usize {
        if self.rounds[0].each_image { batch } else { 1 }
    }

    /// Images that a wave lags behind the one before: when it comes to an image, other blocks are done with it.
    pub fn lag(&self, batch: usize) -> usize {
        let items: i32 = self.rounds.iter().map(|round| round.count).sum();
        (1 + LAG.div_ceil(items as usize)).min(self.images(batch))
    }

    /// By round: the number of its wave.
    fn waves(&self) -> Vec<usize> {
        let mut number = 0;
        let mut last = self.rounds[0].wave;
        let next = |round: &&Round| {
            number += usize::from(round.wave != last);
            last = round.wave;
            number
        };
        self.rounds.iter().map(next).collect()
    }

    /// How its turns go: spans in which the same waves are under way. `first`: the number of its first round.
    fn spans(&self, batch: usize, first: usize) -> Vec<Span> {
        let (waves, lag, images) = (self.waves(), self.lag(batch), self.images(batch));
        let begins = |wave: usize| wave * lag;
        let mut edges: Vec<usize> = waves.iter().flat_map(|&wave| [begins(wave), begins(wave) + images]).collect();
        edges.sort_unstable();
        edges.dedup();
        let span = |edges: &[usize]| {
            let under_way = |wave: usize| (begins(wave)..begins(wave) + images).contains(&edges[0]);
            let counts = waves.iter().zip(self.rounds).filter(|(wave, _)| under_way(**wave));
            let each: i32 = counts.map(|(_, round)| round.count).sum();
            let skipped = waves.iter().take_while(|wave| !under_way(**wave)).count();
            let turns = (edges[1] - edges[0]) as i32 * each;
            Span { turns, each, first: (first + skipped) as i32, image: edges[0] as i32 }
        };
        edges.windows(2).map(span).collect()
    }
}

impl Rounds {
    /// Of rounds that run, at most [`MOST_ROUNDS`], and a batch.
    pub fn new(rounds: &[&Round], batch: usize) -> Self {
        assert!(rounds.len() <= MOST_ROUNDS, "{} rounds", rounds.len());
        let mut told =
            Self { blocks: 0, of: [RoundWords::default(); MOST_ROUNDS], spans: [Span::default(); MOST_SPANS] };
        // Items of an image, and those that are there once: of waves before, and of this one too.
        let (mut before, mut so_far, mut wave) = ([0; 2], [0; 2], None);
        let (mut number, mut spans) = (0, Vec::new());
        for stretch in Stretch::all(rounds) {
            let each_image = stretch.rounds[0].each_image;
            assert!(stretch.rounds.iter().all(|round| round.each_image == each_image), "images beside the whole batch");
            spans.extend(stretch.spans(batch, number));
            let lag = stretch.lag(batch);
            for (round, of) in stretch.rounds.iter().zip(stretch.waves()) {
                if wave != Some(round.wave) {
                    (before, wave) = (so_far, Some(round.wave));
                }
                let waits = if before == [0; 2] { 0 } else { round.wait as i32 };
                // Otherwise what is counted for an image would not tell whether all before is done.
                let enough = waits != Wait::OwnImage as i32 || before[1] == 0;
                assert!(enough, "{:?} waits too little", round.family);
                told.of[number] = RoundWords {
                    kind: round.family.kernel().1,
                    first: round.first,
                    count: round.count,
                    lag: (of * lag) as i32,
                    waits,
                    before: before[0],
                    once: before[1],
                };
                number += 1;
                so_far[usize::from(!round.each_image)] += round.count;
            }
        }
        told.spans[..spans.len()].copy_from_slice(&spans);
        told.blocks = so_far[0] * batch as i32 + so_far[1];
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
        let (when, work, tensors) = (When::Always, Work::default(), Tensors::default());
        Round { family, when, first: 0, count, each_image, shared: 0, work, tensors, wave, wait }
    }

    fn a_backward_stage() -> [Round; 5] {
        [
            round(Family::UnitGradient, 50, true, 0, Wait::Everything),
            round(Family::Dots, 30, true, 0, Wait::Everything),
            round(Family::UnitInput, 20, true, 1, Wait::OwnImage),
            round(Family::Contribute, 10, true, 2, Wait::OwnImage),
            round(Family::AddUp, 7, false, 3, Wait::Everything),
        ]
    }

    #[test]
    fn items_wait_for_all_waves_before_and_for_nothing_of_their_own() {
        let rounds = a_backward_stage();
        let told = Rounds::new(&rounds.iter().collect::<Vec<_>>(), 4);
        let waits = told.of.map(|round| [round.waits, round.before, round.once]);
        assert_eq!(waits[..5], [[0, 0, 0], [0, 0, 0], [1, 80, 0], [1, 100, 0], [2, 110, 0]]);
        assert_eq!(told.blocks(), 4 * (50 + 30 + 20 + 10) + 7);
    }

    /// The item of every turn, as the kernels work it out: round, image, number.
    fn turns(told: &Rounds) -> Vec<[i32; 3]> {
        let item = |turn: i32| {
            let (mut turn, mut span) = (turn, 0);
            while turn >= told.spans[span].turns {
                turn -= told.spans[span].turns;
                span += 1;
            }
            let span = told.spans[span];
            let (image, mut number) = (span.image + turn / span.each, span.first as usize);
            turn %= span.each;
            while turn >= told.of[number].count {
                turn -= told.of[number].count;
                number += 1;
            }
            [number as i32, image - told.of[number].lag, turn]
        };
        (0..told.blocks).map(item).collect()
    }

    #[test]
    fn every_item_has_one_turn_and_waits_only_for_earlier_ones() {
        let rounds = a_backward_stage();
        for batch in [1, 2, 3, 5, 6, 7, 12, 64] {
            let told = Rounds::new(&rounds.iter().collect::<Vec<_>>(), batch);
            let turns = turns(&told);
            let mut all: Vec<_> = (0..5)
                .flat_map(|round: i32| {
                    let images = if round == 4 { 1 } else { batch as i32 };
                    (0..images).flat_map(move |image| {
                        (0..a_backward_stage()[round as usize].count).map(move |item| [round, image, item])
                    })
                })
                .collect();
            let mut seen = turns.clone();
            seen.sort_unstable();
            all.sort_unstable();
            assert_eq!(seen, all, "batch {batch}");
            for (turn, [round, image, _]) in turns.iter().enumerate() {
                let of = &told.of[*round as usize];
                let before = |[other, of_image, _]: &&[i32; 3]| {
                    rounds[*other as usize].wave < rounds[*round as usize].wave && of_image == image
                };
                if of.waits == Wait::OwnImage as i32 {
                    assert_eq!(turns[..turn].iter().filter(before).count(), of.before as usize, "batch {batch}");
                }
            }
        }
    }

    #[test]
    fn a_wave_comes_to_an_image_when_a_card_is_done_with_it_and_soon_after() {
        let rounds = a_backward_stage();
        let told = Rounds::new(&rounds.iter().collect::<Vec<_>>(), 64);
        let turns = turns(&told);
        let of_image = |round: i32| turns.iter().position(|turn| turn[..2] == [round, 3]).unwrap();
        let apart = of_image(2) - of_image(0);
        // At the beginning the first wave is alone, so that fewer turns lie between.
        assert!((LAG / 2..2 * LAG).contains(&apart), "{apart}");
    }

    #[test]
    #[should_panic(expected = "waits too little")]
    fn an_image_does_not_wait_for_itself_alone_after_sums_over_the_batch() {
        let rounds =
            [round(Family::AddUp, 1, false, 0, Wait::Everything), round(Family::AddUp, 1, false, 1, Wait::OwnImage)];
        Rounds::new(&rounds.iter().collect::<Vec<_>>(), 4);
    }
}
