"""How long a peer takes to a quality: dev BPC over seconds of training, as JSON.

Trains on a folder made by `rondo prepare`. The clock counts training steps alone: neither
evaluation nor the compilation of torch.compile, which two steps on a copy of the weights trigger.
"""

import argparse
import copy
import time

import torch

import report
import sizes
import training


def compile_ahead(trainer, size, vocabulary):
    """Runs the shapes of training, without and with memory, and leaves the weights unchanged."""
    weights = copy.deepcopy(trainer.model.state_dict())
    ids = torch.randint(vocabulary, (size.unroll, size.batch))
    state = None
    for _ in range(2):
        loss, state = trainer.loss(ids, ids, state)
        loss.backward()
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer.model.load_state_dict(weights)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=sizes.MODELS, required=True)
    parser.add_argument("--corpus", metavar="FOLDER", required=True)
    parser.add_argument("--size", choices=sizes.SIZES, default="small")
    parser.add_argument("--steps", type=int, default=1000, help="N of the cosine; stops there")
    parser.add_argument("--minutes", type=float, help="of training; stops at these too")
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--warmup", type=int, default=100, help="steps of rising learning rate")
    parser.add_argument("--every", type=int, default=100, help="steps between evaluations")
    parser.add_argument("--dev-bytes", type=int, default=50000, help="the prefix of dev evaluated")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--compile", default="default", metavar="MODE",
                        help="mode of torch.compile, or none")
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    size = sizes.SIZES[options.size]
    corpus = training.Corpus(options.corpus)
    train = training.streams(corpus.ids("train"), size.batch)
    dev = training.streams(corpus.ids("dev")[: options.dev_bytes + 1], size.batch)
    compile_mode = None if options.compile == "none" else options.compile
    model = sizes.build(options.model, options.size, corpus.vocabulary, compile_mode=compile_mode)
    trainer = training.Trainer(model, options.lr, options.dtype)
    compile_ahead(trainer, size, corpus.vocabulary)

    result = {
        "command": "curve",
        "model": options.model,
        "size": options.size,
        **report.machine(),
        "corpus": corpus.name,
        "precision": options.dtype,
        "parameters": sizes.count(model),
        "vocabulary": corpus.vocabulary,
        "batch_size": size.batch,
        "unroll": size.unroll,
        "steps": options.steps,
        "lr": options.lr,
        "warmup_steps": options.warmup,
        "seed": options.seed,
        "dev_bytes": dev[0].numel(),
        "points": [],
    }

    limit = options.minutes * 60 if options.minutes else float("inf")
    seconds, step, tokens = 0.0, 0, 0
    done = False
    while not done:
        trainer.state = None  # no state crosses an epoch
        for x, y in training.segments(*train, size.unroll):
            lr = training.learning_rate(options.lr, step, options.steps, options.warmup)
            start = time.perf_counter()
            loss = trainer.step(x, y, lr)
            seconds += time.perf_counter() - start
            step, tokens = step + 1, tokens + x.numel()
            done = step >= options.steps or seconds >= limit
            if done or step % options.every == 0:
                bpc = trainer.evaluate(*dev, size.unroll)
                point = {"seconds": seconds, "steps": step, "tokens": tokens, "dev_bpc": bpc}
                result["points"].append(point)
                report.write(options.json, result)  # at every point: an interrupted run keeps them
                print(f"{seconds:8.1f} s  step {step:6}  {tokens:10,} bytes  "
                      f"train {loss.item():.3f} nats  dev {bpc:.3f} BPC", flush=True)
            if done:
                break


if __name__ == "__main__":
    main()
