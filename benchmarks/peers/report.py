"""The machine-readable results: the keys of `rondo bench --json`, where they make sense."""

import importlib.metadata
import json
import pathlib
import platform
import resource

import torch


def processor():
    """The processor's name, or the architecture where /proc does not give it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine(device="cpu"):
    return {
        "device": device,
        "processor": processor() if device == "cpu" else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def package_version(model):
    """Of the authors' package, where it is what is measured."""
    return {"sru": importlib.metadata.version("sru")} if model == "reference_srupp" else {}


def peak_rss_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def write(path, result):
    if path:
        pathlib.Path(path).write_text(json.dumps(result, indent=1) + "\n")
