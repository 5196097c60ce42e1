"""Whole trainings of the tiny CLIP: resuming, stopping, saving, and what goes wrong."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune import ContrastiveCLIP, ContrastiveUpdate, ExportClip, load_best
from medclipsam_monai.finetune.checkpoint import BEST, LAST


def weights(training) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in training.network.state_dict().items()}


def test_training_lowers_the_loss_and_keeps_a_history(make_training, steady_clip, tmp_path):
    training = make_training(steady_clip, tmp_path, epochs=4)
    training.trainer.run()
    rows = json.loads((tmp_path / "history.json").read_text())["epochs"]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert rows[4]["loss"] < rows[1]["loss"] and "loss" not in rows[0]
    assert all(
        0 <= row["retrieval_image_to_text_top1"] <= 1 and "retrieval_text_to_image_top5_sd" in row for row in rows
    )
    with Image.open(tmp_path / "training.png") as image:
        assert min(image.size) > 300 and len(image.convert("RGB").getcolors(1 << 20)) > 10


@pytest.mark.parametrize("options", [{}, {"chunk_size": 3}, {"lora_rank": 2}])
def test_a_resumed_training_gives_the_weights_of_an_uninterrupted_one(make_training, clip_folder, tmp_path, options):
    whole = make_training(clip_folder, tmp_path / "whole", 3, **options)  # this CLIP has dropout
    whole.trainer.run()
    make_training(clip_folder, tmp_path / "parts", 1, **options).trainer.run()
    torch.rand(7)  # other random numbers in between
    resumed = make_training(clip_folder, tmp_path / "parts", 3, resume=True, **options)
    resumed.trainer.run()
    for name, value in weights(whole).items():
        assert torch.equal(resumed.network.state_dict()[name], value), name
    assert torch.equal(resumed.loss.log_temperature, whole.loss.log_temperature)
    assert resumed.history.rows == whole.history.rows
    one, other = (torch.load(tmp_path / name / BEST) for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_training_is_not_trained_on(make_training, steady_clip, tmp_path):
    make_training(steady_clip, tmp_path, 1).trainer.run()
    again = make_training(steady_clip, tmp_path, 1, resume=True)
    again.trainer.run()
    last = torch.load(tmp_path / LAST)
    assert last["epoch"] == 1
    assert all(torch.equal(v, last["network"][n]) for n, v in weights(again).items())


def test_the_best_weights_are_kept_though_later_ones_are_worse(make_training, steady_clip, tmp_path):
    training = make_training(steady_clip, tmp_path, 3)
    values = iter([0.1, 0.5, 0.4, 0.3])
    kept = []

    def worse(engine):
        engine.state.metrics["retrieval"] = next(values)

    # Before the comparison with the best so far, which is the first of the handlers after the metrics.
    handlers = training.evaluator._event_handlers[Events.EPOCH_COMPLETED]
    training.evaluator.add_event_handler(Events.EPOCH_COMPLETED, worse)
    handlers.insert(len(handlers) - 2, handlers.pop())
    training.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: kept.append(weights(training)))
    training.trainer.run()
    best = torch.load(tmp_path / BEST)
    assert training.evaluator.state.best_metric_epoch == 1
    assert all(torch.equal(best[name], value) for name, value in kept[0].items())


def test_training_stops_when_nothing_gets_better(make_training, steady_clip, tmp_path):
    training = make_training(steady_clip, tmp_path, 9, patience=2)
    training.evaluator.metric_cmp_fn = lambda current, best: False
    training.trainer.run()
    assert training.trainer.state.epoch == 2
    assert (tmp_path / "training.png").is_file() and torch.load(tmp_path / LAST)["epoch"] == 2


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(make_training, steady_clip, tmp_path):
    training = make_training(steady_clip, tmp_path, 1)
    with torch.no_grad():
        training.network.clip.visual.head.proj.weight.fill_(torch.nan)
    with pytest.raises(InputError, match=r"the loss is nan in epoch 1, iteration 1, .*phantom:\w+/\d+, ") as caught:
        training.trainer.run()
    assert "\n" not in str(caught.value)


def test_gradients_are_clipped(make_training, steady_clip, tmp_path):
    free, clipped = (make_training(steady_clip, tmp_path / str(n), 1, max_grad_norm=n) for n in (None, 1e-9))
    for training in (free, clipped):
        training.trainer.run()

    def norm(training) -> float:
        return sum(float(p.grad.square().sum()) for p in training.network.parameters() if p.grad is not None) ** 0.5

    assert norm(clipped) <= 1.01e-9 < norm(free)
    with pytest.raises(ValueError, match="max_grad_norm must be positive"):
        ContrastiveUpdate(max_grad_norm=0)


def test_half_precision_trains(make_training, steady_clip, tmp_path):
    training = make_training(steady_clip, tmp_path, 1, chunk_size=2)
    training.trainer.amp = True
    training.trainer.amp_kwargs = {"dtype": torch.bfloat16}
    training.trainer.run()
    assert training.history.rows[1]["loss"] > 0


def test_a_checkpoint_of_another_architecture_is_refused(make_training, steady_clip, tmp_path):
    make_training(steady_clip, tmp_path, 1).trainer.run()
    other = tmp_path / "other"
    shutil.copytree(steady_clip, other)
    from safetensors.torch import save_file

    from medclipsam_monai.weights.clip_folder import build_clip

    config = json.loads((other / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 40
    (other / "open_clip_config.json").write_text(json.dumps(config))
    save_file(build_clip(other).state_dict(), other / "open_clip_model.safetensors")
    with pytest.raises(InputError, match="is a checkpoint of another architecture"):
        make_training(other, tmp_path, 2, resume=True).trainer.run()
    with pytest.raises(InputError, match="is a checkpoint of another architecture"):
        load_best(ContrastiveCLIP(other), tmp_path / BEST)


def test_a_longer_training_is_not_taken_up_by_a_shorter_one(make_training, steady_clip, tmp_path):
    make_training(steady_clip, tmp_path, 2).trainer.run()
    with pytest.raises(InputError, match="is 2 epochs in, and max_epochs is 1"):
        make_training(steady_clip, tmp_path, 1, resume=True).trainer.run()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_one_line(make_training, steady_clip, tmp_path, content):
    if content is None:
        torch.save([1, 2], tmp_path / LAST)
    else:
        (tmp_path / LAST).write_bytes(content)
    with pytest.raises(InputError, match=r"last\.pt is not a .*checkpoint of this training; delete it"):
        make_training(steady_clip, tmp_path, 1, resume=True).trainer.run()


def test_other_parts_than_the_checkpoint_has_are_refused(make_training, steady_clip, tmp_path):
    make_training(steady_clip, tmp_path, 1).trainer.run()
    training = make_training(steady_clip, tmp_path, 2, resume=True)
    del training.checkpoint.objects["loss"]
    with pytest.raises(InputError, match="this training has"):
        training.trainer.run()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing file")]
)
def test_a_full_disk_leaves_the_last_good_checkpoint(make_training, steady_clip, tmp_path, monkeypatch, error):
    make_training(steady_clip, tmp_path, 1).trainer.run()
    before = {name: (tmp_path / name).read_bytes() for name in (LAST, BEST)}

    def full(content: object, path: Path) -> None:
        path.write_bytes(b"half a file")
        raise error

    training = make_training(steady_clip, tmp_path, 2, resume=True)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"cannot write \w+\.pt"):
        training.trainer.run()
    assert {name: (tmp_path / name).read_bytes() for name in (LAST, BEST)} == before
    assert not list(tmp_path.glob(".*part*"))


def test_the_best_weights_are_exported_for_everything_that_loads_a_clip(make_training, steady_clip, tmp_path):
    from medclipsam_monai.networks.clip.load import load_text_image_encoder

    training = make_training(steady_clip, tmp_path / "run", 2)
    folder = tmp_path / "clip"
    ExportClip(training.network, tmp_path / "run", folder, loss=training.loss).attach(training.trainer)
    training.trainer.run()
    best = torch.load(tmp_path / "run" / BEST)
    encoder = load_text_image_encoder(folder)
    name = "visual.head.proj.weight"
    assert torch.equal(encoder.clip.state_dict()[name], best[f"clip.{name}"])
    assert encoder.logit_scale.item() == pytest.approx(1 / training.loss.temperature.item(), rel=1e-5)
    assert encoder.encode_text(["a lung"]).shape == (1, 24)


def test_epochs_that_were_not_validated_carry_no_metrics(make_training, steady_clip, tmp_path):
    training = make_training(steady_clip, tmp_path, 1)
    training.trainer.run()
    training.evaluator.state.epoch = 0
    training.history._losses = [2.0, 4.0]
    training.history._row(training.trainer)
    assert training.history.rows[-1] == {"epoch": 1, "loss": 3.0}


def test_a_run_that_is_refused_before_its_first_step_leaves_the_weights_of_the_one_before(
    make_training, steady_clip, tmp_path
):
    make_training(steady_clip, tmp_path, 1).trainer.run()
    before = {name: (tmp_path / name).read_bytes() for name in (LAST, BEST)}
    training = make_training(steady_clip, tmp_path, 2)

    def refuse(engine: Engine) -> None:
        raise InputError("as the first validation may")

    training.evaluator.add_event_handler(Events.EPOCH_COMPLETED, refuse)
    with pytest.raises(InputError, match="as the first validation may"):
        training.trainer.run()
    assert {name: (tmp_path / name).read_bytes() for name in (LAST, BEST)} == before


def test_after_its_first_step_a_run_has_replaced_the_weights_of_the_one_before_by_its_start(
    make_training, steady_clip, tmp_path
):
    training = make_training(steady_clip, tmp_path, 1)
    training.trainer.run()
    started = make_training(steady_clip, tmp_path, 2)
    first = weights(started)

    def stop(engine: Engine) -> None:
        raise KeyboardInterrupt

    started.trainer.add_event_handler(Events.ITERATION_COMPLETED, stop)
    with pytest.raises(KeyboardInterrupt):
        started.trainer.run()
    found = torch.load(tmp_path / BEST)
    assert all(torch.equal(found[name], value) for name, value in first.items())
    assert not all(torch.equal(found[name], value) for name, value in weights(started).items())
