"""The original's net, edge losses and training step, in PyTorch, for comparison.

Names of parameters are the original's, and so is the way of computing: one matrix of
all inputs per edge, and a loop over the tracks in the contrastive loss.
"""

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {"silu": nn.SiLU, "relu": nn.ReLU}


def blocks(sizes, act="silu", last_act=True):
    """Linear map, activation, batch norm; the names are <block>.0 and <block>.2."""
    found = []
    for number, (start, end) in enumerate(itertools.pairwise(sizes)):
        if number == len(sizes) - 2 and not last_act:
            found.append(nn.Linear(start, end))
        else:
            parts = nn.Linear(start, end), ACTIVATIONS[act](), nn.BatchNorm1d(end)
            found.append(nn.Sequential(*parts))
    return nn.Sequential(*found)


class Conv(nn.Module):
    """One edge convolution."""

    def __init__(self, width, h_dim, m_dim, aggr, use_residual, act):
        super().__init__()
        self.nn = blocks((3 * width + 3, m_dim, m_dim), act)
        self.nn_final = blocks((width + m_dim, h_dim, h_dim), act)
        self.aggr, self.use_residual = aggr, use_residual

    def forward(self, x, edge_index, edge_attr):
        source, destination = edge_index
        x_i, x_j = x[destination], x[source]
        norm = torch.norm(x_j - x_i, dim=-1, keepdim=True)
        dot = torch.sum(x_i * x_j, dim=-1, keepdim=True)
        joined = [x_i, x_j - x_i, x_i * x_j, norm, dot, edge_attr[:, None]]
        messages = self.nn(torch.cat(joined, dim=-1))
        total = torch.zeros(len(x), messages.shape[1], dtype=x.dtype)
        total = total.index_add(0, destination, messages)
        if self.aggr == "mean":
            count = torch.bincount(destination, minlength=len(x)).clamp(min=1)
            total = total / count[:, None]
        found = self.nn_final(torch.cat([x, total], dim=-1))
        same = self.use_residual and found.shape == x.shape
        return found + x if same else found


class Net(nn.Module):
    """Encoder and edge head."""

    def __init__(
        self,
        nstack=5,
        h_dim=64,
        m_dim=64,
        z_dim=61,
        edge_type="symmetric-dot",
        aggr="mean",
        use_residual=True,
        act="silu",
    ):
        super().__init__()
        self.edge_type = edge_type
        self.conv_gnn_edx = nn.ModuleList(
            Conv(h_dim if k else 3, h_dim, m_dim, aggr, use_residual and k > 0, act)
            for k in range(nstack)
        )
        self.mlp_fusion_edx = blocks((nstack * h_dim, h_dim, z_dim), act)
        first = z_dim if edge_type == "symmetric-dot" else 2 * z_dim
        sizes = (first, z_dim // 2, z_dim // 2, 1)
        self.mlp_2pt_edx = blocks(sizes, act, last_act=False)

    def encode(self, x, edge_index):
        degree = torch.bincount(edge_index[0]).to(x.dtype)
        mean = degree.mean()
        degree = functional.pad(degree, (0, len(x) - len(degree)))
        edge_attr = (degree[edge_index[0]] - degree[edge_index[1]]) / mean
        found = []
        for conv in self.conv_gnn_edx:
            x = conv(x, edge_index, edge_attr)
            found.append(x)
        return self.mlp_fusion_edx(torch.cat(found, dim=-1))

    def decode(self, z, edge_index):
        one, other = z[edge_index[0]], z[edge_index[1]]
        if self.edge_type == "symmetric-dot":
            return self.mlp_2pt_edx(one * other)[:, 0]
        found = self.mlp_2pt_edx(torch.cat([one, other], dim=-1))[:, 0]
        if self.edge_type == "symmetrized":
            back = self.mlp_2pt_edx(torch.cat([other, one], dim=-1))[:, 0]
            found = 0.5 * (found + back)
        return found


def focal_loss(logits, labels):
    """Focal loss with gamma 1 and balanced classes."""
    weight = torch.ones_like(labels)
    weight[labels == 1] *= torch.sum(labels == 0) / torch.sum(labels == 1)
    entropy = functional.binary_cross_entropy_with_logits(
        logits, labels, reduction="none"
    )
    return torch.sum(weight * (1 - torch.exp(-entropy)) * entropy) / weight.sum()


def contrastive_loss(logits, edge_index, x_ind, hit_weights, tau=0.3, most=300):
    """The original's loop over tracks; each looks at all edges."""
    kept = logits.sigmoid() > 1e-3
    scores = logits[kept].tanh() / tau
    source, destination = edge_index[:, kept].numpy()
    total, norm, hits, used = 0.0, 0.0, 0.0, 0
    for row in x_ind[:most]:
        rows = row[row >= 0]
        inside = np.zeros(len(hit_weights), bool)
        inside[rows] = True
        a, b = inside[source], inside[destination]
        positive = torch.from_numpy(a & b & (source != destination))
        if not positive.any():
            continue
        weight = hit_weights[torch.from_numpy(rows)].sum()
        num = torch.exp(scores[positive])
        against = torch.exp(scores[torch.from_numpy(a != b)]).sum()
        total = total - weight * torch.log(num / (num + against)).mean()
        norm, hits, used = norm + weight, hits + len(rows), used + 1
    return total / norm / (hits / used)


def make_adamw(net, rate=5e-4, decay=1e-5):
    """AdamW with the decay on everything but biases."""
    groups = [[], []]
    for name, value in net.named_parameters():
        groups[name.endswith("bias")].append(value)
    found = [
        {"params": groups[0], "weight_decay": decay},
        {"params": groups[1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(found, lr=rate, eps=1e-6)


def train_step(net, optimizer, graph):
    """One step of the first phase on one graph; returns the loss."""
    net.train()
    edge_index = graph["edge_index"]
    optimizer.zero_grad()
    logits = net.decode(net.encode(graph["position"], edge_index), edge_index)
    weights = graph["hit_weight"]
    pull = contrastive_loss(logits, edge_index, graph["x_ind"], weights)
    loss = 0.2 * focal_loss(logits, graph["edge_label"]) + pull
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
    return loss.item()
