"""An LSTM language model: nn.LSTM."""

from torch import nn


class LSTM(nn.Module):
    """A byte language model; its state is that of nn.LSTM, (h, c)."""

    def __init__(self, vocabulary, hidden, layers, dropout):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.dropout = nn.Dropout(dropout)
        self.rnn = nn.LSTM(hidden, hidden, layers, dropout=dropout if layers > 1 else 0.0)
        self.output = nn.Linear(hidden, vocabulary)
        bound = (3.0 / hidden) ** 0.5
        nn.init.uniform_(self.embedding.weight, -bound, bound)

    def forward(self, ids, state=None):
        """ids (T, B) -> logits (T, B, V), state."""
        x, state = self.rnn(self.dropout(self.embedding(ids)), state)
        return self.output(self.dropout(x)), tuple(part.detach() for part in state)
