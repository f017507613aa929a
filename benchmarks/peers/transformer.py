"""A Transformer language model: layer norm first, learned positions, fused causal attention.

It sees its own segment only, and drops no attention weights: with either, PyTorch could not use its
fused attention kernel on the CPU.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, hidden, heads, inner, dropout):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.project = nn.Linear(hidden, hidden)
        self.norm2 = nn.LayerNorm(hidden)
        self.expand = nn.Linear(hidden, inner)
        self.contract = nn.Linear(inner, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        batch, length, hidden = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        attended = attended.transpose(1, 2).reshape(batch, length, hidden)
        x = x + self.dropout(self.project(attended))
        return x + self.dropout(self.contract(F.gelu(self.expand(self.norm2(x)))))


class Transformer(nn.Module):
    """A byte language model without state."""

    def __init__(self, vocabulary, hidden, heads, inner, layers, context, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.positions = nn.Parameter(torch.empty(context, hidden))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(hidden, heads, inner, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.output = nn.Linear(hidden, vocabulary)
        self.apply(self.initialise)
        nn.init.normal_(self.positions, std=0.02)

    @staticmethod
    def initialise(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(self, ids, state=None):
        """ids (T, B) -> logits (T, B, V), None."""
        x = self.embedding(ids.t()) + self.positions[: ids.size(0)]  # (B, T, d) inside
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x)).transpose(0, 1), None
