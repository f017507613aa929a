#!/usr/bin/env python3
"""Measures Rondo and its peers alternately, in one run, and writes the table.

    python3 benchmarks/compare.py --rondo build/rondo --python ~/rondo-peers/bin/python

Every peer's run follows one of Rondo's, for several rounds: what slows the machine down for a while
slows both. Needs nothing but Python; the peers need benchmarks/peers/README.md.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"

CONFIGS = {
    "small": ["configs/benchmark_small.yaml"],
    "42m": ["configs/enwik8_42m.yaml", "--set", "training.batch_size=4",
            "--set", "data.corpus=builtin"],
}
WINDOWS = {"small": 256, "42m": 512}  # attended to in generation; those of training
TITLES = {
    "reference_srupp": "SRU++, the authors' package",
    "srupp": "SRU++, PyTorch, `torch.compile`",
    "lstm": "LSTM, PyTorch",
    "transformer": "Transformer, PyTorch",
    "transformer_xl": "Transformer-XL, PyTorch",
}
# Timed steps and warm-up steps of one run; the slow ones have fewer.
STEPS = {"small": (20, 6), "42m": (4, 2)}
GENERATING = ("reference_srupp", "lstm")
REFERENCE_STEPS = {"small": (6, 2), "42m": (2, 1)}
# PyTorch takes large blocks from the C library and gives them back at every step. Keeping them, as
# PyTorch's tuning guide advises by way of another allocator, spares it the page faults.
PEER_ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=17179869184:"
                      "glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456",
}


class RunFailed(Exception):
    pass


def run_json(command, environment, options):
    """Runs a benchmark with --json and returns what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "result.json"
        command = [*shlex.split(options.wrap), *command, "--json", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                              env={**os.environ, **environment})
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()[-5:]
            raise RunFailed(f"{shlex.join(command)} failed:\n" + "\n".join(said))
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunFailed(f"{shlex.join(command)} wrote no result: {error}") from error


class Subject:
    """One thing measured: a row of the table."""

    def __init__(self, key, title, command):
        self.key, self.title, self.command = key, title, command
        self.environment = {} if key == "rondo" else PEER_ENVIRONMENT
        self.runs = []
        self.rondo_runs = []  # the run of Rondo before each of a peer's

    def speeds(self):
        return [run["tokens_per_second"] for run in self.runs if run]

    def measure(self, options):
        """Adds one run, None if it failed: one peer that fails must not cost the others."""
        try:
            run = run_json(self.command, self.environment, options)
            said = f"{run['tokens_per_second']:,.0f} tokens/s"
        except RunFailed as failure:
            run, said = None, str(failure)
        self.runs.append(run)
        print(f"{datetime.datetime.now():%H:%M:%S}  {self.title}: {said}", flush=True)


def plural(streams):
    return "1 stream" if streams == 1 else f"{streams} streams"


def rondo_training(size, precision, options):
    steps, warmup = STEPS[size]
    command = [options.rondo, "bench", "train", *CONFIGS[size], "--steps", str(steps),
               "--warmup", str(warmup), "--threads", str(options.threads)]
    if precision != "f32":
        command += ["--set", f"training.precision={precision}"]
    return Subject("rondo", titled("**Rondo**, SRU++", precision), command)


def titled(title, precision):
    return title if precision == "f32" else f"{title}, {precision}"


def peer_training(model, size, precision, options):
    steps, warmup = (REFERENCE_STEPS if model == "reference_srupp" else STEPS)[size]
    command = [options.python, str(PEERS / "bench_train.py"), "--model", model, "--size", size,
               "--steps", str(steps), "--warmup", str(warmup), "--threads", str(options.threads),
               "--dtype", precision]
    return Subject(model, titled(TITLES[model], precision), command)


def rondo_generation(size, streams, options):
    command = [options.rondo, "bench", "generate", *CONFIGS[size], "--streams", str(streams),
               "--tokens", str(options.tokens), "--window", str(WINDOWS[size]),
               "--threads", str(options.threads)]
    return Subject("rondo", f"**Rondo**, SRU++, {plural(streams)}", command)


def peer_generation(model, size, streams, options):
    command = [options.python, str(PEERS / "bench_generate.py"), "--model", model, "--size", size,
               "--streams", str(streams), "--tokens", str(options.tokens),
               "--window", str(WINDOWS[size]), "--threads", str(options.threads)]
    return Subject(model, f"{TITLES[model]}, {plural(streams)}", command)


def alternate(rondo, peers, options, save):
    """Rondo, peer A, Rondo, peer B, ..., for `rounds` rounds; save() after every run."""
    for _ in range(options.rounds):
        for peer in peers:
            rondo.measure(options)
            if not rondo.runs[-1]:
                raise RunFailed("Rondo itself could not be measured; its message is above")
            # The same vocabulary, so that both do the same work.
            vocabulary = ["--vocabulary", str(rondo.runs[-1]["vocabulary"])]
            if vocabulary[0] not in peer.command:
                peer.command += vocabulary
            peer.measure(options)
            peer.rondo_runs.append(rondo.runs[-1])
            save()


def ratio(peer):
    """How many times Rondo is faster: median over the pairs of neighbouring runs."""
    pairs = [before["tokens_per_second"] / run["tokens_per_second"]
             for before, run in zip(peer.rondo_runs, peer.runs) if run]
    return statistics.median(pairs) if pairs else None


def number(value):
    """Four digits at most: a benchmark knows no more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def row(subject, peer):
    speeds = subject.speeds()
    if not speeds:
        return f"| {subject.title} | | failed | | | | |"
    run = next(run for run in subject.runs if run)
    fraction = [r["fraction_of_gemm"] for r in subject.runs if r and "fraction_of_gemm" in r]
    faster = ratio(subject) if peer else None
    memory = max(r["peak_rss_bytes"] for r in subject.runs if r) / 2**20 \
        if "peak_rss_bytes" in run else None
    cells = [
        subject.title,
        f"{run['parameters'] / 1e6:.2f}M",
        number(statistics.median(speeds)),
        f"{number(min(speeds))} to {number(max(speeds))}",
        f"{faster:.2f}x" if faster else "",
        f"{memory:,.0f} MiB" if memory else "",
        f"{statistics.median(fraction):.0%}" if fraction else "",
    ]
    return "| " + " | ".join(cells) + " |"


def table(groups):
    lines = [
        "| | parameters | tokens/s | runs | Rondo is faster | memory | of the product rate |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for rondo, peers in groups:
        lines.append(row(rondo, peer=False))
        lines += [row(peer, peer=True) for peer in peers]
    return "\n".join(lines)


def command_output(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def processor():
    """Name, family and model: hypervisors often hide the name proper."""
    fields = {}
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.machine()
    features = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
                if f in fields.get("flags", "").split()]
    return (f"{fields.get('model name', platform.machine())} (family {fields.get('cpu family')}, "
            f"model {fields.get('model')}; {', '.join(features)})")


def conditions(groups, size, options):
    """What was measured, where and how, in words."""
    rondo = next(run for run in groups[0][0].runs if run)
    peer = next((run for _, peers in groups for p in peers for run in p.runs if run), {})
    if rondo["command"] == "train":
        work = f"Batch {rondo['batch_size']} x {rondo['unroll']} tokens"
    else:
        work = f"One token at a time, window {WINDOWS[size]}"
    commit = command_output("git", "describe", "--always", "--dirty")
    versions = [f"Rondo {commit} ({rondo['matmul_backend']} products)",
                f"PyTorch {peer.get('torch', 'not measured')}",
                f"Python {peer.get('python', platform.python_version())}"]
    if sru_version(groups):
        versions.append(f"sru {sru_version(groups)}")
    sentences = [
        f"{work}, vocabulary {rondo['vocabulary']}, {rondo['threads']} threads; "
        f"rounds: {options.rounds}.",
        f"{datetime.date.today():%d %B %Y}, {processor()}, {os.cpu_count()} cores, "
        f"{memory_gib():.0f} GiB.",
        ", ".join(versions) + ".",
    ]
    if "gemm_gflops" in rondo:
        rates = [run["gemm_gflops"] for run in groups[0][0].runs]
        sentences.append(f"A plain matrix product in the same runs: "
                         f"{statistics.median(rates):.0f} GFLOP/s.")
    if "peak_memory_bytes" in rondo:
        sentences.append(f"Rondo's tensors took {rondo['peak_memory_bytes'] / 2**20:,.0f} MiB at "
                         f"most.")
    return "\n".join([" ".join(sentences), "", "```sh", options.shown, "```"])


def sru_version(groups):
    return next((run["sru"] for _, peers in groups for p in peers for run in p.runs
                 if run and "sru" in run), "")


def replace_section(path, name, text):
    """Puts text between the markers of `name`, or appends both: other prose stays as it is."""
    begin, end = f"<!-- compare:begin {name} -->", f"<!-- compare:end {name} -->"
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    if begin in old and end in old:
        before, rest = old.split(begin, 1)
        after = rest.split(end, 1)[1]
    else:
        before, after = old.rstrip("\n") + "\n\n", "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def save_results(path, groups, options):
    raw = {
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "commit": command_output("git", "describe", "--always", "--dirty"),
        "rounds": options.rounds,
        "subjects": [{"title": subject.title, "model": subject.key, "runs": subject.runs}
                     for rondo, peers in groups for subject in (rondo, *peers)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(raw, indent=1) + "\n")
    partial.replace(path)


def unused(path):
    """path, or path with a number: figures of an earlier run on the same day are kept."""
    numbered, n = path, 2
    while numbered.exists():
        numbered, n = path.with_stem(f"{path.stem}-{n}"), n + 1
    return numbered


def compare(name, groups, size, options):
    results = unused(ROOT / "benchmarks" / "results" / f"{datetime.date.today()}-{name}.json")
    for rondo, peers in groups:
        alternate(rondo, peers, options, lambda: save_results(results, groups, options))
    text = table(groups) + "\n\n" + conditions(groups, size, options)
    print(f"\n{text}\n\nAll figures: {results.relative_to(ROOT)}\n")
    if options.write:
        replace_section(pathlib.Path(options.write), name, text)


def shown(options, all_models):
    """The command as a reader would type it: no paths of this machine."""
    parts = ["python3 benchmarks/compare.py --rondo build/rondo --python ~/rondo-peers/bin/python",
             f"--size {options.size} --rounds {options.rounds} --threads {options.threads}"]
    if options.models != all_models:
        parts.append(f"--models {options.models}")
    if options.bf16:
        parts.append("--bf16")
    if options.generate:
        parts.append(f"--generate --tokens {options.tokens}")
    return " \\\n    ".join([parts[0], " ".join(parts[1:])])


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rondo", default="build/rondo", help="the program (build/rondo)")
    parser.add_argument("--python", required=True, help="the interpreter that has PyTorch")
    parser.add_argument("--size", choices=("small", "42m", "all"), default="all")
    parser.add_argument("--models", default=",".join(TITLES), help="peers, with commas between")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bf16", action="store_true", help="also the bf16 variants")
    parser.add_argument("--generate", action="store_true", help="generation instead of training")
    parser.add_argument("--tokens", type=int, default=100, help="generated by each stream")
    parser.add_argument("--write", metavar="FILE", help="put the tables into this Markdown file")
    parser.add_argument("--wrap", default="", metavar="COMMAND",
                        help="put before every measured command, such as 'taskset -c 0,1'")
    options = parser.parse_args(arguments)
    options.rondo = str(pathlib.Path(options.rondo).expanduser().absolute())
    # Not resolved: the link is what tells Python its environment.
    options.python = str(pathlib.Path(options.python).expanduser().absolute())
    options.shown = shown(options, parser.get_default("models"))
    options.models = options.models.split(",")
    for model in options.models:
        if model not in TITLES:
            parser.error(f"no peer is called {model}; there are {', '.join(TITLES)}")
    for program in (options.rondo, options.python):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not a program that can be run")
    return options


def main(arguments):
    options = parse(arguments)
    sizes = ("small", "42m") if options.size == "all" else (options.size,)
    for size in sizes:
        if options.generate:
            models = [m for m in options.models if m in GENERATING]
            groups = [(rondo_generation(size, streams, options),
                       [peer_generation(m, size, streams, options) for m in models])
                      for streams in (1, 8)]
            compare(f"{size}-generate", groups, size, options)
            continue
        precisions = ("f32", "bf16") if options.bf16 else ("f32",)
        groups = [(rondo_training(size, p, options),
                   [peer_training(m, size, p, options) for m in options.models])
                  for p in precisions]
        compare(size, groups, size, options)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (RunFailed, KeyboardInterrupt) as stop:
        print(f"error: {stop or 'interrupted'}; the runs so far are in benchmarks/results",
              file=sys.stderr)
        sys.exit(1)
