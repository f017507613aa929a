"""Training throughput of a peer: seconds of every step, after warm-up, as JSON.

The text is random: no peer's time depends on it. torch.compile does its work in the warm-up. The
steps on a GPU follow one another without a pause, and are timed between events, as Rondo's are.
"""

import argparse
import statistics
import time

import torch

import report
import sizes
import training


class CpuTimer:
    """The seconds between successive marks."""

    def __init__(self):
        self.marks = []

    def mark(self):
        self.marks.append(time.perf_counter())

    def seconds(self):
        return [end - start for start, end in zip(self.marks, self.marks[1:])]


class GpuTimer(CpuTimer):
    def mark(self):
        self.marks.append(torch.cuda.Event(enable_timing=True))
        self.marks[-1].record()

    def seconds(self):
        torch.cuda.synchronize()
        return [start.elapsed_time(end) * 1e-3 for start, end in zip(self.marks, self.marks[1:])]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sizes.MODELS, required=True)
    parser.add_argument("--size", choices=sizes.SIZES, default="small")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("f32", "tf32", "bf16"), default="f32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, help="streams; without it, those of the size")
    parser.add_argument("--vocabulary", type=int, default=sizes.ENWIK8_VOCABULARY)
    parser.add_argument("--compile", default="default", metavar="MODE",
                        help="mode of torch.compile, or none")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(1234)
    size = sizes.SIZES[options.size]
    batch = options.batch or size.batch
    on_gpu = options.device == "cuda"
    compile_mode = None if options.compile == "none" else options.compile
    model = sizes.build(options.model, options.size, options.vocabulary, compile_mode=compile_mode)
    model = model.to(options.device)
    trainer = training.Trainer(model, lr=1e-4, dtype=options.dtype)
    ids = torch.randint(options.vocabulary, (size.unroll + 1, batch)).to(options.device)

    for _ in range(options.warmup):
        trainer.step(ids[:-1], ids[1:])
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    timer = GpuTimer() if on_gpu else CpuTimer()
    timer.mark()
    for _ in range(options.steps):
        loss = trainer.step(ids[:-1], ids[1:])
        timer.mark()

    seconds = timer.seconds()
    median = statistics.median(seconds)
    tokens = batch * size.unroll
    peak = {"peak_rss_bytes": report.peak_rss_bytes()}
    if on_gpu:
        peak["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    result = {
        "command": "train",
        "model": options.model,
        "size": options.size,
        **report.machine(options.device),
        **report.package_version(options.model),
        "precision": options.dtype,
        "compile": options.compile if options.model in sizes.COMPILED else "none",
        "parameters": sizes.count(model),
        "vocabulary": options.vocabulary,
        "batch_size": batch,
        "unroll": size.unroll,
        "tokens_per_step": tokens,
        "warmup_steps": options.warmup,
        "steps": options.steps,
        "step_seconds": seconds,
        "seconds_per_step": median,
        "tokens_per_second": tokens / median,
        **peak,
        "loss_nats": loss.item(),
    }
    report.write(options.json, result)
    memory = peak["peak_device_bytes" if on_gpu else "peak_rss_bytes"]
    print(f"{options.model} {options.size} {options.dtype}: {tokens / median:,.0f} tokens/s, "
          f"{median:.4f} s a step ({min(seconds):.4f} to {max(seconds):.4f}), "
          f"{memory / 2**20:,.0f} MiB, loss {result['loss_nats']:.3f}")


if __name__ == "__main__":
    main()
