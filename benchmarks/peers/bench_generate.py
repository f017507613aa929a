"""Speed of generation, token by token, with random weights, as JSON.

The reference package generates as it ships: c is carried, and every layer's inputs of the last
`window` positions are given back to it as memory, which it projects anew at every token.
"""

import argparse
import statistics
import time

import torch

import report
import sizes


class ReferenceState:
    """c and every layer's last inputs. Attention knows no positions, so these lie in any order."""

    def __init__(self, size, streams, window):
        shape = sizes.SIZES[size].shapes["srupp"]
        layers, hidden = shape["layers"], shape["hidden"]
        self.c = torch.zeros(layers, streams, hidden)
        # A full window from the start: every token timed costs the same.
        self.memory = [torch.randn(window, streams, hidden) for _ in range(layers)]
        self.next = 0

    def step(self, model, ids):
        x = model.embedding(ids)
        x, self.c, kept = model.rnn(x, self.c, memory=self.memory)
        for memory, inputs in zip(self.memory, kept["saved_inputs"]):
            memory[self.next] = inputs[0]
        self.next = (self.next + 1) % self.memory[0].size(0)
        return model.output(x)


class LSTMState:
    def __init__(self, size, streams, window):
        self.state = None

    def step(self, model, ids):
        logits, self.state = model(ids, self.state)
        return logits


STATES = {"reference_srupp": ReferenceState, "lstm": LSTMState}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=STATES, default="reference_srupp")
    parser.add_argument("--size", choices=sizes.SIZES, default="small")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=100, help="of every stream")
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--window", type=int, help="positions attended to; default: those trained")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=sizes.ENWIK8_VOCABULARY)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(1234)
    window = options.window or sizes.SIZES[options.size].unroll
    model = sizes.build(options.model, options.size, options.vocabulary, compile_mode=None).eval()
    state = STATES[options.model](options.size, options.streams, window)
    ids = torch.zeros(1, options.streams, dtype=torch.long)

    seconds = []
    with torch.inference_mode():
        for token in range(options.warmup + options.tokens):
            start = time.perf_counter()
            probabilities = state.step(model, ids)[0].softmax(-1)
            ids = torch.multinomial(probabilities, 1).t()
            elapsed = time.perf_counter() - start
            if token >= options.warmup:
                seconds.append(elapsed)

    median = statistics.median(seconds)
    result = {
        "command": "generate",
        "model": options.model,
        "size": options.size,
        **report.machine(),
        **report.package_version(options.model),
        "precision": "f32",
        "parameters": sizes.count(model),
        "vocabulary": options.vocabulary,
        "streams": options.streams,
        "window": window,
        "tokens": options.tokens,
        "seconds_per_token": median,
        "tokens_per_second": options.streams / median,
        "peak_rss_bytes": report.peak_rss_bytes(),
    }
    report.write(options.json, result)
    print(f"{options.model} {options.size}, {options.streams} streams, window {window}: "
          f"{options.streams / median:,.1f} tokens/s, {1e3 * median:.2f} ms a token")


if __name__ == "__main__":
    main()
