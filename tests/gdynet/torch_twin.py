"""The network in PyTorch, written from the formulas and laid out as the original is.

Sparse edges with a scatter softmax, distances expanded on the host, one linear map of
[h_i, h_j, e_ij], frames joined to one graph. Tests hold it against recorded numbers of
the original; the benchmark takes its time.
"""

import torch
from torch import nn
from torch_geometric.utils import scatter, softmax


class Smearing(nn.Module):
    """Gaussians of the distance."""

    def __init__(self, cutoff, num_gaussians):
        super().__init__()
        offset = torch.linspace(0, cutoff, num_gaussians)
        self.factor = -0.5 / (offset[1] - offset[0]).item() ** 2
        self.register_buffer("offset", offset)

    def forward(self, distances):
        return torch.exp(self.factor * (distances[..., None] - self.offset) ** 2)


class Conv(nn.Module):
    """One crystal-graph convolution."""

    def __init__(self, width, features):
        super().__init__()
        self.lin_core = nn.Linear(2 * width + features, width)
        self.lin_filter = nn.Linear(2 * width + features, 1)
        self.bn1, self.bn2 = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        for layer in (self.lin_core, self.lin_filter):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, h, edge_index, edge_attr):
        receivers, senders = edge_index
        z = torch.cat([h[receivers], h[senders], edge_attr], dim=1)
        alpha = softmax(self.lin_filter(z), receivers, num_nodes=len(h))
        m = torch.relu(self.bn1(self.lin_core(z)))
        a = scatter(alpha * m, receivers, dim=0, dim_size=len(h), reduce="mean")
        return torch.relu(self.bn2(a) + h)


class Lobe(nn.Module):
    """A whole lobe."""

    def __init__(self, width=64, n_conv=3, states=10, features=50, ferro=False):
        super().__init__()
        self.embedding = nn.Embedding(100, width)
        if ferro:
            self.atom_dir_fc = nn.Linear(3, width)
        self.convs = nn.ModuleList(Conv(width, features) for _ in range(n_conv))
        self.conv_to_fc = nn.Linear(width, width)
        self.fc_state = nn.Linear(width, states)

    def atoms(self, graph):
        h = self.embedding(graph["x"])
        if "directions" in graph:
            h = h + self.atom_dir_fc(graph["directions"])
        found = []
        for conv in self.convs:
            h = conv(h, graph["edge_index"], graph["edge_attr"])
            found.append(h)
        return found

    def logits(self, graph):
        h = torch.relu(self.atoms(graph)[-1][graph["target"]])
        return self.fc_state(torch.relu(self.conv_to_fc(h)))

    def forward(self, graph):
        return torch.softmax(self.logits(graph), dim=1)


def graph_of(frames, atom_types, target_index, smearing):
    """Joins numpy frames to one graph; distances are expanded in one go."""
    nbr = torch.as_tensor(frames["nbr_lists"], dtype=torch.long)
    count, atoms, neighbours = nbr.shape
    shift = atoms * torch.arange(count)
    senders = (nbr + shift[:, None, None]).reshape(-1)
    receivers = torch.arange(count * atoms).repeat_interleave(neighbours)
    targets = torch.as_tensor(target_index, dtype=torch.long)
    offset = smearing.offset.dtype
    distances = torch.as_tensor(frames["nbr_dists"]).reshape(-1).to(offset)
    graph = {
        "x": torch.as_tensor(atom_types, dtype=torch.long).repeat(count),
        "edge_index": torch.stack([receivers, senders]),
        "edge_attr": smearing(distances),
        "target": (targets[None] + shift[:, None]).reshape(-1),
    }
    if "directions" in frames:
        directions = torch.as_tensor(frames["directions"]).to(offset)
        graph["directions"] = directions.reshape(-1, 3)
    return graph


def _covariances(x, y):
    x, y = x - x.mean(0, keepdim=True), y - y.mean(0, keepdim=True)
    rows = len(x) - 1
    return x.T @ x / rows, x.T @ y / rows, y.T @ y / rows


def _inverse_sqrt(matrix, epsilon):
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > epsilon
    vectors = vectors[:, kept]
    return vectors @ torch.diag(values[kept] ** -0.5) @ vectors.T


def koopman(x, y, epsilon):
    c00, c0t, ctt = _covariances(x, y)
    return _inverse_sqrt(c00, epsilon) @ c0t @ _inverse_sqrt(ctt, epsilon)


def vamp2_loss(x, y, epsilon=1e-6):
    return -(koopman(x, y, epsilon) ** 2).sum()


def metrics(x, y, epsilon=1e-6):
    """Both scores, each from scratch, as the original reports them."""
    with torch.no_grad():
        one = torch.linalg.svdvals(koopman(x, y, epsilon)).sum()
        two = (torch.linalg.svdvals(koopman(x, y, epsilon)) ** 2).sum()
    return one.item(), two.item()


def train_step(lobe_0, lobe_t, optimizer, graph_0, graph_t):
    """One step of both lobes; returns loss and scores."""
    optimizer.zero_grad()
    x, y = lobe_0(graph_0), lobe_t(graph_t)
    loss = vamp2_loss(x, y)
    loss.backward()
    optimizer.step()
    return loss.item(), *metrics(x, y)
