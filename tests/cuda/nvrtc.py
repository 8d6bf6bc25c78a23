"""Compiles the kernels with NVRTC, NVIDIA's compiler as a library, which needs neither a GPU nor a driver.

    python tests/cuda/nvrtc.py [--write] [FOLDER]

Prints a JSON object for each kernel and architecture: registers, and bytes of stack, spilled stores and loads. With
--write, the PTX of each file is written beside it, or into FOLDER. Needs `pip install
nvidia-cuda-nvrtc-cu12==12.0.140`; PTX that is newer than the driver does not load, and this version's suits drivers
from 525 on.
"""

import ctypes, glob, json, pathlib, re, site, sys

KERNELS = pathlib.Path(__file__).resolve().parents[2] / "src/engine/cuda/kernels"
# What PTX is written for, and what is compiled to see what it takes.
VIRTUAL, REAL = b"compute_80", (b"sm_80", b"sm_90")


def library():
    folders = [path for base in site.getsitepackages() for path in glob.glob(base + "/nvidia/cuda_nvrtc/lib")]
    if not folders:
        sys.exit("no NVRTC: pip install nvidia-cuda-nvrtc-cu12==12.0.140")
    ctypes.CDLL(glob.glob(folders[0] + "/libnvrtc-builtins.so.*")[0], mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(glob.glob(folders[0] + "/libnvrtc.so.*")[0])


def compile(nvrtc, path, arch):
    """The log and the PTX of a file."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    shared = sorted(KERNELS.glob("*.cuh"))
    headers = (ctypes.c_char_p * len(shared))(*[header.read_bytes() for header in shared])
    names = (ctypes.c_char_p * len(shared))(*[header.name.encode() for header in shared])
    source, count = path.read_bytes(), len(shared)
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, path.name.encode(), count, headers, names)
    options = [b"--gpu-architecture=" + arch, b"--fmad=false", b"--std=c++17"]
    if arch.startswith(b"sm"):
        options.append(b"--ptxas-options=-v")
    code = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if code:
        sys.exit(f"{path.name} for {arch.decode()}: error {code}\n{log.value.decode()}")
    nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetPTX(program, ptx)
    return log.value.decode(), renumbered(ptx.raw.rstrip(b"\0"))


def renumbered(ptx):
    """The compiler numbers calls through all files that a process compiles: here each file counts from 0."""
    numbers = {}
    return re.sub(rb"(?<=callseq )\d+", lambda at: b"%d" % numbers.setdefault(at.group(), len(numbers)), ptx)


def main(arguments):
    nvrtc = library()
    write = "--write" in arguments
    folders = [pathlib.Path(argument) for argument in arguments if argument != "--write"]
    for path in sorted(KERNELS.glob("*.cu")):
        if write:
            _, ptx = compile(nvrtc, path, VIRTUAL)
            ((folders or [KERNELS])[0] / (path.stem + ".ptx")).write_bytes(ptx + b"\n")
        for arch in REAL:
            log, _ = compile(nvrtc, path, arch)
            kernel = None
            for line in log.splitlines():
                entry = re.search(r"entry function '(\w+)'", line)
                kernel = entry.group(1) if entry else kernel
                spills = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)
                if spills:
                    stack, stores, loads = map(int, spills.groups())
                used = re.search(r"Used (\d+) registers", line)
                if used:
                    row = {"file": path.stem, "kernel": kernel, "arch": arch.decode(), "registers": int(used.group(1))}
                    print(json.dumps({**row, "stack": stack, "stores": stores, "loads": loads}))


main(sys.argv[1:])
