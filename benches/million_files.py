"""How long candlewick takes to list a million image files in 1,000 class folders, and in how much memory.

    python3 benches/million_files.py                    # builds nothing: cargo build --release first
    python3 benches/million_files.py --classes 100 --files 100

Two things are timed, three times each: the listing alone (all names, read and sorted; it ends at a last class folder
that holds no image), and `survey`, which also divides them into training and test images and reads the header of
every file. Prints seconds by the clock and of all cores, and the peak of memory. Asked for are 10 s and 200 MB for the
listing.

The folder is made once (MILLION_FILES, by default target/million-files): in each class one image of 8×8 pixels, and
links to it, so it takes 4 kB and the names a class. It may be removed afterwards.
"""

import argparse
import os
import shutil
import statistics
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def png(grey):
    """An image of 8×8 pixels, all of one grey."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([grey]) * 8) * 8)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def make(folder, classes, files):
    """The folder, unless it is there already."""
    ready = folder / "ready"
    if ready.exists() and ready.read_text() == f"{classes} {files}":
        return
    shutil.rmtree(folder, ignore_errors=True)
    began = time.time()
    for k in range(classes):
        inner = folder / "images" / f"n{k:08}"
        inner.mkdir(parents=True)
        first = inner / f"n{k:08}_0.png"
        first.write_bytes(png(k % 256))
        for i in range(1, files):
            os.link(first, inner / f"n{k:08}_{i}.png")
    ready.write_text(f"{classes} {files}")
    print(f"made {classes * files:,} files in {time.time() - began:.0f} s", flush=True)


def timed(binary, script, folder, code):
    """Seconds by the clock, seconds of all cores, and the peak of memory in megabytes."""
    began = time.time()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        child = os.posix_spawn(
            binary,
            [binary, "run", str(script), "--data", str(folder)],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, nowhere.fileno(), descriptor) for descriptor in (1, 2)],
        )
        _, status, used = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) != code:
        sys.exit(f"the listing ended with {os.waitstatus_to_exitcode(status)}, not {code}")
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return time.time() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / unit


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=1000, help="files in each class")
    parser.add_argument("--candlewick", default=str(ROOT / "target/release/candlewick"), help="the binary")
    given = parser.parse_args()
    binary = shutil.which(given.candlewick) or sys.exit(f"there is no {given.candlewick}: cargo build --release")
    folder = Path(os.environ.get("MILLION_FILES", ROOT / "target/million-files")).absolute()
    make(folder, given.classes, given.files)
    images, empty = folder / "images", folder / "images/zzz"
    with tempfile.TemporaryDirectory() as place:
        script = Path(place) / "list.rhai"
        script.write_text(f'let found = survey("{images}");\nassert(found.classes.len() == {given.classes});\n')
        for what, code in [("listed", 2), ("looked over by survey", 0)]:
            if code == 2:
                empty.mkdir(exist_ok=True)
            elif empty.exists():
                empty.rmdir()
            runs = [timed(binary, script, images, code) for _ in range(3)]
            wall, cores, memory = (statistics.median(column) for column in zip(*runs))
            print(f"{what}: {wall:.1f} s, {cores:.1f} s of all cores, {memory:.0f} MB at most", flush=True)


if __name__ == "__main__":
    main()
