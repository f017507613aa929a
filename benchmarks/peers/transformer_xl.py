"""Transformer-XL (Dai et al., arXiv 1901.02860), from the paper's section 3.3 and its appendix B.

Layer norm after each part and no dropout of attention weights, as in its published Enwik8 model of
41M parameters. Queries are made for the segment alone, keys and values for [memory ; segment].
"""

import torch
import torch.nn.functional as F
from torch import nn


def shift(scores):
    """Moves row i of (B, H, T, K), K distances in falling order, to where its keys are."""
    batch, heads, rows, columns = scores.shape
    padded = F.pad(scores, (1, 0)).view(batch, heads, columns + 1, rows)
    return padded[:, :, 1:].reshape(batch, heads, rows, columns)


class Block(nn.Module):
    def __init__(self, hidden, heads, inner, dropout):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(hidden, hidden, bias=False)
        self.kv = nn.Linear(hidden, 2 * hidden, bias=False)
        self.r = nn.Linear(hidden, hidden, bias=False)
        self.project = nn.Linear(hidden, hidden, bias=False)
        self.norm1 = nn.LayerNorm(hidden)
        self.expand = nn.Linear(hidden, inner)
        self.contract = nn.Linear(inner, hidden)
        self.norm2 = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)

    def split(self, x):
        """(length, B, d) -> (B, H, length, d / H)."""
        return x.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)

    def forward(self, x, memory, distances, content_bias, distance_bias, mask):
        q = self.split(self.q(x))
        k, v = (self.split(part) for part in self.kv(torch.cat([memory, x])).chunk(2, dim=-1))
        r = self.split(self.r(distances).unsqueeze(1))  # (1, H, K, d / H)
        scale = q.size(-1) ** -0.5
        distance = shift(((q + distance_bias) * scale) @ r.transpose(-1, -2)) + mask
        scores = torch.baddbmm(distance.flatten(0, 1), (q + content_bias).flatten(0, 1),
                               k.flatten(0, 1).transpose(1, 2), alpha=scale)
        weights = scores.softmax(-1).view_as(distance)
        attended = (weights @ v).permute(2, 0, 1, 3).flatten(2)
        x = self.norm1(x + self.dropout(self.project(attended)))
        inner = self.dropout(F.relu(self.expand(x)))
        return self.norm2(x + self.dropout(self.contract(inner)))


class TransformerXL(nn.Module):
    """A byte language model; its state is every layer's inputs in the previous segment."""

    def __init__(self, vocabulary, hidden, heads, inner, layers, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(hidden, heads, inner, dropout) for _ in range(layers))
        self.content_bias = nn.Parameter(torch.empty(heads, 1, hidden // heads))
        self.distance_bias = nn.Parameter(torch.empty(heads, 1, hidden // heads))
        self.output = nn.Linear(hidden, vocabulary)
        self.scale = hidden**0.5
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
        nn.init.zeros_(self.output.bias)
        self.tables = {}

    def table(self, length, memory_length, device):
        """Sinusoids of the distances K - 1 to 0, (K, d), and the mask (T, K)."""
        key = (length, memory_length)
        if key not in self.tables:
            total = length + memory_length
            width = self.embedding.embedding_dim
            rates = 10000.0 ** (-torch.arange(0, width, 2, device=device) / width)
            angles = torch.arange(total - 1, -1, -1.0, device=device)[:, None] * rates
            mask = torch.full((length, total), -torch.inf, device=device).triu(memory_length + 1)
            self.tables[key] = (torch.cat([angles.sin(), angles.cos()], dim=-1), mask)
        return self.tables[key]

    def forward(self, ids, state=None):
        """ids (T, B) -> logits (T, B, V), state."""
        x = self.dropout(self.embedding(ids) * self.scale)
        if state is None:
            state = [x[:0].detach()] * len(self.blocks)
        distances, mask = self.table(x.size(0), state[0].size(0), x.device)
        distances = self.dropout(distances)
        new_state = []
        for block, memory in zip(self.blocks, state):
            new_state.append(x.detach())
            x = block(x, memory, distances, self.content_bias, self.distance_bias, mask)
        return self.output(self.dropout(x)), new_state
