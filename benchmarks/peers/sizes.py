"""The size presets: every peer at the parameter count of one of Rondo's SRU++ models.

`python sizes.py` prints the counts and fails if a peer is further off than its preset allows.
"""

import dataclasses
import sys
from collections.abc import Mapping

import torch

MODELS = ("reference_srupp", "srupp", "lstm", "transformer", "transformer_xl")
ENWIK8_VOCABULARY = 205


@dataclasses.dataclass(frozen=True)
class Size:
    batch: int  # streams, B
    unroll: int  # positions of a segment, T; also the memory's length
    parameters: int  # of Rondo's model, by `rondo info`, with Enwik8's vocabulary
    tolerance: float  # a peer's parameters may differ by this part
    shapes: Mapping[str, dict]  # of each model


SIZES = {
    "small": Size(
        batch=8,
        unroll=256,
        parameters=1_398_993,
        tolerance=0.03,
        shapes={
            "srupp": dict(hidden=512, projection=128, layers=4),
            "lstm": dict(hidden=280, layers=2),
            "transformer": dict(hidden=160, heads=4, inner=672, layers=4, context=256),
            "transformer_xl": dict(hidden=160, heads=4, inner=640, layers=4),
        },
    ),
    "42m": Size(
        batch=4,
        unroll=512,
        parameters=42_345_815,
        tolerance=0.03,
        shapes={
            "srupp": dict(hidden=1920, projection=480, layers=10),
            "lstm": dict(hidden=1312, layers=3),
            "transformer": dict(hidden=512, heads=8, inner=2048, layers=13, context=512),
            "transformer_xl": dict(hidden=512, heads=8, inner=2048, layers=12),
        },
    ),
}


def build(model, size, vocabulary, dropout=0.1, compile_mode="default"):
    """A peer model with fresh weights; compile_mode is that of torch.compile, or None: eager."""
    shape = SIZES[size].shapes[model.removeprefix("reference_")]
    shape = dict(shape, vocabulary=vocabulary, dropout=dropout)
    # Imported on demand: importing the reference package compiles it.
    if model == "reference_srupp":
        from reference_srupp import ReferenceSRUpp

        return ReferenceSRUpp(**shape)
    if model == "srupp":
        from srupp import SRUpp

        return SRUpp(**shape, compile_mode=compile_mode)
    if model == "lstm":
        from lstm import LSTM

        return LSTM(**shape)
    if model == "transformer":
        from transformer import Transformer as peer
    elif model == "transformer_xl":
        from transformer_xl import TransformerXL as peer
    else:
        raise ValueError(f"no peer is called {model}; there are {', '.join(MODELS)}")
    built = peer(**shape)
    if compile_mode is not None:
        built.compile(mode=compile_mode, dynamic=False)
    return built


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def main():
    failed = False
    for size_name, size in SIZES.items():
        print(f"{size_name}: Rondo's SRU++ has {size.parameters:,} parameters")
        for name in MODELS:
            with torch.device("meta"):
                parameters = count(build(name, size_name, ENWIK8_VOCABULARY, compile_mode=None))
            off = parameters / size.parameters - 1
            exact = name.endswith("srupp")
            bad = parameters != size.parameters if exact else abs(off) > size.tolerance
            failed |= bad
            print(f"  {name:16} {parameters:12,} {off:+7.1%}{'  TOO FAR OFF' if bad else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
