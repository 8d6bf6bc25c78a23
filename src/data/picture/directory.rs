//! The first directory of a TIFF: values by their tags. EXIF data have the same form.

/// What stands behind one tag.
struct Entry<'a> {
    kind: usize,
    value: &'a [u8],
}

/// The first number of a tag: a SHORT, or a LONG as some programs write it.
pub(super) fn number(tiff: &[u8], tag: usize) -> Option<usize> {
    let (order, Entry { kind, value }) = find(tiff, tag)?;
    let size = match kind {
        3 => 2,
        4 => 4,
        _ => return None,
    };
    order.number(value, 0, size)
}

/// The bytes of a tag.
pub(super) fn bytes(tiff: &[u8], tag: usize) -> Option<&[u8]> {
    find(tiff, tag).map(|(_, entry)| entry.value)
}

/// Which byte of a number comes first.
#[derive(Clone, Copy)]
enum Order {
    Least,
    Greatest,
}

impl Order {
    fn number(self, bytes: &[u8], at: usize, size: usize) -> Option<usize> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let add = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
        Some(match self {
            Self::Least => field.iter().rev().fold(0, add),
            Self::Greatest => field.iter().fold(0, add),
        })
    }
}

fn find(tiff: &[u8], tag: usize) -> Option<(Order, Entry<'_>)> {
    let order = match tiff.get(..2)? {
        b"II" => Order::Least,
        b"MM" => Order::Greatest,
        _ => return None,
    };
    // BigTIFF has wide counts and offsets.
    let (wide, first, count) = match order.number(tiff, 2, 2)? {
        42 => (4, 4, 2),
        43 => (8, 8, 8),
        _ => return None,
    };
    let start = order.number(tiff, first, wide)?;
    let entries = order.number(tiff, start, count)?.min(1 << 16);
    let size = 4 + 2 * wide;
    let mut places = (0..entries).map_while(|k| start.checked_add(count + k * size));
    let at = places.find(|&at| order.number(tiff, at, 2) == Some(tag))?;
    let kind = order.number(tiff, at + 2, 2)?;
    let width = match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 => 4,
        _ => 8,
    };
    let length = order.number(tiff, at + 4, wide)?.checked_mul(width)?;
    let place = at + 4 + wide;
    let place = if length <= wide { place } else { order.number(tiff, place, wide)? };
    Some((order, Entry { kind, value: tiff.get(place..place.checked_add(length)?)? }))
}
