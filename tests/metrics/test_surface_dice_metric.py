"""The NSD as a MONAI metric, alone and in an evaluator made from a bundle's configuration."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.metrics import SurfaceDice, score_masks


def columns(width: int, *at: int) -> torch.Tensor:
    """(1, 1, width) with foreground at some columns."""
    row = torch.zeros(1, 1, width)
    row[..., list(at)] = 1
    return row


NEAR, FAR, TRUTH, EMPTY = columns(9, 3), columns(9, 7), columns(9, 2), columns(9)


def test_scores_are_gathered_and_averaged_with_empty_masks_counted():
    metric = SurfaceDice()
    assert metric([NEAR, EMPTY], [TRUTH, EMPTY]).tolist() == [[1], [1]]
    metric(torch.stack([FAR, EMPTY]), torch.stack([TRUTH, TRUTH]))
    assert metric.aggregate().item() == 0.5
    assert metric.aggregate("none").tolist() == [[1], [1], [0], [0]]
    metric.reset()
    with pytest.raises(ValueError, match="nothing to aggregate"):
        metric.aggregate()


def test_one_tolerance_serves_any_number_of_classes():
    pred, truth = torch.cat([NEAR, FAR, EMPTY])[None], torch.cat([TRUTH, TRUTH, EMPTY])[None]
    metric = SurfaceDice(tolerance=0.5, reduction="mean_batch")
    metric(pred, truth)
    assert metric.aggregate().tolist() == [0, 0, 1]


def spaced(mask: torch.Tensor, along_w: float) -> MetaTensor:
    return MetaTensor(mask, affine=torch.diag(torch.tensor([0.5, along_w, 7, 1])))


@pytest.mark.parametrize(("along_w", "nsd"), [(2.0, 1), (2.5, 0)])
@pytest.mark.parametrize("of", ["both", "pred", "truth"])
def test_millimetres_come_from_the_affine(along_w, nsd, of):
    pred = spaced(NEAR, along_w) if of != "truth" else NEAR
    truth = spaced(TRUTH, along_w) if of != "pred" else TRUTH
    assert SurfaceDice(2.0, unit="mm")([pred], [truth]).tolist() == [[nsd]]
    assert SurfaceDice(2.0, unit="px")([pred], [truth]).tolist() == [[1]]


def test_every_image_of_a_batch_has_its_own_millimetres():
    pred, truth = torch.stack([NEAR, NEAR]), torch.stack([TRUTH, TRUTH])
    affines = torch.stack([torch.diag(torch.tensor([1.0, w, 1, 1])) for w in (2.0, 2.5)])
    batch = MetaTensor(truth, affine=affines)
    batch.is_batch = True
    assert SurfaceDice(2.0, unit="mm")(pred, batch).tolist() == [[1], [0]]


def test_millimetres_of_an_oblique_volume():
    turn = torch.eye(4)
    turn[:3, :3] = torch.tensor([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]]) @ torch.diag(torch.tensor([1.0, 1.5, 3.0]))
    pred, truth = torch.zeros(1, 3, 3, 3), torch.zeros(1, 3, 3, 3)
    pred[0, 0, 0, 0] = truth[0, 0, 1, 0] = 1
    volume = MetaTensor(truth, affine=turn)
    assert SurfaceDice(1.5001, unit="mm")([pred], [volume]).item() == 1
    assert SurfaceDice(1.4999, unit="mm")([pred], [volume]).item() == 0


def test_what_the_metric_cannot_use():
    with pytest.raises(ValueError, match='unit must be "px" or "mm", got "cm"'):
        SurfaceDice(unit="cm")
    with pytest.raises(ValueError, match='"mm" needs MetaTensors'):
        SurfaceDice(unit="mm")([NEAR], [TRUTH])
    with pytest.raises(ValueError, match="y must be the true masks, got None"):
        SurfaceDice()([NEAR])
    with pytest.raises(ValueError, match="one batch size, got 2 and 1"):
        SurfaceDice()(torch.stack([NEAR, FAR]), TRUTH[None])
    with pytest.raises(InputError, match=r"only 0 and 1, got 0.3"):
        SurfaceDice()([NEAR * 0.3], [TRUTH])


CONFIG = {
    "imports": ["$import monai", "$import torch"],
    "images": None,
    "output_dir": None,
    "pairs": "$monai.handlers.from_engine(['pred', 'label'])",
    "dataloader": {"_target_": "DataLoader", "dataset": "@images", "batch_size": 2},
    "postprocessing": {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
    "handlers": [
        {
            "_target_": "MetricsSaver",
            "save_dir": "@output_dir",
            "metrics": ["val_mean_dice", "val_mean_nsd"],
            "metric_details": ["val_mean_dice", "val_mean_nsd"],
            "batch_transform": "$lambda batch: [item['image'].meta for item in batch]",
            "summary_ops": ["mean", "std", "median", "25percentile", "75percentile", "notnans"],
        }
    ],
    "key_metric": {
        "val_mean_dice": {
            "_target_": "IgniteMetricHandler",
            "metric_fn": {"_target_": "DiceMetric", "ignore_empty": False},
            "output_transform": "@pairs",
        }
    },
    "additional_metrics": {
        "val_mean_nsd": {
            "_target_": "IgniteMetricHandler",
            "metric_fn": {"_target_": "medclipsam_monai.metrics.SurfaceDice", "tolerance": 2.0},
            "output_transform": "@pairs",
        }
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "$torch.device('cpu')",
        "val_data_loader": "@dataloader",
        "network": "$torch.nn.Identity()",
        "inferer": {"_target_": "SimpleInferer"},
        "postprocessing": "@postprocessing",
        "key_val_metric": "@key_metric",
        "additional_metrics": "@additional_metrics",
        "val_handlers": "@handlers",
    },
}


def test_an_evaluator_from_a_configuration_writes_the_same_scores(tmp_path):
    pairs = [(NEAR, TRUTH), (FAR, TRUTH), (EMPTY, EMPTY), (NEAR, EMPTY), (TRUTH, TRUTH)]
    images = [
        {"image": MetaTensor(pred * 0.9, meta={"filename_or_obj": f"{n}.png"}), "label": MetaTensor(truth)}
        for n, (pred, truth) in enumerate(pairs)
    ]
    parser = ConfigParser({**CONFIG, "images": images, "output_dir": str(tmp_path)})
    evaluator = parser.get_parsed_content("evaluator")
    evaluator.run()

    expected = [score_masks(pred, truth) for pred, truth in pairs]
    for name, scores in (("val_mean_dice", [e.dsc for e in expected]), ("val_mean_nsd", [e.nsd for e in expected])):
        assert evaluator.state.metrics[name] == pytest.approx(np.mean(scores))
        with (tmp_path / f"{name}_raw.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["filename"] for row in rows] == [f"{n}.png" for n in range(len(pairs))]
        assert [float(row["class0"]) for row in rows] == pytest.approx([s[0] for s in scores])
        with (tmp_path / f"{name}_summary.csv").open(newline="") as file:
            overall = {row["class"]: row for row in csv.DictReader(file)}["mean"]
        assert float(overall["mean"]) == pytest.approx(np.mean(scores), abs=1e-4)
        assert float(overall["notnans"]) == len(pairs)
