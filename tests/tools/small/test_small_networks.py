"""The small networks' training: the demo's words to start with, a few steps, and on from where it stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gradient_workers import two_goals

from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.sam.sizes import build_sam, load_sam
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.phantom import TASKS
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.weights.pyramid_vit import BLOCKS, medclipsam_pyramid_vit_224
from medclipsam_monai.weights.registry import resolve
from tools.small.clip import ClipSchedule, ClipTrainer, make_batch
from tools.small.pictures import Picture
from tools.small.sam import MOST_POINTS, prompt_tokens, sample_prompts, train_sam
from tools.small.texts.vocabulary import train_tokenizer
from tools.small.texts.words import CONCEPTS, states
from tools.small.together import train_together
from tools.training.clip import vision_tokens
from tools.training.clip_files import write_clip_config
from tools.training.sam import DEMO_SAM

DEMO = Path(resolve(load_preset("demo").clip))
CPU = torch.device("cpu")


def phantoms() -> list[Picture]:
    found = []
    for number, task in enumerate(TASKS * 3):
        phantom = make_phantom(task, 5_500_000 + number, captions=0)
        pixels = np.repeat((255 * phantom.image).round().astype(np.uint8)[..., None], 3, axis=2)
        found.append(Picture(task, pixels, dict(phantom.masks), states(task, set(phantom.masks) & CONCEPTS.keys())))
    return found


PICTURES = phantoms()


def draw(count: int, rng: np.random.Generator) -> list[Picture]:
    return [PICTURES[k] for k in rng.integers(0, len(PICTURES), count)]


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "clip"
    train_tokenizer(folder)
    write_clip_config(folder, medclipsam_pyramid_vit_224.__name__)
    return folder


def trainer(words: Path, folder: Path, steps: int = 4) -> ClipTrainer:
    (folder / "clip").mkdir(parents=True, exist_ok=True)
    for file in words.iterdir():
        (folder / "clip" / file.name).write_bytes(file.read_bytes())
    return ClipTrainer(draw, folder / "clip", ClipSchedule(steps=steps, batch=4), CPU, DEMO)


def test_sentences_of_words_that_both_know_begin_as_the_demos(words, tmp_path):
    clip = trainer(words, tmp_path)
    sentence = "lungs on the left"
    demo = load_text_image_encoder(DEMO)
    ids = clip.tokenizer([sentence], return_tensors="pt")["input_ids"]
    pieces = clip.tokenizer.convert_ids_to_tokens(ids[0])
    assert set(pieces) <= set((DEMO / "vocab.txt").read_text().splitlines())
    with torch.no_grad():
        found = torch.nn.functional.normalize(clip.clip.encode_text(ids), dim=-1)
    torch.testing.assert_close(found, demo.encode_text([sentence]), atol=2e-3, rtol=0)


def test_the_tokens_mean_is_the_networks_embedding(words, tmp_path):
    clip = trainer(words, tmp_path).clip.eval()
    batch = make_batch(PICTURES[:2], np.random.default_rng(0))
    with torch.no_grad():
        patches, _, index = vision_tokens(clip.visual, batch.image, 1.0)
        torch.testing.assert_close(patches.mean(1), clip.encode_image(batch.image), atol=1e-4, rtol=1e-4)
    assert index.tolist() == [list(range(28 * 28))] * 2


def test_two_processes_take_the_step_of_the_mean_gradient(tmp_path):
    """Of (w - 1)^2 and (w - 5)^2 the mean falls to 3; each alone would fall elsewhere."""
    train_together(two_goals, (tmp_path, [1.0, 5.0]), 2, tmp_path / "meeting")
    found = [float((tmp_path / f"{worker}.txt").read_text()) for worker in range(2)]
    assert found == pytest.approx([3.0, 3.0], abs=1e-3)


def test_a_training_that_was_cut_off_ends_with_the_same_weights(words, tmp_path):
    whole = trainer(words, tmp_path / "whole")
    whole.run()
    cut = trainer(words, tmp_path / "cut")
    step = cut.step

    def stop_at_two(*args: object) -> object:
        if cut.done == 2:
            cut._save()
            raise KeyboardInterrupt
        return step(*args)

    cut.step = stop_at_two
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    went_on = trainer(words, tmp_path / "cut")
    assert went_on.done == 2
    went_on.run()
    for name, value in whole.clip.state_dict().items():
        torch.testing.assert_close(went_on.clip.state_dict()[name], value, msg=name)
    loaded = load_text_image_encoder(tmp_path / "cut" / "clip")
    assert loaded.num_blocks == BLOCKS and loaded.grid == (28, 28)


def test_shares_are_those_of_the_masks():
    picture = PICTURES[2]
    batch = make_batch([picture], np.random.default_rng(0), strength=0)
    for name, mask in picture.masks.items():
        if name in CONCEPTS:
            share = batch.share[0, list(CONCEPTS).index(name)]
            assert float(share.mean()) == pytest.approx(mask.mean(), abs=0.003)
    shown = {name for name in picture.masks if name in CONCEPTS and not CONCEPTS[name].members}
    assert int(torch.isfinite(batch.share[0]).all(1).sum()) >= len(shown)


def test_prompts_lie_on_what_they_ask_for():
    prompts = sample_prompts(PICTURES[:6], 5, np.random.default_rng(0))
    shown = prompts.mask.flatten(2).any(2)
    for b, p in shown.nonzero().tolist():
        rows, columns = torch.nonzero(prompts.mask[b, p], as_tuple=True)
        if not prompts.box[b, p].isnan().any():
            left, top, right, bottom = prompts.box[b, p].tolist()
            middle = (float(columns.float().mean()), float(rows.float().mean()))
            assert left - 20 <= middle[0] <= right + 20 and top - 20 <= middle[1] <= bottom + 20
        for (x, y), label in zip(prompts.point[b, p].tolist(), prompts.label[b, p].tolist(), strict=True):
            if label >= 0:
                assert bool(prompts.mask[b, p, int(y), int(x)]) == bool(label)


def test_prompts_of_a_batch_are_of_one_form_and_all_forms_come():
    forms = set()
    for seed in range(30):
        prompts = sample_prompts(PICTURES[2:4], 2, np.random.default_rng(seed))
        shown = prompts.mask.flatten(2).any(2)
        boxed = ~prompts.box[shown].isnan().any(-1)
        assert prompts.point.shape[2] <= MOST_POINTS and (boxed.all() or not boxed.any())
        forms.add((bool(boxed.all()), prompts.point.shape[2]))
    assert {(True, 0), (True, 3), (False, 5)} <= forms and (False, 0) not in forms


@pytest.mark.parametrize(("boxes", "points"), [(True, 0), (True, 3), (False, 5)])
def test_sam_learns_from_the_tokens_that_it_is_used_with(boxes, points):
    sam = build_sam(DEMO_SAM)
    box = torch.tensor([[10.0, 20, 110, 220], [1, 2, 3, 4]])
    point, label = 200 * torch.rand(2, points, 2), torch.ones(2, points, dtype=torch.int64)
    if points:
        label[1, 1:] = -1
    own = prompt_tokens(sam, box if boxes else torch.full_like(box, torch.nan), point, label)
    asked, _ = sam.prompt_encoder((point, label) if points else None, box if boxes else None, None)
    torch.testing.assert_close(own, asked)


def test_sam_learns_from_the_padding_that_it_is_used_with():
    wide = Picture("fetal_ultrasound", np.full((60, 120, 3), 200, np.uint8), {}, PICTURES[0].state)
    (image,) = sample_prompts([wide], 1, np.random.default_rng(0)).image
    below = build_sam(DEMO_SAM).preprocess(image[None])[0, :, 128:]
    torch.testing.assert_close(below, torch.zeros_like(below), atol=1e-5, rtol=0)


def test_a_few_steps_of_sam_are_saved_in_the_form_that_loads(tmp_path):
    start = Path(resolve(load_preset("demo").sam))
    trained = train_sam(draw, tmp_path / "sam", CPU, start, steps=2, batch=2, per_image=2)
    loaded = load_sam(tmp_path / "sam")
    before = load_sam(start)
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name].float(), value, atol=2e-3, rtol=2e-3)
    weight = "image_encoder.blocks.0.attn.qkv.weight"
    assert not torch.equal(loaded.state_dict()[weight], before.state_dict()[weight])
