"""The size presets: every peer at the parameter count of one of Rondo's SRU++ models."""

import dataclasses
import importlib
from collections.abc import Mapping

CLASSES = {
    "reference_srupp": ("reference_srupp", "ReferenceSRUpp"),
    "srupp": ("srupp", "SRUpp"),
    "lstm": ("lstm", "LSTM"),
    "transformer": ("transformer", "Transformer"),
    "transformer_xl": ("transformer_xl", "TransformerXL"),
}
MODELS = tuple(CLASSES)
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


# Faster under torch.compile on the CPU; the others were not, or cannot be compiled.
COMPILED = ("srupp",)


def build(model, size, vocabulary, dropout=0.1, compile_mode="default"):
    """A peer model with fresh weights; compile_mode is that of torch.compile, or None: eager."""
    shape = dict(SIZES[size].shapes[model.removeprefix("reference_")])
    shape |= {"vocabulary": vocabulary, "dropout": dropout}
    if model in COMPILED:
        shape["compile_mode"] = compile_mode
    # Imported on demand: importing the reference package compiles it.
    module, name = CLASSES[model]
    return getattr(importlib.import_module(module), name)(**shape)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())

