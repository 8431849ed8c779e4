"""The original's networks and joint step in PyTorch, for tests and the benchmark.

Names and arguments are those of the original's module, so that either can be measured.
"""

import itertools

import torch
from torch import nn
from torch.nn import functional

SLOPE = 0.2


def leaky(x):
    return functional.leaky_relu(x, SLOPE)


def stack(widths, normed, last=None):
    layers = []
    for one, other in itertools.pairwise(widths):
        layers.append(nn.Linear(one, other))
        layers += [nn.LayerNorm(other)] if normed else []
        layers.append(nn.LeakyReLU(SLOPE))
    if last is not None:
        layers.append(nn.Linear(widths[-1], last))
    return nn.Sequential(*layers)


class ScalableGenerator(nn.Module):
    """Condition -> muons of every event, flat."""

    def __init__(self, cond=4, features=3, z_global=32, z_local=16, hidden=256):
        super().__init__()
        self.z_global, self.z_local = z_global, z_local
        self.multiplicity_net = nn.Sequential(
            nn.Linear(cond, 64),
            nn.ELU(),
            nn.Linear(64, 128),
            nn.ELU(),
            nn.Linear(128, 64),
            nn.ELU(),
            nn.Linear(64, 1),
        )
        self.global_net = stack((z_global + cond + 1, 128, hidden), True)
        self.local_net = stack((hidden + z_local, 128, 64), False, features)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight, gain=0.5)
                nn.init.zeros_(layer.bias)

    def forward(self, conditions):
        log_count = self.multiplicity_net(conditions)
        number = torch.pow(10.0, log_count[:, 0]) - 1
        number = number.clamp_min(0).round().long()
        noise = torch.randn(len(conditions), self.z_global)
        context = self.global_net(torch.cat([noise, conditions, log_count], dim=1))
        event = torch.repeat_interleave(torch.arange(len(conditions)), number)
        noise = torch.randn(len(event), self.z_local)
        return self.local_net(torch.cat([context[event], noise], dim=1)), event


class ScalableCritic(nn.Module):
    """Muons and conditions -> score of every event (head "ema_tanh")."""

    _score_norm_ema: torch.Tensor

    def __init__(self, features=3, cond=4):
        super().__init__()
        self.register_buffer("_score_norm_ema", torch.tensor(1.0))
        self.point_net = stack((features + cond, 64, 128), True)
        self.decision_net = stack((128 + cond, 128, 64), True, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight, gain=0.5)
                nn.init.zeros_(layer.bias)

    def raw(self, muons, event, conditions, num_events):
        points = self.point_net(torch.cat([muons, conditions[event]], dim=1))
        pooled = torch.full((num_events, points.shape[1]), -1e9)
        index = event[:, None].expand_as(points)
        pooled = pooled.scatter_reduce(0, index, points, reduce="amax")
        return self.decision_net(torch.cat([pooled, conditions], dim=1))

    def forward(self, muons, event, conditions, num_events):
        raw = self.raw(muons, event, conditions, num_events)
        with torch.no_grad():
            self._score_norm_ema.mul_(0.99).add_(raw.abs().mean(), alpha=0.01)
        raw = raw / max(float(self._score_norm_ema), 0.1)
        return 10 * torch.tanh(raw.clamp(-5, 5) / 5)


def pairs(real_event, fake_event, num_events, most):
    """Returns indices of real and generated muons and their event."""
    real = torch.bincount(real_event, minlength=num_events)
    fake = torch.bincount(fake_event, minlength=num_events)
    number = torch.minimum(real, fake)
    event = torch.repeat_interleave(torch.arange(num_events), number)
    within = torch.arange(len(event)) - (number.cumsum(0) - number)[event]
    one = (real.cumsum(0) - real)[event] + within
    other = (fake.cumsum(0) - fake)[event] + within
    if most and len(event) > most:
        chosen = torch.randperm(len(event))[:most]
        one, other, event = one[chosen], other[chosen], event[chosen]
    return one, other, event


def penalty(critic, real, fake, event, conditions):
    """Returns the flat gradient penalty."""
    if not len(event):
        return torch.zeros(())
    alpha = torch.rand(len(conditions), 1)[event]
    x = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    score = critic(x, event, conditions, len(conditions))
    (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return ((slope.norm(2, dim=1).clamp_max(10) - 1) ** 2).mean()


def train_step_scalable(
    gen,
    crit,
    opt_G,
    opt_C,
    muons,
    event,
    conditions,
    number,
    lambda_gp=10.0,
    critic_steps=1,
    gp_max_pairs=0,
    gp_every=1,
    grad_clip_norm=0.0,
    grad_accum_steps=1,
):
    """Takes one step of the recipe "joint"; returns its losses."""
    del grad_accum_steps
    size = len(conditions)

    def step(optimizer, loss, network):
        optimizer.zero_grad()
        loss.backward()
        if grad_clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), grad_clip_norm)
        optimizer.step()

    c_loss = torch.zeros(())
    for turn in range(critic_steps):
        with torch.no_grad():
            fake, fake_event = gen(conditions)
        real_score = crit(muons, event, conditions, size).mean()
        fake_score = crit(fake, fake_event, conditions, size).mean()
        c_loss = fake_score - real_score
        if lambda_gp and turn % gp_every == 0:
            one, other, of_pair = pairs(event, fake_event, size, gp_max_pairs)
            gp = penalty(crit, muons[one], fake[other], of_pair, conditions)
            c_loss = c_loss + lambda_gp * gp
        step(opt_C, c_loss, crit)
    target = torch.log10(number.float() + 1)[:, None]
    m_loss = functional.mse_loss(gen.multiplicity_net(conditions), target)
    g_loss = -crit(*gen(conditions), conditions, size).mean()
    step(opt_G, g_loss + m_loss, gen)
    return float(c_loss.detach()), float(g_loss.detach()), float(m_loss.detach())
