"""SRU++ as the authors' package ships it: sru.SRUpp, wired as their Enwik8 script does.

The package compiles its C++ operator when it is first imported, and on the CPU runs the recurrence
of training as a Python loop over time; the C++ operator serves inference alone.
"""

import warnings

import torch
from torch import nn

with warnings.catch_warnings():  # no CUDA here; torch.jit.script is deprecated
    warnings.simplefilter("ignore")
    import sru

warnings.filterwarnings("ignore", message="Running SRU on CPU with grad_enabled=True")


class ReferenceSRUpp(nn.Module):
    """A byte language model; its state is (c, every layer's previous inputs)."""

    def __init__(self, vocabulary, hidden, projection, layers, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.dropout = nn.Dropout(dropout)
        self.rnn = sru.SRUpp(
            hidden,
            hidden,
            projection,
            num_layers=layers,
            dropout=dropout,
            attn_dropout=dropout,
            highway_bias=-2.0,
        )
        self.output = nn.Linear(hidden, vocabulary)
        bound = (3.0 / hidden) ** 0.5
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        nn.init.uniform_(self.output.weight, -bound, bound)
        nn.init.zeros_(self.output.bias)
        self.mask = None

    def attention_mask(self, length, memory_length, device):
        """Their mask: -10000 above the diagonal, (length, memory_length + length)."""
        total = memory_length + length
        if self.mask is None or self.mask.size(0) < total:
            ones = torch.ones(total, total, device=device)
            self.mask = torch.triu(ones, diagonal=1) * -10000.0
        return self.mask[memory_length:total, :total]

    def forward(self, ids, state=None):
        """ids (T, B) -> logits (T, B, V), state."""
        c, memory = (None, None) if state is None else state
        memory_length = 0 if memory is None else memory[0].size(0)
        mask = self.attention_mask(ids.size(0), memory_length, ids.device)
        x = self.dropout(self.embedding(ids))
        x, c, kept = self.rnn(x, c, memory=memory, attn_mask=mask)
        logits = self.output(self.dropout(x))
        return logits, (c.detach(), [inputs.detach() for inputs in kept["saved_inputs"]])
