"""From a folder of JPEGs as phones leave them to an ONNX file, and whether another program sees there what candlewick
sees: onnxruntime, given pixels that Pillow read from the same files.

    python3 benches/phone_pictures.py                   # 2,000 pictures; builds nothing: cargo build --release first
    python3 benches/phone_pictures.py --count 300 --epochs 5 --keep /tmp/phone

Pictures of five classes that differ in what is up and what is down, of many sizes, lying and standing, by all eight
orientation tags, baseline and progressive, in colour and a few in grey; two of them damaged, and one HEIC. Each has to
be in the same class in both programs, but for one in 200. Ends with 1 where one of the checks fails.

Pillow, numpy and onnxruntime are put into a virtual environment once (PICTURES_VENV, by default target/pictures-venv).
"""

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ["numpy", "onnxruntime", "pillow"]


def in_environment():
    """Starts over in an environment that has the packages."""
    folder = Path(os.environ.get("PICTURES_VENV", ROOT / "target/pictures-venv"))
    python, ready = folder / "bin/python", folder / "ready"
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        ready.touch()
    os.execv(python, [str(python), *sys.argv])


if __name__ == "__main__":
    in_environment()

import numpy as np
import onnxruntime
from PIL import Image, ImageCms, ImageDraw, ImageOps

CLASSES = ["horizon", "mast", "roof", "sun", "valley"]
# Width, height, and how many of a hundred.
SIZES = [((640, 480), 46), ((800, 600), 22), ((1280, 960), 18), ((320, 240), 8), ((500, 333), 5), ((4032, 3024), 1)]
FLIP, TURN = Image.Transpose, {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}


def scene(kind, width, height, rng):
    """An upright picture, with noise and colours of its own."""
    low, high = rng.integers(0, 90, 3), rng.integers(150, 256, 3)
    if rng.random() < 0.5:
        low, high = high, low
    ramp = np.linspace(-1, 1, width)[None, :, None] * rng.uniform(-15, 15, 3)
    picture = Image.fromarray((low + ramp + np.zeros((height, 1, 1))).clip(0, 255).astype(np.uint8))
    draw, side = ImageDraw.Draw(picture), min(width, height)
    x, y = width * rng.uniform(0.4, 0.6), height * rng.uniform(0.4, 0.6)
    half, fill = side * rng.uniform(0.22, 0.34), tuple(int(v) for v in high)
    match kind:
        case "horizon":
            draw.rectangle([0, y, width, height], fill=fill)
        case "mast":
            draw.rectangle([x - half / 5, 0, x + half / 5, height], fill=fill)
        case "roof":
            draw.polygon([(x - half, y + half), (x + half, y + half), (x, y - half)], fill=fill)
        case "sun":
            draw.ellipse([x - half, y - half, x + half, y + half], fill=fill)
        case "valley":
            draw.polygon([(x - half, y - half), (x + half, y - half), (x, y + half)], fill=fill)
    noise = rng.normal(0, 6, (height // 2, width // 2, 3)).repeat(2, 0).repeat(2, 1)
    pixels = np.asarray(picture).astype(float)
    pixels[: noise.shape[0], : noise.shape[1]] += noise
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def save(path, picture, rng):
    """As some phone or the program behind it writes a picture."""
    tag = int(rng.choice([0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6, 6, 6, 7, 8, 8]))
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model 7"
    if tag:
        exif[0x0112] = tag
    options = {
        "quality": int(rng.integers(60, 96)),
        "subsampling": int(rng.integers(0, 3)),
        "progressive": bool(rng.random() < 0.3),
        "optimize": bool(rng.random() < 0.3),
    }
    if rng.random() < 0.5:
        options["exif"] = exif
    elif tag > 1:
        options["exif"] = exif
    if rng.random() < 0.3:
        options["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if rng.random() < 0.1:
        options["restart_marker_rows"] = 1
    if rng.random() < 0.05:
        picture = picture.convert("L")
    if tag in TURN:
        picture = picture.transpose(FLIP(TURN[tag]))
    picture.save(path, "JPEG", **options)


def stored_turned():
    """Checks the table of turns: what Pillow shows of a picture that was turned and tagged is the picture."""
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    for tag, turn in TURN.items():
        turned = picture.transpose(FLIP(turn))
        turned.getexif()[0x0112] = tag
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(turned)), np.asarray(picture)), tag


def make(folder, count):
    """Makes the pictures."""
    stored_turned()
    rng = np.random.default_rng(7)
    shares = np.array([share for _, share in SIZES]) / 100
    for k in range(count):
        kind = CLASSES[k % len(CLASSES)]
        width, height = SIZES[rng.choice(len(SIZES), p=shares)][0]
        if rng.random() < 0.25:
            width, height = height, width
        ending = rng.choice([".jpg", ".jpg", ".JPG", ".jpeg"])
        path = folder / kind / f"IMG_{k:04}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, scene(kind, width, height, rng), rng)
    cut, rotten = damaged_in(folder)
    data = bytearray(cut.read_bytes())
    cut.write_bytes(data[: len(data) * 2 // 3])
    data = bytearray(rotten.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = rng.bytes(400)
    rotten.write_bytes(data)
    (folder / "mast/IMG_9999.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + rng.bytes(5000))


def damaged_in(folder):
    """The two files that are damaged."""
    return [sorted(folder.glob("sun/*"))[3], sorted(folder.glob("roof/*"))[5]]


def run(binary, folder, *arguments):
    """A command of candlewick: its exit code, what it said, and seconds by the clock and of all cores."""
    began, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run([binary, *arguments], cwd=folder, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ended.returncode, ended.stdout, ended.stderr, time.time() - began, spent


def pixels(path, height, width, background):
    """As README.md has it."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    behind = Image.new("RGBA", picture.size, (*background, 255))
    picture = Image.alpha_composite(behind, picture).convert("RGB")
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture, "float32").transpose(2, 0, 1)[None] / 255


def probabilities(onnx, files):
    session = onnxruntime.InferenceSession(onnx)
    about = session.get_modelmeta().custom_metadata_map
    _, _, height, width = session.get_inputs()[0].shape
    rows = []
    for path in files:
        (logits,) = session.run(["logits"], {"images": pixels(path, height, width, json.loads(about["background"]))})
        grown = np.exp(logits[0] - logits[0].max())
        rows.append(grown / grown.sum())
    return json.loads(about["classes"]), np.array(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="pictures, damaged ones included")
    parser.add_argument("--minutes", type=float, default=1.0, help="about how long training may take")
    parser.add_argument("--epochs", type=int, default=0, help="passes over the pictures; 0: what the minutes allow")
    parser.add_argument("--candlewick", default=str(ROOT / "target/release/candlewick"), help="the binary")
    parser.add_argument("--keep", type=Path, help="leave everything in this folder; pictures in it are used again")
    given = parser.parse_args()
    binary = shutil.which(given.candlewick) or sys.exit(f"there is no {given.candlewick}: cargo build --release")
    binary = str(Path(binary).resolve())
    failed = []

    def check(holds, what):
        print(("ok      " if holds else "FAILED  ") + what, flush=True)
        if not holds:
            failed.append(what)

    with tempfile.TemporaryDirectory() as place:
        work = given.keep.absolute() if given.keep else Path(place)
        photos = work / "photos"
        if not photos.exists():
            photos.mkdir(parents=True)
            make(photos, given.count)
        damaged = damaged_in(photos)
        for old in ["refused", "run", "asked", "flat"]:
            shutil.rmtree(work / old, ignore_errors=True)
        sizes = [path.stat().st_size for path in photos.rglob("*.*")]
        print(f"{len(sizes)} files, {sum(sizes) / 1e6:.0f} MB", flush=True)

        own = str(ROOT / "scripts/own_images.rhai")
        settings = ["--set", f"minutes={given.minutes}", "--set", f"epochs={given.epochs}"]
        code, _, told, wall, spent = run(binary, work, "run", own, "--set", "data=photos", "--out", "refused")
        names = all(path.name in told for path in damaged)
        check(code == 2 and names, f"both damaged files are named before training begins ({spent:.1f} s of a core)")
        arguments = ["run", own, "--set", "data=photos", "--set", "skip_unreadable=true", *settings, "--out", "run"]
        code, said, told, wall, spent = run(binary, work, *arguments)
        check(code == 0, f"own_images.rhai ends well ({wall:.0f} s, {spent:.0f} s of a core)")
        if code != 0:
            sys.exit(told)
        check("left out: 2 of" in told, "the damaged ones are left out, with a word")
        check("1 .heic" in told, "the HEIC is told of")
        print("\n".join("        " + line for line in said.splitlines() if "accuracy" in line or "waited" in line))

        files = sorted(path for path in photos.rglob("*.[jJ]*") if path not in damaged)
        flat = work / "flat"
        flat.mkdir()
        for path in files:
            os.link(path, flat / path.name)
        asked = [str(ROOT / "scripts/predict.rhai"), "--set", "network=run/best.safetensors", "--set", "images=flat"]
        code, _, told, wall, spent = run(binary, work, "run", *asked, "--out", "asked")
        check(code == 0, f"predict.rhai ends well ({spent:.1f} s of a core)")
        with open(work / "asked/predictions.csv", newline="", encoding="utf-8") as table:
            ours = {Path(row["file"]).name: row for row in csv.DictReader(table)}
        classes, theirs = probabilities(work / "run/network.onnx", files)
        check(len(ours) == len(files) and classes == CLASSES, f"{len(files)} pictures have an answer")
        mine = np.array([[float(ours[f.name][f"probability of {name}"]) for name in classes] for f in files])
        alike = (mine.argmax(1) == theirs.argmax(1)).mean()
        apart = np.abs(mine - theirs).max(1)
        check(
            alike >= 0.995,
            f"the same class for {100 * alike:.2f} %; probabilities differ by {np.median(apart):.5f} in the median, "
            f"{apart.max():.4f} at most",
        )

        with open(work / "run/data/1.csv", newline="", encoding="utf-8") as table:
            held = {Path(row["file"]).name for row in csv.DictReader(table) if row["part"] == "test"}
        right = [classes[row.argmax()] == path.parent.name for path, row in zip(files, theirs) if path.name in held]
        best = next(line for line in said.splitlines() if line.startswith("test accuracy"))
        best = float(best.split("epoch, ")[1].split(" ")[0])
        check(
            abs(np.mean(right) - best) <= 0.005,
            f"onnxruntime is right about {np.mean(right):.4f} of the {len(right)} pictures held out, candlewick {best}",
        )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
