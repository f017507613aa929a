"""What every peer shares: the text, the optimizer step, the learning rate."""

import json
import math
import pathlib

import torch
import torch.nn.functional as F


def streams(ids, batch):
    """ids (N,) -> inputs, targets (positions, B): B contiguous streams, cut as Rondo cuts them."""
    positions = (len(ids) - 1) // batch
    if positions == 0:
        raise ValueError(f"{len(ids)} bytes are too few for {batch} streams")
    inputs = ids[: positions * batch].view(batch, positions)
    targets = ids[1 : positions * batch + 1].view(batch, positions)
    return inputs.t().contiguous(), targets.t().contiguous()


def segments(inputs, targets, unroll):
    """One pass over the streams, in segments of `unroll` positions; the last may be shorter."""
    return zip(inputs.split(unroll), targets.split(unroll))


class Corpus:
    """A folder made by `rondo prepare`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        manifest = json.loads((self.folder / "corpus.json").read_text())
        self.name = manifest["name"]
        self.vocabulary = len(manifest["vocabulary"])
        self.to_id = torch.zeros(256, dtype=torch.long)
        self.to_id[torch.tensor(manifest["vocabulary"])] = torch.arange(self.vocabulary)

    def ids(self, split):
        """split: train, dev or test -> (N,)."""
        data = bytearray((self.folder / f"{split}.bytes").read_bytes())
        return self.to_id[torch.frombuffer(data, dtype=torch.uint8).long()]


def learning_rate(lr, step, steps, warmup):
    """Of step 0, 1, ...: rising linearly to lr, then falling as a cosine, as in Rondo."""
    if step < warmup:
        return lr * (step + 1) / warmup
    if step >= steps:
        return 0.0
    start = 1 + math.cos(math.pi * (warmup - 1) / steps) if warmup > 0 else 2.0
    return lr * (1 + math.cos(math.pi * step / steps)) / start


class Trainer:
    """RAdam with decoupled weight decay 0.1 on all parameters, gradient norm clipped to 1."""

    def __init__(self, model, lr, dtype="f32"):
        """dtype: f32, tf32 (f32 on the tensor cores of a GPU) or bf16 (with f32 weights)."""
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
        self.model = model.train()
        self.parameters = list(model.parameters())
        self.optimizer = torch.optim.RAdam(
            self.parameters, lr=lr, weight_decay=0.1, decoupled_weight_decay=True, foreach=True
        )
        self.dtype = dtype
        self.state = None

    def autocast(self):
        device = self.parameters[0].device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.dtype == "bf16")

    def loss(self, inputs, targets, state):
        """Mean of the cross entropy in nats, and the state after the segment."""
        with self.autocast():
            logits, state = self.model(inputs, state)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten()), state

    def step(self, inputs, targets, lr=None):
        """One optimizer step; returns the loss before it, a tensor."""
        if lr is not None:
            self.optimizer.param_groups[0]["lr"] = lr
        loss, self.state = self.loss(inputs, targets, self.state)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    @torch.no_grad()
    def evaluate(self, inputs, targets, unroll):
        """Bits per byte over the streams, state carried from segment to segment."""
        self.model.eval()
        total, state = 0.0, None
        for x, y in segments(inputs, targets, unroll):
            loss, state = self.loss(x, y, state)
            total += loss.item() * y.numel()
        self.model.train()
        return total / targets.numel() / math.log(2)
