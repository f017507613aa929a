#!/usr/bin/env python3
"""Trains Rondo's small SRU++ and a peer on the same text, and draws dev BPC over training time.

    rondo prepare enwik8 --file ...      # any corpus that `rondo prepare` makes
    python3 benchmarks/time_to_quality.py --rondo build/rondo --python ~/rondo-peers/bin/python \\
        --corpus data/enwik8 --minutes 8 --write docs/benchmarks.md

Each system gets the same minutes of training, with a cosine over the steps that fit into them, and
the learning rate of --lrs that was best for it in runs of --sweep-minutes. Clocks count training
steps alone, neither evaluation nor saving. Needs nothing but Python; the peer needs
benchmarks/peers/README.md. Writes the raw figures to benchmarks/results, the picture to
docs/time_to_quality.svg.
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import compare

DEV_BYTES = 50000
BATCH = 8
STYLES = {"rondo": ("Rondo, SRU++", "#1f6feb"), "peer": ("Transformer-XL, PyTorch", "#d1242f")}


def run(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-5:]
        sys.exit(f"{' '.join(command)} failed:\n" + "\n".join(said))


def rondo_points(metrics):
    """(seconds of training, step, dev BPC) of every evaluation in a run's metrics.

    The next step's clock also counts what came between, so it is left out: such a step counts as
    long as the median one.
    """
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    steps = {r["step"]: r["seconds"] for r in records if r["kind"] == "train"}
    evaluated = {r["step"]: r["bpc"] for r in records if r["kind"] == "dev"}
    lengths = {s: steps[s] - steps[s - 1] for s in steps if s - 1 in steps and s - 1 not in evaluated}
    usual = statistics.median(lengths.values())
    points, seconds = [], 0.0
    for step in sorted(steps):
        seconds += lengths.get(step, usual)
        if step in evaluated:
            points.append({"seconds": seconds, "steps": step, "dev_bpc": evaluated[step]})
    return points


class Rondo:
    key = "rondo"

    def __init__(self, options):
        self.options = options

    def seconds_per_step(self):
        command = [self.options.rondo, "bench", "train", "configs/benchmark_small.yaml", "--set",
                   f"data.corpus={self.options.corpus}", "--steps", "20"]
        return measured(command)["seconds_per_step"]

    def train(self, lr, steps, seed):
        with tempfile.TemporaryDirectory() as folder:
            settings = {
                "data.corpus": self.options.corpus, "run.folder": f"{folder}/run", "run.seed": seed,
                "training.steps": steps, "optimizer.lr": lr,
                "schedule.warmup_steps": warmup(steps), "evaluation.every": every(steps),
                "evaluation.batch_size": BATCH, "evaluation.max_tokens": DEV_BYTES,
                "evaluation.test_at_end": "false", "checkpoint.every": 0, "logging.every": 1,
                "logging.tensorboard": "false", "sample.length": 0}
            command = [self.options.rondo, "train", "configs/benchmark_small.yaml"]
            for key, value in settings.items():
                command += ["--set", f"{key}={value}"]
            run(command)
            return rondo_points(pathlib.Path(folder) / "run" / "metrics.jsonl")


class Peer:
    key = "peer"

    def __init__(self, options):
        self.options = options

    def seconds_per_step(self):
        command = [self.options.python, str(compare.PEERS / "bench_train.py"), "--model",
                   "transformer_xl", "--size", "small", "--steps", "10", "--warmup", "3"]
        return measured(command, compare.PEER_ENVIRONMENT)["seconds_per_step"]

    def train(self, lr, steps, seed):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "curve.json"
            run([self.options.python, str(compare.PEERS / "train_curve.py"), "--model",
                 "transformer_xl", "--size", "small", "--corpus", self.options.corpus, "--steps",
                 str(steps), "--lr", str(lr), "--warmup", str(warmup(steps)), "--every",
                 str(every(steps)), "--dev-bytes", str(DEV_BYTES), "--seed", str(seed), "--json",
                 str(path)], compare.PEER_ENVIRONMENT)
            return json.loads(path.read_text())["points"]


def measured(command, environment=None):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "result.json"
        run([*command, "--json", str(path)], environment)
        return json.loads(path.read_text())


def warmup(steps):
    return max(1, min(100, steps // 10))


def every(steps):
    return max(1, steps // 24)


def time_to(points, bpc):
    """Seconds until the curve is at or below bpc, between points by a straight line."""
    before = None
    for point in points:
        if point["dev_bpc"] <= bpc:
            if before is None:
                return point["seconds"]
            share = (before["dev_bpc"] - bpc) / (before["dev_bpc"] - point["dev_bpc"])
            return before["seconds"] + share * (point["seconds"] - before["seconds"])
        before = point
    return None


def draw(curves, target):
    """The curves as an SVG: minutes of training against dev BPC."""
    width, height, left, top, right, bottom = 720, 420, 64, 40, 20, 52
    last = max(p["seconds"] for points in curves.values() for p in points) / 60
    low = min(p["dev_bpc"] for points in curves.values() for p in points)
    low, high = int(low * 10) / 10, min(4.0, low + 1.6)
    x = lambda minutes: left + (width - left - right) * minutes / last
    y = lambda bpc: top + (height - top - bottom) * (high - min(bpc, high)) / (high - low)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
             f'font-family="sans-serif" font-size="13" fill="#24292f">',
             f'<rect width="{width}" height="{height}" fill="white"/>',
             f'<text x="{left}" y="22" font-size="15">Dev BPC over minutes of training, 2 CPU cores'
             "</text>"]
    for i in range(int(round((high - low) * 5)) + 1):
        bpc = low + i / 5
        parts.append(f'<line x1="{left}" y1="{y(bpc):.1f}" x2="{width - right}" y2="{y(bpc):.1f}" '
                     f'stroke="#d0d7de"/><text x="{left - 8}" y="{y(bpc) + 4:.1f}" '
                     f'text-anchor="end">{bpc:.1f}</text>')
    for minute in range(int(last + 0.5) + 1):
        parts.append(f'<text x="{x(minute):.1f}" y="{height - bottom + 20}" '
                     f'text-anchor="middle">{minute}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{height - 10}" text-anchor="middle">'
                 "minutes</text>")
    parts.append(f'<line x1="{left}" y1="{y(target):.1f}" x2="{width - right}" y2="{y(target):.1f}" '
                 'stroke="#57606a" stroke-dasharray="4 4"/>')
    for row, (key, points) in enumerate(curves.items()):
        title, colour = STYLES[key]
        line = " ".join(f"{x(p['seconds'] / 60):.1f},{y(p['dev_bpc']):.1f}" for p in points
                        if p["dev_bpc"] <= high)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<line x1="{width - 230}" y1="{top + 14 + 20 * row}" x2="{width - 205}" '
                     f'y2="{top + 14 + 20 * row}" stroke="{colour}" stroke-width="2.5"/>'
                     f'<text x="{width - 198}" y="{top + 18 + 20 * row}">{title}</text>')
    return "\n".join([*parts, "</svg>", ""])


def describe(result):
    curves, target = result["curves"], result["target"]
    lines = ["![Dev BPC over minutes of training](time_to_quality.svg)", "",
             "| | learning rate | steps | last dev BPC | minutes to "
             + " | minutes to ".join(f"{t:.2f} BPC" for t in result["targets"]) + " |",
             "|---|---:|---:|---:|" + "---:|" * len(result["targets"])]
    for key, points in curves.items():
        times = [time_to(points, t) for t in result["targets"]]
        lines.append(f"| {STYLES[key][0]} | {result['lrs'][key]:g} | {points[-1]['steps']:,} | "
                     f"{points[-1]['dev_bpc']:.3f} | "
                     + " | ".join("not reached" if t is None else f"{t / 60:.1f}" for t in times)
                     + " |")
    ratios = [time_to(curves["peer"], t) / time_to(curves["rondo"], t) for t in result["targets"]]
    lines.append("| **ratio of times** | | | | "
                 + " | ".join(f"**{r:.1f}x**" for r in ratios) + " |")
    lines += ["", f"Where Transformer-XL ends, at {target:.3f} BPC, Rondo was after "
              f"{time_to(curves['rondo'], target) / 60:.1f} of the "
              f"{curves['peer'][-1]['seconds'] / 60:.1f} minutes: "
              f"{curves['peer'][-1]['seconds'] / time_to(curves['rondo'], target):.1f} times "
              f"sooner. {result['conditions']}"]
    return "\n".join(lines)


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rondo", default="build/rondo")
    parser.add_argument("--python", required=True, help="the interpreter that has PyTorch")
    parser.add_argument("--corpus", required=True, help="a folder made by `rondo prepare`")
    parser.add_argument("--minutes", type=float, default=8, help="of training, for each")
    parser.add_argument("--sweep-minutes", type=float, default=1, help="for each rate of --lrs")
    parser.add_argument("--lrs", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3, 4e-3])
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--write", metavar="FILE", help="put the table into this Markdown file")
    options = parser.parse_args()
    for name in ("rondo", "python", "corpus"):
        path = pathlib.Path(getattr(options, name)).expanduser().absolute()
        setattr(options, name, str(path))
    return options


def main():
    options = parse()
    os.chdir(compare.ROOT)
    result = {"date": datetime.datetime.now().isoformat(timespec="seconds"),
              "processor": compare.processor(), "minutes": options.minutes,
              "sweep_minutes": options.sweep_minutes, "sweeps": {}, "lrs": {}, "curves": {}}
    for system in (Rondo(options), Peer(options)):
        step = system.seconds_per_step()
        sweep = {}
        for lr in options.lrs:
            points = system.train(lr, max(10, int(options.sweep_minutes * 60 / step)), options.seed)
            sweep[str(lr)] = points[-1]["dev_bpc"]
            print(f"{STYLES[system.key][0]}: rate {lr:g}, {points[-1]['seconds']:.0f} s: dev "
                  f"{points[-1]['dev_bpc']:.3f} BPC", flush=True)
        result["sweeps"][system.key] = sweep
        result["lrs"][system.key] = float(min(sweep, key=sweep.get))
        points = system.train(result["lrs"][system.key], int(options.minutes * 60 / step),
                              options.seed)
        result["curves"][system.key] = points
        print(f"{STYLES[system.key][0]}: {points[-1]['seconds']:.0f} s: dev "
              f"{points[-1]['dev_bpc']:.3f} BPC", flush=True)
    ends = [points[-1]["dev_bpc"] for points in result["curves"].values()]
    result["target"] = result["curves"]["peer"][-1]["dev_bpc"]
    worst = max(ends)
    result["targets"] = [round(worst + more, 2) for more in (0.4, 0.2, 0.01)]
    result["conditions"] = (
        f"Both have 1.4M parameters and took steps of {BATCH} x 256 tokens; dev BPC is that of its "
        f"first {DEV_BYTES:,} bytes. Rates were chosen from {', '.join(f'{l:g}' for l in options.lrs)} "
        f"in runs of {options.sweep_minutes:g} minutes. One seed. "
        f"{datetime.date.today():%d %B %Y}, {result['processor']}, {os.cpu_count()} cores.")
    path = compare.unused(compare.ROOT / "benchmarks" / "results"
                          / f"{datetime.date.today()}-time-to-quality.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    if result["target"] < result["curves"]["rondo"][-1]["dev_bpc"]:
        sys.exit(f"Rondo did not reach {result['target']:.3f} BPC; the figures are in {path}")
    (compare.ROOT / "docs" / "time_to_quality.svg").write_text(draw(result["curves"],
                                                                    result["target"]))
    text = describe(result)
    print(f"\n{text}\n")
    if options.write:
        compare.replace_section(pathlib.Path(options.write), "time-to-quality", text)


if __name__ == "__main__":
    main()
