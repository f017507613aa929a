"""SRU++ written for PyTorch from the equations (arXiv 2102.12459), to run under torch.compile.

What is parallel over time, the attention and its projections, is compiled as one graph. The
recurrence is compiled as a chunk of RECURRENCE_STEPS steps, which the compiler turns into one loop
over units; unrolling a whole segment would take it hours.
"""

import torch
import torch._inductor.config
import torch.nn.functional as F
from torch import nn

RECURRENCE_STEPS = 16

# Dropout by PyTorch's own generator: the compiler's draws its numbers one by one on the CPU.
torch._inductor.config.fallback_random = True


def attend(x, memory, mask, linear1, linear2, linear3, alpha, norm_weight, norm_bias, dropout):
    """x (T, B, d), memory (M, B, d), mask (T, M + T) -> u (T, B, 3d)."""
    z = F.linear(torch.cat([memory, x]), linear1)
    residual = z[memory.size(0) :]
    k, v = F.linear(z, linear2).chunk(2, dim=-1)
    q, k, v = (a.transpose(0, 1) for a in (residual, k, v))  # one head: (B, length, n)
    scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=q.size(-1) ** -0.5)
    weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0)
    attended = torch.bmm(weights, v).transpose(0, 1)
    out = F.layer_norm(residual + alpha * attended, norm_weight.shape, norm_weight, norm_bias)
    return F.linear(F.dropout(out, dropout, training=dropout > 0), linear3)


def recur(u, x, c, v_f, v_r, b_f, b_r, mask):
    """The recurrence over u (S, B, 3d) and x (S, B, d); all else is (B, d). Returns h and c."""
    h = []
    for u_t, x_t in zip(u.unbind(), x.unbind()):
        u0, u1, u2 = u_t.chunk(3, dim=-1)
        f = torch.sigmoid(u1 + v_f * c + b_f)
        r = torch.sigmoid(u2 + v_r * c + b_r)
        c = u0 + (c - u0) * f
        h.append(x_t + (c - x_t) * (r * mask))
    return torch.stack(h), c


class SRUppLayer(nn.Module):
    def __init__(self, hidden, projection, dropout, state_dropout, functions):
        super().__init__()
        self.linear1 = nn.Parameter(torch.empty(projection, hidden))
        self.linear2 = nn.Parameter(torch.empty(2 * projection, projection))
        self.linear3 = nn.Parameter(torch.empty(3 * hidden, projection))
        for weight in (self.linear1, self.linear2, self.linear3):
            nn.init.xavier_uniform_(weight)
        self.linear3.data.mul_((1 - dropout) ** 0.5)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.norm_weight = nn.Parameter(torch.ones(projection))
        self.norm_bias = nn.Parameter(torch.zeros(projection))
        self.weight_c = nn.Parameter(torch.empty(2, hidden).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.tensor([[0.0], [-2.0]]).expand(2, hidden).clone())
        self.dropout, self.state_dropout = dropout, state_dropout
        self.attend, self.recur = functions

    def forward(self, x, c, memory, mask):
        u = self.attend(x, memory, mask, self.linear1, self.linear2, self.linear3, self.alpha,
                        self.norm_weight, self.norm_bias, self.dropout if self.training else 0.0)
        # Spread over the batch here, once: the gradient of a chunk then needs no sum over it.
        gates = [p.expand_as(c).contiguous() for p in (*self.weight_c, *self.bias)]
        keep = F.dropout(torch.ones_like(c), self.state_dropout, self.training)
        h = []
        for u_s, x_s in zip(u.split(RECURRENCE_STEPS), x.split(RECURRENCE_STEPS)):
            h_s, c = self.recur(u_s, x_s, c, *gates, keep)
            h.append(h_s)
        return torch.cat(h), c


class SRUpp(nn.Module):
    """A byte language model; its state is (every layer's c, every layer's previous inputs)."""

    def __init__(self, vocabulary, hidden, projection, layers, dropout, compile_mode=None):
        super().__init__()
        functions = (attend, recur)
        if compile_mode is not None:
            functions = tuple(torch.compile(f, mode=compile_mode, dynamic=False) for f in functions)
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            SRUppLayer(hidden, projection, dropout, dropout if i + 1 < layers else 0.0, functions)
            for i in range(layers)
        )
        self.output = nn.Linear(hidden, vocabulary)
        bound = (3.0 / hidden) ** 0.5
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        nn.init.uniform_(self.output.weight, -bound, bound)
        nn.init.zeros_(self.output.bias)
        self.mask = torch.empty(0, 0)

    def attention_mask(self, length, memory_length, device):
        """-inf where a position would see a later one, (length, memory_length + length)."""
        shape = (length, memory_length + length)
        if self.mask.shape != shape:
            self.mask = torch.full(shape, -torch.inf, device=device).triu(memory_length + 1)
        return self.mask

    def forward(self, ids, state=None):
        """ids (T, B) -> logits (T, B, V), state."""
        x = self.dropout(self.embedding(ids))
        if state is None:
            state = [(torch.zeros_like(x[0]), torch.zeros_like(x[:0]))] * len(self.layers)
        mask = self.attention_mask(x.size(0), state[0][1].size(0), x.device)
        new_state = []
        for layer, (c, memory) in zip(self.layers, state):
            h, c = layer(x, c, memory, mask)
            new_state.append((c.detach(), x.detach()))
            x = h
        return self.output(self.dropout(x)), new_state
