import numpy as np

from jaxphys.hypertrack.analysis import edge_scores
from jaxphys.hypertrack.model.voxels import VoxelModel
from jaxphys.hypertrack.report import plots_edges
from tests.hypertrack.report.test_plots import drawn

RNG = np.random.default_rng(0)
EDGES = RNG.integers(0, 60, (2, 4000))
OWN = EDGES[0] == EDGES[1]
LABEL = OWN | (RNG.random(4000) < 0.2)
PROB = 1 / (1 + np.exp(-RNG.normal(np.where(LABEL, 2, -2), 1.5)))


def test_roc_curves_with_and_without_self_edges():
    linear, log = drawn(plots_edges.roc(LABEL, PROB, EDGES, 0.55)).axes
    without, all_edges = linear.get_legend_handles_labels()[1]
    assert without.endswith(f"{edge_scores.auc(LABEL[~OWN], PROB[~OWN]):.4f}")
    assert all_edges.endswith(f"{edge_scores.auc(LABEL, PROB):.4f}")
    assert (linear.get_xscale(), log.get_xscale()) == ("linear", "log")
    marks = [line for line in linear.lines if len(line.get_xdata()) == 1]
    rates = edge_scores.rates(LABEL[~OWN], PROB[~OWN], 0.55)
    assert [marks[0].get_xdata()[0], marks[0].get_ydata()[0]] == [
        rates["fpr"], rates["tpr"],
    ]  # fmt: skip
    reason = plots_edges.roc(np.ones(4000), PROB, EDGES, 0.5).reason
    assert "one class only" in reason


def test_every_class_of_edges_is_shown_with_its_number():
    figure = drawn(plots_edges.scores_by_class(LABEL, PROB, EDGES, 0.55))
    texts = figure.axes[0].get_legend_handles_labels()[1]
    assert texts[0] == f"true edge ({(LABEL & ~OWN).sum():,})"
    assert len(texts) == 3  # no self edge of noise
    none = plots_edges.scores_by_class(LABEL[:0], PROB[:0], EDGES[:, :0], 0.5)
    assert none.figure is None


def test_training_is_drawn_as_far_as_it_is_known_with_the_change_of_phase():
    rows = [{"step": 10 * i, "train_auc": 0.8 + 0.01 * i} for i in range(5)]
    rows[3]["val_loss"] = 0.7
    loss, auc = drawn(plots_edges.training(rows, joint_step=25)).axes
    np.testing.assert_array_equal(auc.lines[0].get_xdata(), [0, 10, 20, 30, 40])
    assert loss.lines[0].get_xdata().tolist() == [30]
    assert all(ax.lines[-1].get_xdata() == [25, 25] for ax in (loss, auc))
    assert "joint phase began" not in plots_edges.training(rows).caption
    assert plots_edges.training([{"other": 1.0}]).figure is None


def model(cells):
    centres = np.random.default_rng(0).normal(0, 100, (cells, 3)).astype(np.float32)
    return VoxelModel(
        centres, np.arange(cells + 1), np.arange(cells, dtype=np.int32), "hyper", 9
    )


def test_cells_are_drawn_unless_they_are_too_many():
    figure = drawn(plots_edges.voxel_cells(model(50)))
    assert len(figure.axes[0].collections[0].get_offsets()) == 50
    assert "too many" in plots_edges.voxel_cells(model(20_001)).reason
