"""The CPU's kernels in C++, compiled where they run.

They are built at their first use by the compiler found there (a few seconds, once a machine), for exactly its
processor. Without a compiler everything works by `partialot.kernels.reference`, about three times slower
(`benchmarks/bench_sweep.py`).
"""

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

_FOLDER = Path(__file__).parent
SOURCES = tuple(_FOLDER / name for name in ("sweep.cpp", "border.cpp", "stretch.cpp"))
HEADERS = tuple(_FOLDER / name for name in ("numbers.hpp", "passes.hpp", "border.hpp"))
# Without errno and traps, exponentials become vector instructions; sums keep their order except where marked.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")

_log = logging.getLogger("partialot")


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the kernels, after building them where that was not yet done.

    Set the environment variable `PARTIALOT_NATIVE=0` to work without them, `CXX` to choose the compiler, and
    `XDG_CACHE_HOME` to choose where the build is kept.

    Returns:
        The library; None where it is not wanted or cannot be built, which the log of "partialot" tells.
    """
    if os.environ.get("PARTIALOT_NATIVE", "1") == "0":
        return None
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        _log.warning(
            "The CPU kernels need a C++ compiler. None was found. "
            "Install one (g++ or clang++), or set PARTIALOT_NATIVE=0 to work without, about three times slower."
        )
        return None
    try:
        return ctypes.CDLL(str(_build(compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        _log.warning(
            "The CPU kernels must compile with OpenMP. %s said: %s. "
            "Mend or choose the compiler (CXX), or set PARTIALOT_NATIVE=0 to work without, about three times slower.",
            compiler,
            said,
        )
        return None


def _build(compiler: str) -> Path:
    """Give the library for these sources, compiler and processor."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=60).stdout
    texts = (path.read_bytes() for path in (*SOURCES, *HEADERS))
    stamp = hashlib.sha256(b"\0".join((*texts, " ".join(FLAGS).encode(), version, _processor().encode())))
    folder = _cache()
    target = folder / f"kernels-{stamp.hexdigest()[:16]}.so"
    if not target.exists():
        # Several processes may build at once: each writes its own file, and the last to finish replaces its equals.
        with tempfile.TemporaryDirectory(dir=folder) as workshop:
            fresh = Path(workshop) / target.name
            command = [compiler, *FLAGS, *map(str, SOURCES), "-o", str(fresh)]
            subprocess.run(command, capture_output=True, check=True, text=True, timeout=300)
            fresh.replace(target)
    return target


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "partialot"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        return folder
    # A shared folder would let others choose what is loaded: one of our own, for this process.
    return Path(tempfile.mkdtemp(prefix="partialot-"))


def _processor() -> str:
    """Describe what `-march=native` depends on: home folders are shared by machines of different kinds."""
    cpuinfo = Path("/proc/cpuinfo")
    described = cpuinfo.read_text().split("\n\n")[0] if cpuinfo.exists() else platform.processor()
    kept = [line for line in described.splitlines() if line.startswith(("vendor", "model", "flags", "Features", "CPU"))]
    return platform.machine() + "\n".join(kept)
