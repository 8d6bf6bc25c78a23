//! How channels lie in memory: blocks of sixteen lanes, some of them empty.

/// Channels are innermost, padded to blocks of this many: one AVX-512 register per pixel.
pub const LANES: usize = 16;

/// Which channel each lane holds. Empty lanes hold zeros and close a block, so a concatenation of tensors is the
/// concatenation of their blocks and needs no copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    lanes: Vec<Option<u32>>,
    /// Worked out once: every pass asks for these two.
    positions: Vec<usize>,
    filled: Vec<usize>,
}

impl Layout {
    /// Channels in order, the last block filled up with empty lanes.
    pub fn dense(channels: usize) -> Self {
        let lanes = channels.div_ceil(LANES) * LANES;
        Self::of((0..lanes).map(|l| (l < channels).then_some(l as u32)).collect())
    }

    /// The parts' blocks one after another; channels are numbered through.
    pub fn concat<'a>(parts: impl IntoIterator<Item = &'a Layout>) -> Self {
        let mut lanes = Vec::new();
        let mut first = 0;
        for part in parts {
            lanes.extend(part.lanes.iter().map(|lane| lane.map(|c| c + first)));
            first += part.channels() as u32;
        }
        Self::of(lanes)
    }

    pub fn blocks(&self) -> usize {
        self.lanes.len() / LANES
    }

    /// Lanes, empty ones included.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub fn channels(&self) -> usize {
        self.lanes.iter().flatten().count()
    }

    /// The channel of each lane.
    pub fn lanes(&self) -> &[Option<u32>] {
        &self.lanes
    }

    /// The lane of each channel.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// How many lanes of each block are filled; they come first.
    pub fn filled(&self) -> &[usize] {
        &self.filled
    }

    fn of(lanes: Vec<Option<u32>>) -> Self {
        let mut positions = vec![0; lanes.iter().flatten().count()];
        for (lane, channel) in lanes.iter().enumerate() {
            if let Some(channel) = channel {
                positions[*channel as usize] = lane;
            }
        }
        let filled = lanes.chunks(LANES).map(|block| block.iter().flatten().count()).collect();
        Self { lanes, positions, filled }
    }
}
