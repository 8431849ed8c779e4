"""The original models in PyTorch Geometric, for comparison.

Imported by tests inside of functions, after `pytest.importorskip("torch_geometric")`.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.nn import GCNConv, global_mean_pool


class Seed(nn.Module):
    """The model of the seed document."""

    def __init__(self, hidden=(64, 32), latent_dim=10, decoder_hidden=64):
        super().__init__()
        self.conv1 = GCNConv(3, hidden[0])
        self.conv2 = GCNConv(hidden[0], hidden[1])
        self.fc_encode = nn.Linear(hidden[1], latent_dim)
        self.fc_decode = nn.Linear(latent_dim, decoder_hidden)
        self.node_reconstructor = nn.Linear(decoder_hidden, 3)

    def forward(self, x, edges, graph_index, num_graphs):
        """Returns the reconstruction of every node."""
        h = functional.relu(self.conv1(x, edges))
        h = functional.relu(self.conv2(h, edges))
        z = self.fc_encode(global_mean_pool(h, graph_index, num_graphs))
        return self.node_reconstructor(functional.relu(self.fc_decode(z))[graph_index])


class PerNode(nn.Module):
    """The per-node model, evaluated without dropout."""

    def __init__(self, hidden=(16, 8), latent_dim=1):
        super().__init__()
        first, second = hidden
        self.conv1, self.conv2 = GCNConv(3, first), GCNConv(first, second)
        self.bottleneck = nn.Linear(second, latent_dim)
        self.dec = nn.ModuleDict(
            {
                "0": nn.Linear(latent_dim, second),
                "3": nn.Linear(second, first),
                "5": nn.Linear(first, 3),
            }
        )

    def forward(self, x, edges, graph_index, num_graphs):
        """Returns the reconstruction of every node."""
        del graph_index, num_graphs
        h = functional.relu(self.conv1(x, edges))
        z = self.bottleneck(functional.relu(self.conv2(h, edges)))
        h = functional.relu(self.dec["3"](functional.relu(self.dec["0"](z))))
        return self.dec["5"](h)


def weights(model):
    """Returns the weights of a model under PyTorch's names."""
    return {name: p.detach().numpy().copy() for name, p in model.named_parameters()}


def gradients(model):
    """Returns the gradients of the weights."""
    return {name: p.grad.numpy().copy() for name, p in model.named_parameters()}


def inputs_of(part, dtype=torch.float32):
    """Returns (x, edges, graph_index, number of graphs) of a part without padding."""
    ends = np.stack([part["senders"], part["receivers"]]).astype(np.int64)
    index = torch.tensor(np.asarray(part["graph_index"], np.int64))
    x = torch.tensor(np.asarray(part["x"]), dtype=dtype)
    return x, torch.tensor(ends), index, len(part["n_node"])


def train(model, parts, steps, dtype=torch.float32, rate=1e-3, decay=1e-5, clip=1.0):
    """Takes AdamW steps on the parts in turn; returns the losses."""
    model = model.to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    losses = []
    for step in range(steps):
        inputs = inputs_of(parts[step % len(parts)], dtype)
        optimizer.zero_grad()
        loss = torch.mean((model(*inputs) - inputs[0]) ** 2)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)
