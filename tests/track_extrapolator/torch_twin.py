"""A PyTorch twin of the track network and of the recipe of its original training.

It is written from the description of the original and proved on its recorded runs; the
tests compare with it and the benchmark measures against it.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

ACTIVATIONS = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
}
STATS = ("input_mean", "input_std", "output_mean", "output_std")


class TorchTrackMLP(nn.Module):
    """Linear layers in `network`, statistics as buffers."""

    input_mean: torch.Tensor
    input_std: torch.Tensor
    output_mean: torch.Tensor
    output_std: torch.Tensor

    def __init__(self, hidden: Sequence[int], activation="tanh", n_in=6, n_out=4):
        super().__init__()
        modules: list[nn.Module] = []
        width = n_in
        for features in hidden:
            modules += [nn.Linear(width, features), ACTIVATIONS[activation]()]
            width = features
        modules.append(nn.Linear(width, n_out))
        self.network = nn.Sequential(*modules)
        for module in modules:
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                nn.init.zeros_(module.bias)
        for name, size, fill in zip(
            STATS, (n_in, n_in, n_out, n_out), (0.0, 1.0, 0.0, 1.0), strict=True
        ):
            self.register_buffer(name, torch.full((size,), fill))

    def set_statistics(self, x: np.ndarray, y: np.ndarray) -> None:
        """Sets the buffers from training arrays; a deviation of 0 becomes 1."""
        for side, values in (("input", x), ("output", y)):
            std = values.std(axis=0)
            std[std == 0] = 1.0
            getattr(self, f"{side}_mean").copy_(torch.from_numpy(values.mean(axis=0)))
            getattr(self, f"{side}_std").copy_(torch.from_numpy(std))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        xn = (x - self.input_mean) / self.input_std
        return self.network(xn) * self.output_std + self.output_mean


@dataclasses.dataclass
class History:
    """What the training of the original reports for every epoch."""

    train_loss: list[float] = dataclasses.field(default_factory=list)
    val_loss: list[float] = dataclasses.field(default_factory=list)
    lr: list[float] = dataclasses.field(default_factory=list)

    @property
    def best_val_loss(self) -> float:
        return min(self.val_loss)


def make_optimizer(model: nn.Module, lr=1e-3, weight_decay=1e-5, fused=None):
    """Returns AdamW with the settings of the original."""
    return torch.optim.AdamW(
        model.parameters(), lr=lr, weight_decay=weight_decay, fused=fused
    )


def train_step(model, optimizer, criterion, x, y) -> float:
    """Returns the loss of one batch, taken before the update."""
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()


def train(
    model: TorchTrackMLP,
    train_data: tuple[np.ndarray, np.ndarray],
    val_data: tuple[np.ndarray, np.ndarray],
    *,
    epochs: int,
    batch: int,
    lr: float = 1e-3,
    weight_decay: float = 1e-5,
    patience: int = 100,
    permutations: Sequence[np.ndarray] | None = None,
) -> History:
    """Trains on mixed-unit MSE with AdamW and a plateau schedule, last batch kept.

    Args:
        model: changed in place; its statistics are set from the training arrays.
        train_data: inputs [N, 6] and targets [N, 4].
        val_data: the same.
        epochs: number of passes.
        batch: rows of a batch.
        lr: first learning rate.
        weight_decay: decoupled decay of all parameters.
        patience: epochs without progress before the rate is halved.
        permutations: order of the rows in each epoch; None shuffles.
    """
    model.set_statistics(*train_data)
    dataset = TensorDataset(*map(torch.from_numpy, train_data))
    x_val, y_val = map(torch.from_numpy, val_data)
    criterion = nn.MSELoss()
    optimizer = make_optimizer(model, lr, weight_decay)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience
    )
    history = History()
    for epoch in range(epochs):
        loader = _loader(dataset, batch, permutations, epoch)
        losses = [train_step(model, optimizer, criterion, x, y) for x, y in loader]
        with torch.no_grad():
            val_loss = criterion(model(x_val), y_val).item()
        scheduler.step(val_loss)
        history.train_loss.append(sum(losses) / len(losses))
        history.val_loss.append(val_loss)
        history.lr.append(optimizer.param_groups[0]["lr"])
    return history


def _loader(dataset, batch, permutations, epoch) -> Iterable:
    if permutations is None:
        return DataLoader(dataset, batch_size=batch, shuffle=True)
    order = permutations[epoch].tolist()
    return DataLoader(dataset, batch_size=batch, sampler=order)
