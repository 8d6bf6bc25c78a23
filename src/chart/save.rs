//! Charts on disk: each as SVG and as PNG, drawn by the same calls, and never half written.

use super::canvas::{Canvas, Rect, SCALE, Surface};
use super::palette::PAPER;
use super::raster::Raster;
use super::text::missing;
use super::{Figure, Pictures};
use crate::error::tell;
use crate::{Error, Result, files};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use plotters::backend::{DrawingBackend, SVGBackend};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Pixels of the PNG a logical pixel: sharp on dense screens, and where a page shows it smaller.
const PNG_DENSITY: u32 = 2;

/// Writes `path` with the extensions `svg` and `png`, making the folder if need be; a file that stood there is replaced
/// whole, so a reader sees the old chart or the new one.
///
/// # Errors
/// The folder cannot be written.
pub fn save(figure: &Figure, path: &Path) -> Result<[PathBuf; 2]> {
    make_folder_of(path)?;
    let with_extension = |extension: &str| {
        // `Path::with_extension` would cut a name like "lr-0.025" at its dot.
        let mut name = path.as_os_str().to_owned();
        name.push(extension);
        PathBuf::from(name)
    };
    let (svg_path, png_path) = (with_extension(".svg"), with_extension(".png"));
    let document = svg(figure)?;
    files::replace(&svg_path, document.as_bytes())?;
    tell_missing(&document, &png_path, Some(&svg_path));
    files::replace(&png_path, &png(figure)?)?;
    Ok([svg_path, png_path])
}

/// Writes pictures as a PNG alone, as [`save`] does: an SVG would hold each pixel as a rectangle.
///
/// # Errors
/// The folder cannot be written.
pub fn save_png(pictures: Pictures, path: &Path) -> Result<()> {
    make_folder_of(path)?;
    let words = pictures.items.iter().flat_map(|item| &item.lines).chain([&pictures.title]);
    tell_missing(&words.map(String::as_str).collect::<String>(), path, None);
    files::replace(path, &png(&Figure::Pictures(pictures))?)
}

fn make_folder_of(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) => std::fs::create_dir_all(folder).map_err(|e| Error::file(folder, &e)),
        None => Ok(()),
    }
}

/// Says once which characters the embedded font lacks: viewers of the SVG have fonts of their own.
fn tell_missing(document: &str, png: &Path, svg: Option<&Path>) {
    static TOLD: Mutex<BTreeSet<char>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: String = missing(document).into_iter().filter(|c| told.insert(*c)).take(20).collect();
    if !missing.is_empty() {
        let instead = svg.map(|svg| format!("; {} shows them where a font does", svg.display())).unwrap_or_default();
        tell(&format!("note: {} shows boxes for {missing}, which its font lacks{instead}", png.display()));
    }
}

/// The figure as an SVG document.
pub fn svg(figure: &Figure) -> Result<String> {
    let (width, height) = figure.size();
    let (wide, high) = ((width * SCALE) as u32, (height * SCALE) as u32);
    let mut document = String::new();
    let mut backend = SVGBackend::with_string(&mut document, (wide, high));
    draw(figure, &mut backend, Surface::SVG)?;
    drop(backend);
    Ok(document.replacen(
        &format!("width=\"{wide}\" height=\"{high}\""),
        &format!("width=\"{width}\" height=\"{height}\" stroke-linejoin=\"round\" stroke-linecap=\"round\""),
        1,
    ))
}

/// The figure as the bytes of a PNG file, two pixels a logical pixel.
pub fn png(figure: &Figure) -> Result<Vec<u8>> {
    let cell = SCALE as usize / PNG_DENSITY as usize;
    let (width, height) = figure.size();
    let (width, height) = (width as usize * PNG_DENSITY as usize, height as usize * PNG_DENSITY as usize);
    let mut large = vec![0u8; 3 * width * cell * height * cell];
    let mut backend = Raster::new(&mut large, ((width * cell) as u32, (height * cell) as u32));
    draw(figure, &mut backend, Surface::BITMAP)?;
    drop(backend);

    let pixels = averaged(&large, width, height, cell);
    let mut file = Vec::new();
    // Flat colours compress best unfiltered.
    PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::NoFilter)
        .write_image(&pixels, width as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(|e| Error::run(format!("a chart could not be encoded as PNG: {e}")))?;
    Ok(file)
}

fn draw<B: DrawingBackend>(figure: &Figure, backend: &mut B, surface: Surface) -> Result<()> {
    let (width, height) = figure.size();
    let mut canvas = Canvas::new(backend, surface);
    canvas.fill(Rect::new(0.0, 0.0, width, height), PAPER)?;
    figure.draw(&mut canvas)?;
    backend.present().map_err(|e| Error::run(format!("a chart could not be drawn: {e}")))
}

/// `width` × `height` pixels, each the mean of `cell` × `cell` pixels of `large`.
fn averaged(large: &[u8], width: usize, height: usize, cell: usize) -> Vec<u8> {
    let row = 3 * width * cell;
    let count = (cell * cell) as u32;
    let mut pixels = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        let rows = &large[y * cell * row..(y + 1) * cell * row];
        for x in 0..width {
            for channel in 0..3 {
                let sum: u32 = (0..cell * cell)
                    .map(|i| u32::from(rows[i / cell * row + 3 * (x * cell + i % cell) + channel]))
                    .sum();
                pixels.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    pixels
}
