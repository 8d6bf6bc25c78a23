//! Programs over tiles: what is done element by element between two matrix products.
//!
//! A program runs over one tile of rows × columns after another. Its registers are tiles that stay in the first caches;
//! only its loads and stores touch the pass's memory.

use crate::graph::recurrent::Function;

/// The number of a register.
pub type Reg = usize;

/// Values of a time step in a buffer: `width` columns from `column` on of one block's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The buffer, and whether it is its next time step's part that counts.
    pub buffer: usize,
    pub ahead: bool,
    /// Which of the buffer's blocks of rows.
    pub block: usize,
    pub column: usize,
    /// Columns of a row of the buffer.
    pub row: usize,
}

impl Spot {
    /// The same columns from `column` further on.
    pub fn shifted(self, column: usize) -> Self {
        Self { column: self.column + column, ..self }
    }

    /// Its entry in the table of pointers of a time step.
    pub fn pointer(self) -> usize {
        2 * self.buffer + usize::from(self.ahead)
    }
}

/// scale · p[slot]; without a slot, the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factor {
    pub slot: Option<usize>,
    pub scale: f32,
}

impl Factor {
    pub fn constant(scale: f32) -> Self {
        Self { slot: None, scale }
    }
}

/// One instruction. `to` is written; where there is an `add`, it says that the result is added to what `to` holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Instr {
    Load {
        to: Reg,
        from: Spot,
        add: bool,
    },
    /// Load · scale + shift, from the norm's coefficients; `lane`: of the first column.
    LoadNorm {
        to: Reg,
        from: Spot,
        lane: usize,
    },
    /// a · gradient + b · raw + c: the gradient of what a norm normalised.
    LoadNormGradient {
        to: Reg,
        gradient: Spot,
        raw: Spot,
        lane: usize,
        add: bool,
    },
    Store {
        from: Reg,
        to: Spot,
        add: bool,
    },
    Zero {
        to: Reg,
    },
    Add {
        to: Reg,
        a: Reg,
        b: Reg,
    },
    Subtract {
        to: Reg,
        a: Reg,
        b: Reg,
    },
    /// a · b.
    Multiply {
        to: Reg,
        a: Reg,
        b: Reg,
        add: bool,
    },
    /// start + gate · (end − start).
    Blend {
        to: Reg,
        start: Reg,
        end: Reg,
        gate: Reg,
    },
    Apply {
        to: Reg,
        a: Reg,
        function: Function,
    },
    Affine {
        to: Reg,
        a: Reg,
        scale: f32,
        shift: f32,
    },
    AtMost {
        to: Reg,
        a: Reg,
        most: f32,
    },
    /// factor · a.
    Scale {
        to: Reg,
        a: Reg,
        factor: Factor,
        add: bool,
    },
    /// a · (1 − b).
    TimesRest {
        to: Reg,
        a: Reg,
        b: Reg,
        add: bool,
    },
    /// a · (b − c).
    TimesApart {
        to: Reg,
        a: Reg,
        b: Reg,
        c: Reg,
        add: bool,
    },
    /// The slope at y = f(x), times g.
    ApplyBack {
        to: Reg,
        y: Reg,
        g: Reg,
        function: Function,
        add: bool,
    },
    /// g where x < most, else 0.
    AtMostBack {
        to: Reg,
        x: Reg,
        most: f32,
        g: Reg,
        add: bool,
    },
    /// Adds Σ a · g to the program's sum of this number.
    Dot {
        sum: usize,
        a: Reg,
        g: Reg,
    },
}

/// What runs over the tiles of one width.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub width: usize,
    pub code: Vec<Instr>,
    pub registers: usize,
    /// By number: the slot whose gradient a sum of products belongs to, and the factor that it gets.
    pub sums: Vec<(usize, f64)>,
}

impl Program {
    /// Lane groups of a row of a tile, and rows of a tile: so many that all registers together stay in the first cache,
    /// and not so few that instructions outweigh what they do.
    pub fn tile(&self) -> (usize, usize) {
        /// Lane groups of all registers together.
        const CACHE: usize = 480;
        let groups = (CACHE / self.registers.max(1)).clamp(4, 32);
        let wide = self.width.div_ceil(16);
        let columns = wide.div_ceil(wide.div_ceil(groups));
        (columns, (groups / columns).max(1))
    }

    /// Floats of all registers.
    pub fn scratch(&self) -> usize {
        let (columns, rows) = self.tile();
        16 * columns * rows * self.registers
    }
}

impl Instr {
    /// The same with its result in another register.
    pub fn into_register(mut self, reg: Reg) -> Self {
        match &mut self {
            Self::Load { to, .. }
            | Self::LoadNorm { to, .. }
            | Self::LoadNormGradient { to, .. }
            | Self::Zero { to }
            | Self::Add { to, .. }
            | Self::Subtract { to, .. }
            | Self::Multiply { to, .. }
            | Self::Blend { to, .. }
            | Self::Apply { to, .. }
            | Self::Affine { to, .. }
            | Self::AtMost { to, .. }
            | Self::Scale { to, .. }
            | Self::TimesRest { to, .. }
            | Self::TimesApart { to, .. }
            | Self::ApplyBack { to, .. }
            | Self::AtMostBack { to, .. } => *to = reg,
            Self::Store { .. } | Self::Dot { .. } => {}
        }
        self
    }

    /// The same, but a load's result is added where that is asked for.
    pub fn adding(mut self, adds: bool) -> Self {
        if let Self::Load { add, .. } | Self::LoadNormGradient { add, .. } = &mut self {
            *add = adds;
        }
        self
    }
}
