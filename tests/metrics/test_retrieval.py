from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from torch.utils.data import DataLoader

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.metrics import RetrievalInBatches, RetrievalOverAll, batched_retrieval, retrieval
from medclipsam_monai.metrics.retrieval import ranks


def features(pairs: int, noise: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(pairs, 8, generator=generator)
    return image, image + noise * torch.randn(pairs, 8, generator=generator)


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [
        ([[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.3, 0.2, 0.1]], [0, 1, 2]),
        ([[1.0, 1.0, 1.0]] * 3, [2, 2, 2]),  # no opinion is no luck
    ],
)
def test_rank_counts_the_wrong_texts_in_front(similarity, expected):
    assert ranks(torch.tensor(similarity), torch.eye(3, dtype=torch.bool)).tolist() == expected


def test_top_k_in_both_directions_by_hand():
    image = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    # cosines: [[1, 0, -1], [.8, .6, -.8], [0, 1, 0]]
    figures = retrieval(image, text, ks=(1, 2))
    assert figures == {
        "image_to_text_top1": pytest.approx(1 / 3),
        "image_to_text_top2": pytest.approx(2 / 3),
        "text_to_image_top1": pytest.approx(2 / 3),
        "text_to_image_top2": 1,
    }


def test_a_text_of_equal_caption_counts_as_right():
    image = torch.eye(3)
    text = image[[1, 0, 2]]
    same = torch.zeros(3, 3, dtype=torch.bool)
    assert retrieval(image, text, (1,))["image_to_text_top1"] == pytest.approx(1 / 3)
    same[0, 1] = same[1, 0] = True
    assert retrieval(image, text, (1,), same)["image_to_text_top1"] == 1


def test_batches_of_all_pairs_are_the_whole_set():
    image, text = features(20)
    result = batched_retrieval(image, text, batch=20, draws=3)
    assert result.mean == pytest.approx(retrieval(image, text))
    assert max(result.deviation.values()) == pytest.approx(0)


def test_smaller_batches_are_easier_and_draws_differ():
    image, text = features(103)
    small, large = batched_retrieval(image, text, 10), batched_retrieval(image, text, 50)
    assert small.mean["image_to_text_top1"] > large.mean["image_to_text_top1"]
    assert small.deviation["image_to_text_top1"] > 0
    assert (large.batch, large.draws) == (50, 5)


def test_draws_come_from_the_seed():
    image, text = features(60)
    assert batched_retrieval(image, text, 20, seed=1) == batched_retrieval(image, text, 20, seed=1)
    assert batched_retrieval(image, text, 20, seed=1) != batched_retrieval(image, text, 20, seed=2)


def test_equal_captions_are_followed_into_the_batches():
    image, _ = features(30)
    text = image[0].expand(30, -1)
    everything = torch.ones(30, 30, dtype=torch.bool)
    assert batched_retrieval(image, text, 10, positives=everything).mean["image_to_text_top1"] == 1
    assert batched_retrieval(image, text, 10).mean["image_to_text_top1"] == 0


def run(metrics: dict, image: torch.Tensor, text: torch.Tensor, captions: torch.Tensor) -> dict:
    parts = zip(image.split(7), text.split(7), captions.split(7), strict=True)
    engine = Engine(lambda engine, batch: batch)
    for name, metric in metrics.items():
        metric.attach(engine, name)
    engine.run(list(parts))
    return engine.state.metrics


def test_metrics_give_what_the_functions_do():
    image, text = features(40)
    captions = torch.arange(40) // 2
    found = run({"r": RetrievalInBatches(batch=10, seed=3), "all": RetrievalOverAll(ks=(1, 3))}, image, text, captions)
    same = captions[:, None] == captions[None]
    expected = batched_retrieval(image, text, 10, seed=3, positives=same)
    assert found["r_image_to_text_top2"] == pytest.approx(expected.mean["image_to_text_top2"])
    assert found["r_text_to_image_top5_sd"] == pytest.approx(expected.deviation["text_to_image_top5"])
    whole = retrieval(image, text, (1, 3), same)
    assert found["all_text_to_image_top3"] == pytest.approx(whole["text_to_image_top3"])
    assert found["all"] == pytest.approx((whole["image_to_text_top1"] + whole["text_to_image_top1"]) / 2)


def test_an_engine_with_too_few_pairs_is_refused_before_it_runs():
    engine = Engine(lambda engine, batch: batch)
    engine.data_loader = DataLoader(range(6), batch_size=2)
    RetrievalInBatches(batch=6).attach(engine, "fits")
    with pytest.raises(InputError, match="retrieval in batches of 7 needs as many pairs, got 6; lower the batch"):
        RetrievalInBatches(batch=7).attach(engine, "does not")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: batched_retrieval(*features(20)), InputError, "batches of 50 needs as many pairs, got 20"),
        (lambda: batched_retrieval(*features(20), batch=1), ValueError, "batch must be 2 or more"),
        (lambda: retrieval(*features(1)), ValueError, "2 pairs or more"),
        (lambda: retrieval(torch.ones(3, 2), torch.ones(3, 4)), ValueError, "one shape"),
        (lambda: retrieval(*features(4), ks=(0,)), ValueError, "k must be 1 or more"),
        (lambda: retrieval(*features(4), positives=torch.ones(2, 2, dtype=torch.bool)), ValueError, r"be \(4, 4\)"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
