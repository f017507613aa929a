"""Training throughput of a peer: seconds of every step, after warm-up, as JSON.

The text is random: no peer's time depends on it. torch.compile does its work in the warm-up.
"""

import argparse
import statistics
import time

import torch

import report
import sizes
import training


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sizes.MODELS, required=True)
    parser.add_argument("--size", choices=sizes.SIZES, default="small")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--vocabulary", type=int, default=sizes.ENWIK8_VOCABULARY)
    parser.add_argument("--compile", default="default", metavar="MODE",
                        help="mode of torch.compile, or none")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(1234)
    size = sizes.SIZES[options.size]
    compile_mode = None if options.compile == "none" else options.compile
    model = sizes.build(options.model, options.size, options.vocabulary, compile_mode=compile_mode)
    trainer = training.Trainer(model, lr=1e-4, dtype=options.dtype)
    ids = torch.randint(options.vocabulary, (size.unroll + 1, size.batch))

    seconds = []
    for step in range(options.warmup + options.steps):
        start = time.perf_counter()
        loss = trainer.step(ids[:-1], ids[1:])
        elapsed = time.perf_counter() - start
        if step >= options.warmup:
            seconds.append(elapsed)

    median = statistics.median(seconds)
    tokens = size.batch * size.unroll
    result = {
        "command": "train",
        "model": options.model,
        "size": options.size,
        **report.machine(),
        **report.package_version(options.model),
        "precision": options.dtype,
        "compile": options.compile if options.model in sizes.COMPILED else "none",
        "parameters": sizes.count(model),
        "vocabulary": options.vocabulary,
        "batch_size": size.batch,
        "unroll": size.unroll,
        "tokens_per_step": tokens,
        "warmup_steps": options.warmup,
        "steps": options.steps,
        "step_seconds": seconds,
        "seconds_per_step": median,
        "tokens_per_second": tokens / median,
        "peak_rss_bytes": report.peak_rss_bytes(),
        "loss_nats": loss.item(),
    }
    report.write(options.json, result)
    print(f"{options.model} {options.size} {options.dtype}: {tokens / median:,.0f} tokens/s, "
          f"{median:.3f} s a step ({min(seconds):.3f} to {max(seconds):.3f}), "
          f"{result['peak_rss_bytes'] / 2**20:,.0f} MiB, loss {result['loss_nats']:.3f}")


if __name__ == "__main__":
    main()
