//! Where each buffer lies: in one region per image, where buffers that are never needed at the same time overlap.

use super::lives::{Lives, Span, StageOrder};
use super::{Id, Plan, RawId, Table, ValueId, Ways};

/// One buffer's offset in floats within an image's region.
pub type Place = usize;

/// The places of all buffers in one direction of a pass.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// By raw tensor; parts lie within their concatenation.
    pub raws: Table<RawId, Place>,
    /// By value, for gradients that are buffers (unused otherwise).
    pub gradients: Table<ValueId, Place>,
    /// Floats of one image's region.
    pub len: usize,
}

/// A buffer and the spans of time in which it is needed.
pub(super) struct Buffer {
    pub len: usize,
    pub spans: Vec<Span>,
}

/// The places of a forward pass without gradients.
pub(super) fn place_inference(plan: &Plan, order: StageOrder) -> Placement {
    let lives = Lives::of(plan, false, order);
    let spans = plan.raws.pairs().map(|(id, raw)| (raw.len(), lives.forward[id].into_iter().collect()));
    let buffers: Vec<Buffer> = spans.map(|(len, spans)| Buffer { len, spans }).collect();
    let (places, len) = pack(&buffers);
    Placement { raws: raws_at(plan, |root| places[root.index()]), gradients: Table::new(), len }
}

/// The places of a forward and a backward pass; `spans` gives a raw tensor's spans as it is kept, and as it is
/// recomputed.
pub(super) fn place_training(
    plan: &Plan,
    lives: &Lives,
    spans: impl Fn(RawId) -> (Vec<Span>, Option<Vec<Span>>),
) -> Ways<Placement> {
    // Tensors as the forward pass writes them, recomputed tensors, gradients.
    let (mut buffers, mut recomputed): (Vec<Buffer>, Vec<Buffer>) = (Vec::new(), Vec::new());
    let mut is_recomputed = plan.raws.beside(false);
    for (id, raw) in plan.raws.pairs() {
        let (kept, again) = spans(id);
        is_recomputed[id] = again.is_some();
        buffers.push(Buffer { len: raw.len(), spans: kept });
        recomputed.push(Buffer { len: raw.len(), spans: again.unwrap_or_default() });
    }
    buffers.append(&mut recomputed);
    for (value, span) in lives.gradients.pairs() {
        buffers.push(Buffer { len: plan.raws[plan.values[value].raw].len(), spans: span.iter().copied().collect() });
    }
    let (places, len) = pack(&buffers);
    let raws = plan.raws.len();
    let (kept, rest) = places.split_at(raws);
    let (again, of_gradients) = rest.split_at(raws);
    let gradients: Table<ValueId, Place> = plan.values.map(|(value, _)| {
        let (owner, offset) = lives.owner(plan, value);
        of_gradients[owner.index()] + offset
    });
    let back = |root: RawId| if is_recomputed[root] { again[root.index()] } else { kept[root.index()] };
    Ways {
        forward: Placement { raws: raws_at(plan, |root| kept[root.index()]), gradients: gradients.clone(), len },
        backward: Placement { raws: raws_at(plan, back), gradients, len },
    }
}

/// By raw tensor, given the places of roots.
fn raws_at(plan: &Plan, place: impl Fn(RawId) -> Place) -> Table<RawId, Place> {
    plan.raws.map(|(raw, _)| {
        let (root, offset) = plan.root(raw);
        place(root) + offset
    })
}

/// Greedy by size: the largest buffers first, each at the lowest offset that is free for all of its spans.
fn pack(buffers: &[Buffer]) -> (Vec<Place>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).filter(|&i| !buffers[i].spans.is_empty()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].len), buffers[i].spans[0], i));
    let mut places = vec![0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let (mut taken, mut total) = (Vec::new(), 0);
    for index in order {
        let buffer = &buffers[index];
        taken.clear();
        taken.extend(
            placed
                .iter()
                .filter(|&&other| meet(&buffers[other].spans, &buffer.spans))
                .map(|&other| (places[other], places[other] + buffers[other].len)),
        );
        taken.sort_unstable();
        let mut at = 0;
        for &(from, to) in &taken {
            if at + buffer.len <= from {
                break;
            }
            at = at.max(to);
        }
        places[index] = at;
        placed.push(index);
        total = total.max(at + buffer.len);
    }
    (places, total)
}

/// Whether any two spans share a slot; both lists are in order.
fn meet(one: &[Span], other: &[Span]) -> bool {
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        if a.0 <= b.1 && b.0 <= a.1 {
            return true;
        }
        if a.1 < b.1 { i += 1 } else { j += 1 }
    }
    false
}
