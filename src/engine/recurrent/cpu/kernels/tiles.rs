//! Runs programs over tiles.

use crate::engine::cpu::kernels::exponential::{sigmoid, tanh};
use crate::engine::cpu::kernels::lanes::{Lanes, kernel};
use crate::engine::recurrent::cpu::plan::program::{Factor, Instr, Reg, Spot};
use crate::graph::recurrent::Function;

/// One tile, and what a program finds there.
#[derive(Clone, Copy)]
pub struct Frame {
    /// By spot: where the buffer's values of this time step begin.
    pub pointers: *const *mut f32,
    /// Rows of the batch, which are the rows of a block.
    pub batch: usize,
    pub row: usize,
    pub rows: usize,
    pub column: usize,
    pub columns: usize,
    /// All registers.
    pub registers: *mut f32,
    /// Floats of a register.
    pub register: usize,
    pub p: *const f32,
    /// By lane: the coefficients of all norms at this time step.
    pub scale: *const f32,
    pub shift: *const f32,
    /// By lane: a, b and c of all norms' gradients.
    pub back: [*const f32; 3],
    /// By sum: sixteen floats.
    pub sums: *mut f32,
}

impl Frame {
    /// The first value of the tile in a spot.
    ///
    /// # Safety
    /// The spot is one of the plan that the pointers were made for.
    #[inline(always)]
    unsafe fn spot(&self, spot: Spot) -> *mut f32 {
        // SAFETY: the plan sized the buffer for the spot; the tile lies within its block.
        unsafe {
            let rows = spot.block * self.batch + self.row;
            (*self.pointers.add(spot.pointer())).add(rows * spot.row + spot.column + self.column)
        }
    }

    /// # Safety
    /// The register is one of the program's.
    #[inline(always)]
    unsafe fn reg(&self, reg: Reg) -> *mut f32 {
        // SAFETY: the scratch holds the program's registers.
        unsafe { self.registers.add(reg * self.register) }
    }

    /// Lane groups of a row.
    #[inline(always)]
    fn wide(&self) -> usize {
        self.columns.div_ceil(16)
    }

    /// p's entry times the scale.
    ///
    /// # Safety
    /// The slot is one of p's.
    #[inline(always)]
    unsafe fn factor(&self, factor: Factor) -> f32 {
        // SAFETY: slots are entries of p.
        factor.slot.map_or(factor.scale, |slot| unsafe { factor.scale * *self.p.add(slot) })
    }
}

// Macros and not functions over closures: a closure that is not inlined has no instruction set of its own, and every
// operation in it becomes a call.

/// For every lane group of the tile: the row, the number of the group, and how many columns are in it.
macro_rules! each {
    ($frame:expr, |$row:ident, $v:ident, $count:ident| $body:block) => {{
        let (wide, last) = ($frame.wide(), $frame.columns - 16 * ($frame.wide() - 1));
        for $row in 0..$frame.rows {
            for $v in 0..wide {
                let $count = if $v + 1 == wide { last } else { 16 };
                $body
            }
        }
    }};
}

/// to[i] ← value, or to[i] + value, for every lane group.
macro_rules! put {
    ($frame:expr, $to:expr, $add:expr, |$i:ident| $value:expr) => {{
        let (to, groups) = ($frame.reg($to), $frame.rows * $frame.wide());
        if $add {
            for group in 0..groups {
                let $i = 16 * group;
                let value: V = $value;
                V::load(to.add($i)).add(value).store(to.add($i));
            }
        } else {
            for group in 0..groups {
                let $i = 16 * group;
                let value: V = $value;
                value.store(to.add(16 * group));
            }
        }
    }};
}

/// A register's lane group.
///
/// # Safety
/// The lane group lies within the tile, and as for [`Lanes`].
#[inline(always)]
unsafe fn get<V: Lanes>(register: *const f32, at: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { V::load(register.add(at)) }
}

/// # Safety
/// `count` floats from `at` on.
#[inline(always)]
unsafe fn load<V: Lanes>(at: *const f32, count: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe { if count == 16 { V::load(at) } else { V::load_some(at, count) } }
}

/// # Safety
/// `count` floats from `at` on.
#[inline(always)]
unsafe fn store<V: Lanes>(value: V, at: *mut f32, count: usize) {
    // SAFETY: the caller's promise.
    unsafe { if count == 16 { value.store(at) } else { value.store_some(at, count) } }
}

kernel! {
    /// Runs a program's code over one tile.
    ///
    /// # Safety
    /// The frame's pointers must be good for what the code names.
    pub fn run(code: &[Instr], frame: &Frame) work(
        4 * code.len() * frame.rows * frame.columns,
        4 * code.iter().filter(|instr| matches!(instr, Instr::Load { .. } | Instr::Store { .. })).count()
            * frame.rows * frame.columns
    ) {
        for instr in code {
            step::<V>(instr, frame);
        }
    }
}

/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn step<V: Lanes>(instr: &Instr, f: &Frame) {
    // SAFETY: the caller's promise; lanes behind the last column are zeros in loads and dropped in stores.
    unsafe {
        let reg = |reg: Reg| f.reg(reg).cast_const();
        let wide = 16 * f.wide();
        match *instr {
            Instr::Load { to, from, add } => {
                let (at, to) = (f.spot(from), f.reg(to));
                each!(f, |row, v, count| {
                    let value = load::<V>(at.add(row * from.row + 16 * v), count);
                    let to = to.add(row * wide + 16 * v);
                    if add { V::load(to).add(value).store(to) } else { value.store(to) }
                });
            }
            Instr::LoadNorm { to, from, lane } => {
                let (at, to) = (f.spot(from), f.reg(to));
                let (scale, shift) = (f.scale.add(lane + f.column), f.shift.add(lane + f.column));
                each!(f, |row, v, count| {
                    let value = load::<V>(at.add(row * from.row + 16 * v), count);
                    let value = value.fma(V::load(scale.add(16 * v)), V::load(shift.add(16 * v)));
                    value.store(to.add(row * wide + 16 * v));
                });
            }
            Instr::LoadNormGradient { to, gradient, raw, lane, add } => {
                let (g, x, to) = (f.spot(gradient), f.spot(raw), f.reg(to));
                let [a, b, c] = f.back.map(|table| table.add(lane + f.column));
                each!(f, |row, v, count| {
                    let g = load::<V>(g.add(row * gradient.row + 16 * v), count);
                    let x = load::<V>(x.add(row * raw.row + 16 * v), count);
                    let value = x.fma(V::load(b.add(16 * v)), V::load(c.add(16 * v)));
                    let value = g.fma(V::load(a.add(16 * v)), value);
                    let to = to.add(row * wide + 16 * v);
                    if add { V::load(to).add(value).store(to) } else { value.store(to) }
                });
            }
            Instr::Store { from, to, add } => {
                let (at, from) = (f.spot(to), reg(from));
                each!(f, |row, v, count| {
                    let value = V::load(from.add(row * wide + 16 * v));
                    let at = at.add(row * to.row + 16 * v);
                    let value = if add { load::<V>(at, count).add(value) } else { value };
                    store(value, at, count);
                });
            }
            Instr::Zero { to } => put!(f, to, false, |_i| V::splat(0.0)),
            Instr::Add { to, a, b } => {
                let (a, b) = (reg(a), reg(b));
                put!(f, to, false, |i| get::<V>(a, i).add(get::<V>(b, i)));
            }
            Instr::Subtract { to, a, b } => {
                let (a, b) = (reg(a), reg(b));
                put!(f, to, false, |i| get::<V>(a, i).sub(get::<V>(b, i)));
            }
            Instr::Multiply { to, a, b, add } => {
                let (a, b) = (reg(a), reg(b));
                put!(f, to, add, |i| get::<V>(a, i).mul(get::<V>(b, i)));
            }
            Instr::Blend { to, start, end, gate } => {
                let (start, end, gate) = (reg(start), reg(end), reg(gate));
                put!(f, to, false, |i| {
                    let start = get::<V>(start, i);
                    get::<V>(gate, i).fma(get::<V>(end, i).sub(start), start)
                });
            }
            Instr::Apply { to, a, function } => {
                let a = reg(a);
                match function {
                    Function::Sigmoid => put!(f, to, false, |i| sigmoid(get::<V>(a, i))),
                    Function::Tanh => put!(f, to, false, |i| tanh(get::<V>(a, i))),
                    // In this order NaN stays NaN.
                    Function::Relu => put!(f, to, false, |i| V::splat(0.0).max(get::<V>(a, i))),
                }
            }
            Instr::Affine { to, a, scale, shift } => {
                let (a, scale, shift) = (reg(a), V::splat(scale), V::splat(shift));
                put!(f, to, false, |i| get::<V>(a, i).fma(scale, shift));
            }
            Instr::AtMost { to, a, most } => {
                let (a, most) = (reg(a), V::splat(most));
                put!(f, to, false, |i| most.min(get::<V>(a, i)));
            }
            Instr::Scale { to, a, factor, add } => {
                let (a, factor) = (reg(a), V::splat(f.factor(factor)));
                put!(f, to, add, |i| get::<V>(a, i).mul(factor));
            }
            Instr::TimesRest { to, a, b, add } => {
                let (a, b, one) = (reg(a), reg(b), V::splat(1.0));
                put!(f, to, add, |i| get::<V>(a, i).mul(one.sub(get::<V>(b, i))));
            }
            Instr::TimesApart { to, a, b, c, add } => {
                let (a, b, c) = (reg(a), reg(b), reg(c));
                put!(f, to, add, |i| get::<V>(a, i).mul(get::<V>(b, i).sub(get::<V>(c, i))));
            }
            Instr::ApplyBack { to, y, g, function, add } => {
                let (y, g, one) = (reg(y), reg(g), V::splat(1.0));
                match function {
                    Function::Sigmoid => put!(f, to, add, |i| {
                        let y = get::<V>(y, i);
                        get::<V>(g, i).mul(y.mul(one.sub(y)))
                    }),
                    Function::Tanh => put!(f, to, add, |i| {
                        let (y, g) = (get::<V>(y, i), get::<V>(g, i));
                        g.mul(one.sub(y.mul(y)))
                    }),
                    Function::Relu => put!(f, to, add, |i| get::<V>(g, i).where_positive(get::<V>(y, i))),
                }
            }
            Instr::AtMostBack { to, x, most, g, add } => {
                let (x, g, most) = (reg(x), reg(g), V::splat(most));
                put!(f, to, add, |i| get::<V>(g, i).where_positive(most.sub(get::<V>(x, i))));
            }
            Instr::Dot { sum, a, g } => {
                let (a, g, to) = (reg(a), reg(g), f.sums.add(16 * sum));
                let mut total = V::load(to);
                for i in 0..f.rows * f.wide() {
                    total = get::<V>(a, 16 * i).fma(get::<V>(g, 16 * i), total);
                }
                total.store(to);
            }
        }
    }
}
