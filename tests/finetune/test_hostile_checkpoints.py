"""Checkpoints of a fine-tuning to go on from: data, or one line."""

from __future__ import annotations

import pytest
import torch
from hostile import Touch, refuses
from ignite.engine import Engine

from medclipsam_monai.finetune.checkpoint import BEST, LAST, TrainingCheckpoint, load_best


@pytest.fixture
def trained(tmp_path):
    """A training of one linear layer, with its checkpoint written, and a function that goes on with it."""
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    engine = Engine(lambda *_: None)
    engine.scaler = None
    engine.state.max_epochs, engine.state.epoch, engine.state.iteration = 5, 2, 20
    checkpoint = TrainingCheckpoint(tmp_path, network, objects={"optimizer": optimiser}, resume=True)
    checkpoint.save(engine)
    return network, engine, checkpoint


def test_a_checkpoint_goes_on_where_it_ended(trained, tmp_path):
    network, engine, checkpoint = trained
    expected = network.weight.detach().clone()
    torch.nn.init.zeros_(network.weight)
    engine.state.epoch = 0
    checkpoint.load(engine)
    assert torch.equal(network.weight, expected)
    assert (engine.state.epoch, engine.state.iteration) == (2, 20)
    torch.nn.init.zeros_(network.weight)
    assert load_best(network, tmp_path / BEST)
    assert torch.equal(network.weight, expected)


def test_no_entry_of_a_checkpoint_runs_code(trained, tmp_path, marker):
    _, engine, checkpoint = trained
    content = torch.load(tmp_path / LAST, weights_only=True)
    for key in content:
        torch.save({**content, key: Touch(marker)}, tmp_path / LAST)
        assert "last.pt is refused: opening it could run code" in refuses(lambda: checkpoint.load(engine))
    torch.save({"weight": Touch(marker)}, tmp_path / BEST)
    assert "model.pt is refused: opening it could run code" in refuses(lambda: load_best(trained[0], tmp_path / BEST))


@pytest.mark.parametrize("value", [None, [], "text", 3.5, {"weight": 1}, {3: torch.zeros(1)}, torch.zeros(2)], ids=repr)
@pytest.mark.parametrize("key", ["network", "objects", "scaler", "epoch", "iteration", "best_metric_epoch"])
def test_no_entry_of_a_checkpoint_takes_another_shape(key, value, trained, tmp_path):
    _, engine, checkpoint = trained
    content = torch.load(tmp_path / LAST, weights_only=True)
    torch.save({**content, key: value}, tmp_path / LAST)
    if key == "scaler" and isinstance(value, dict):  # without a scaler nothing reads it
        checkpoint.load(engine)
    else:
        refuses(lambda: checkpoint.load(engine))


@pytest.mark.parametrize("value", [None, [], {"state": {}}, {"state": [], "param_groups": 3}, "text"], ids=repr)
def test_a_state_of_the_optimiser_takes_no_other_shape(value, trained, tmp_path):
    _, engine, checkpoint = trained
    content = torch.load(tmp_path / LAST, weights_only=True)
    torch.save({**content, "objects": {"optimizer": value}}, tmp_path / LAST)
    assert "of a training with another optimizer" in refuses(lambda: checkpoint.load(engine))


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
@pytest.mark.parametrize("file", [LAST, BEST])
def test_weights_that_are_not_finite_are_named(number, file, trained, tmp_path):
    network, engine, checkpoint = trained
    content = torch.load(tmp_path / file, weights_only=True)
    (content["network"] if file == LAST else content)["bias"].fill_(number)
    torch.save(content, tmp_path / file)
    load = (lambda: checkpoint.load(engine)) if file == LAST else (lambda: load_best(network, tmp_path / file))
    assert f"{file}: bias holds NaN or infinity" in refuses(load)
