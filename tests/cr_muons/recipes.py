"""Settings that several tests train with: ours of the tests, and the published ones."""

from jaxphys.cr_muons.model.settings import GanSettings

NEW = GanSettings(
    score_head="none",
    critic_pooling="meanmaxsum",
    multiplicity="negative_binomial",
    gp_mode="event",
    gp_every=1,
    critic_steps=2,
    gen_ema_decay=0.999,
    detach_multiplicity=True,
    rotate_output=True,
)
_SGD = GanSettings(optimizer="sgd", momentum=0.5, critic_steps=5)
PUBLISHED = {
    "sgd_nogp_cs5": _SGD.replace(learning_rate=2e-5, lambda_gp=0.0, grad_clip_norm=1e7),
    "sgd_gp_cs5": _SGD.replace(learning_rate=5e-5),
    "adam_gp_cs5": GanSettings(learning_rate=5e-5, critic_steps=5),
    "adam_gp_cs1": GanSettings(),
}
