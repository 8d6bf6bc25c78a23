//! What a file is that is not a picture of a known format: a name says more than "unknown".

/// What these bytes are, in words that follow the file's name.
pub(super) fn name(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(512)];
    let text = String::from_utf8_lossy(head).trim_start().to_lowercase();
    let brand = head.get(8..12).unwrap_or_default();
    let known = match head {
        [] => return "the file is empty".into(),
        _ if head.iter().all(|&byte| byte == 0) => {
            return "the file holds zeros only: a download that broke off".into();
        }
        _ if head.get(4..8) == Some(b"ftyp") => match brand {
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"mif1" | b"msf1" => "HEIC",
            b"avif" | b"avis" => "AVIF",
            _ => "a video",
        },
        [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] | [0xFF, 0x0A, ..] => "JPEG XL",
        [0, 0, 0, 12, b'j', b'P', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => "JPEG 2000",
        [0, 5, 0x16, 7, ..] => "a Mac's notes about a file",
        [b'%', b'P', b'D', b'F', ..] => "PDF",
        [b'8', b'B', b'P', b'S', ..] => "a Photoshop file",
        [b'P', b'K', 3, 4, ..] => "a ZIP archive",
        [0x1F, 0x8B, ..] => "a gzip archive",
        [0, 0, 1, 0, ..] => "a Windows icon",
        [b'v', b'/', b'1', 1, ..] => "OpenEXR",
        _ if text.starts_with("<!doctype html") || text.starts_with("<html") => {
            return "it is a web page, not an image: a download that went wrong".into();
        }
        _ if text.contains("<svg") => "SVG",
        _ if text.starts_with("version https://git-lfs") => {
            return "it only says where Git LFS keeps the image: run `git lfs pull`".into();
        }
        _ => return "it is not an image of a known format".into(),
    };
    format!("it is {known}, which is not read: convert it to JPEG or PNG")
}
