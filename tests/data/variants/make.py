"""Makes variants.jsonl: small pictures in many forms, and what Pillow shows of each.

    pip install pillow numpy && python make.py

A line is one picture: `name`, `file` (its bytes, hexadecimal), `size` ([height, width] as shown), `pixels` (red, green
and blue, row by row, hexadecimal), `off` (the largest difference that a decoder of its own may have: rounding of lossy
forms). Shown means: upright by the orientation tag, over white where it is transparent, 16 bits rounded to 8.
"""

import io
import json
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

lines = []


def picture(height=6, width=8):
    """Smooth, without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [40 + 20 * x + 4 * y, 220 - 15 * y - 6 * x, 60 + 9 * x + 11 * y]
    return Image.fromarray(np.stack(planes, -1).clip(0, 255).astype(np.uint8))


def shown(image):
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I;16", "I;16B", "I"):
        grey = np.rint(np.asarray(image).astype(float) / 257).astype(np.uint8)
        return np.stack([grey] * 3, -1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def add(name, image, kind, off=0, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    add_bytes(name, out.getvalue(), off)


def add_bytes(name, data, off=0):
    pixels = shown(Image.open(io.BytesIO(data)))
    lines.append(
        {"name": name, "file": data.hex(), "size": pixels.shape[:2], "pixels": pixels.tobytes().hex(), "off": off}
    )


def exif(tag):
    data = Image.Exif()
    data[0x0112] = tag
    return data


rgb = picture()
grey = rgb.convert("L")
ramp = Image.fromarray(np.tile(np.linspace(0, 255, 8).astype(np.uint8), (6, 1)))
rgba = rgb.copy()
rgba.putalpha(ramp)
la = grey.copy()
la.putalpha(ramp)
wide = Image.fromarray((np.asarray(grey).astype(np.uint16) * 257 + 99))
palette = rgb.quantize(6)
bits = grey.convert("1")

for name, image in [("rgb", rgb), ("grey", grey), ("rgba", rgba), ("la", la), ("palette", palette), ("bits", bits)]:
    add(f"png {name}", image, "PNG")
add("png 16 bit", wide, "PNG")
add("png palette with a clear colour", palette, "PNG", transparency=2)
add("png palette with clear colours", palette, "PNG", transparency=bytes([0, 100, 255, 200, 50, 255]))
add("png key colour", rgb, "PNG", transparency=rgb.getpixel((3, 2)))
add("png key grey", grey, "PNG", transparency=grey.getpixel((3, 2)))
for depth in (1, 2, 4):
    add(f"png palette of {depth} bits", rgb.quantize(2**depth), "PNG", bits=depth)
for tag in range(1, 9):
    add(f"png orientation {tag}", rgb, "PNG", exif=exif(tag))
    add(f"webp orientation {tag}", rgb, "WEBP", lossless=True, exif=exif(tag))
    add(f"tiff orientation {tag}", rgb, "TIFF", exif=exif(tag))
    add(f"jpeg orientation {tag}", rgb, "JPEG", 6, quality=95, subsampling=0, exif=exif(tag))
for progressive in (False, True):
    word = "progressive" if progressive else "baseline"
    for subsampling in (0, 1, 2):
        for quality in (60, 95):
            add(f"jpeg {word} {subsampling} {quality}", picture(16, 32), "JPEG", 12, quality=quality,
                subsampling=subsampling, progressive=progressive)
    add(f"jpeg {word} grey", grey, "JPEG", 4, quality=95, progressive=progressive)
    add(f"jpeg {word} optimised", rgb, "JPEG", 6, quality=95, subsampling=0, optimize=True, progressive=progressive)
    add(f"jpeg {word} restarts", picture(20, 40), "JPEG", 12, quality=95, restart_marker_blocks=2,
        progressive=progressive)
    add(f"jpeg {word} restarts by row", picture(40, 20), "JPEG", 12, quality=95, subsampling=0, restart_marker_rows=1,
        progressive=progressive)
    for height, width in ((1, 1), (7, 9), (17, 15)):
        add(f"jpeg {word} {height} by {width}", picture(height, width), "JPEG", 12, quality=95,
            progressive=progressive)
add("jpeg comment", rgb, "JPEG", 6, quality=95, subsampling=0, comment=b"taken at home")
for name, image in [("rgb", rgb), ("rgba", rgba)]:
    add(f"webp {name}", image, "WEBP", lossless=True, exact=True)
    add(f"webp lossy {name}", image, "WEBP", 12, quality=95)
add("webp animated", rgb, "WEBP", save_all=True, append_images=[grey.convert("RGB")], lossless=True)
add("gif", palette, "GIF")
add("gif grey", grey, "GIF")
add("gif with a clear colour", palette, "GIF", transparency=1)
add("gif animated", palette, "GIF", save_all=True, append_images=[palette.rotate(180)])
for pressed in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
    add(f"tiff {pressed}", rgb, "TIFF", compression=pressed)
    add(f"tiff grey {pressed}", grey, "TIFF", compression=pressed)
add("tiff rgba", rgba, "TIFF")
add("tiff of 64 bits", rgb, "TIFF", big_tiff=True)
add("tiff 16 bit", wide, "TIFF")
add("tiff bits", bits, "TIFF")
for name, image in [("rgb", rgb), ("grey", grey), ("palette", palette), ("bits", bits)]:
    add(f"bmp {name}", image, "BMP")
for name, image in [("rgb", rgb), ("grey", grey), ("bits", bits)]:
    add(f"pnm {name}", image, "PPM")

text = "".join(json.dumps(line) + "\n" for line in lines)
(Path(__file__).parent / "variants.jsonl").write_text(text)
print(len(lines), "variants by Pillow", PIL.__version__)
