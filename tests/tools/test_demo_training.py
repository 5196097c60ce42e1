from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.sam.sizes import build_sam, load_sam
from tools.training.clip import PAIRS, ClipSchedule, ClipTrainer, grounding_loss, mask_share
from tools.training.clip_files import train_tokenizer
from tools.training.corpus import build_corpus
from tools.training.sam import DEMO_SAM, embed_prompts, mask_loss, sample_prompts, train_sam


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_corpus(tmp_path_factory.mktemp("corpus"), 8, workers=1)


def test_pairs_differ_in_at_most_one_target(corpus):
    for pair in range(len(corpus) // 2):
        first, second = ({n for n in corpus.names[2 * pair + k] if not n.startswith("part")} for k in (0, 1))
        same_view = np.mean(np.abs(corpus.images[2 * pair] / 255.0 - corpus.images[2 * pair + 1] / 255.0)) < 0.05
        assert len(first ^ second) <= 2 or not same_view


def test_masks_come_back_out_of_their_bits(corpus):
    index = next(i for i, names in enumerate(corpus.names) if names)
    total = sum(corpus.mask(index, name).astype(int) for name in corpus.names[index])
    assert total.shape == (256, 256)
    assert ((total > 0) == (corpus.masks[index] > 0)).all()


def test_mask_share_is_the_covered_part_of_a_patch(corpus):
    indices = np.arange(len(corpus))
    share = mask_share(PAIRS, corpus, indices)
    for row, index in enumerate(indices):
        for column, (_, name) in enumerate(PAIRS):
            if not share[row, column].isnan().any():
                expected = corpus.mask(int(index), name).mean()
                assert share[row, column].mean().item() == pytest.approx(expected, abs=0.01)


def test_grounding_is_lower_where_the_token_in_the_mask_fits_the_text():
    text = F.one_hot(torch.arange(len(PAIRS)), 32).float()
    share = torch.full((1, len(PAIRS), 4), float("nan"))
    share[0, 2] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    other = F.one_hot(torch.tensor([20]), 32).float()

    def loss(place: int) -> float:
        patches = other.repeat(4, 1).unsqueeze(0).clone()
        patches[0, place] = 2 * text[2]
        return grounding_loss(patches, 0.5 * other, torch.arange(4)[None], text, share).item()

    assert loss(1) < loss(0)


def test_prompts_are_embedded_as_segment_anything_does():
    torch.manual_seed(0)
    sam = build_sam(DEMO_SAM)
    box = torch.tensor([[10.0, 20.0, 100.0, 120.0]])
    point, label = torch.tensor([[[30.0, 40.0]]]), torch.tensor([[1]])
    expected, _ = sam.prompt_encoder(points=(point, label), boxes=box, masks=None)
    torch.testing.assert_close(embed_prompts(sam, box, point, label), expected)


def test_the_mask_loss_prefers_the_true_mask():
    mask = torch.zeros(1, 8, 8)
    mask[0, 2:6, 2:6] = 1
    right = (20 * mask - 10).expand(4, 8, 8).unsqueeze(0)
    good, dice = mask_loss(right, torch.ones(1, 4), mask)
    bad, _ = mask_loss(-right, torch.ones(1, 4), mask)
    assert good < 0.05 < bad
    assert dice == 1


def test_prompts_lie_on_their_masks(corpus):
    batch = sample_prompts(corpus, np.arange(4), 3, np.random.default_rng(0))
    assert batch.image.shape == (4, 3, 256, 256) and batch.image.max() <= 255
    inside = batch.label == 1
    for b, p, k in inside.nonzero().tolist():
        x, y = batch.point[b, p, k].long().tolist()
        assert batch.mask[b, p, y, x]
    assert (batch.box.isnan().all(-1) | (batch.box[..., 2:] > batch.box[..., :2]).all(-1)).all()


def test_a_trained_sam_loads_again(corpus, tmp_path):
    trained = train_sam(corpus, tmp_path, torch.device("cpu"), steps=1, batch=2, per_image=2)
    loaded = load_sam(tmp_path)
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, atol=1e-2, rtol=1e-2)


@pytest.mark.slow
def test_a_trained_clip_loads_again_and_leaves_its_idle_blocks_idle(corpus, tmp_path):
    train_tokenizer(tmp_path)
    ClipTrainer(corpus, tmp_path, ClipSchedule(steps=2, batch=4, grounding=1.0), torch.device("cpu")).run()
    encoder = load_text_image_encoder(tmp_path)
    picture = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(encoder.tokens(picture, 3), encoder.tokens(picture, 11))
    assert encoder.encode_text(["lungs", "no lungs"]).shape == (2, 192)
