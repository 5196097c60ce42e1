from __future__ import annotations

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune import freeze_layers, parameter_groups
from medclipsam_monai.finetune.parameters import count_blocks, layer_of, tower_of
from medclipsam_monai.losses import DHNNCELoss


@pytest.mark.parametrize(
    ("name", "tower", "layer"),
    [
        ("clip.visual.trunk.patch_embed.proj.weight", "vision", 0),
        ("clip.visual.trunk.blocks.3.attn.proj.weight", "vision", 4),
        ("module.clip.visual.trunk.norm.weight", "vision", None),
        ("clip.visual.head.proj.weight", "vision", None),
        ("clip.text.transformer.embeddings.LayerNorm.weight", "text", 0),
        ("clip.text.transformer.encoder.layer.11.output.dense.bias", "text", 12),
        ("clip.text.proj.2.weight", "text", None),
        ("visual.transformer.resblocks.0.ln_1.weight", "vision", 1),
        ("transformer.resblocks.5.attn.in_proj_weight", "text", 6),
        ("token_embedding.weight", "text", 0),
        ("text_projection", "text", None),
    ],
)
def test_a_weights_name_says_where_it_is(name, tower, layer):
    assert (tower_of(name), layer_of(name)) == (tower, layer)


def by_parameter(network, groups) -> dict[str, tuple[float, float]]:
    names = {id(p): name for name, p in network.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}


def test_norms_biases_and_single_tokens_have_no_decay(network):
    found = by_parameter(network, parameter_groups(network, 1e-3, 0.1))
    assert {rate for rate, _ in found.values()} == {1e-3}
    no_decay = {name for name, (_, decay) in found.items() if decay == 0}
    assert {n for n in found if "norm" in n.lower() or n.endswith("bias") or "cls_token" in n} == no_decay
    assert "clip.logit_scale" not in found


def test_rates_fall_from_layer_to_layer(network):
    found = by_parameter(network, parameter_groups(network, 1.0, 0.0, layer_decay=0.5))
    depth = count_blocks(network)
    assert depth["text"] == 2 and depth["vision"] >= 2
    assert found["clip.text.proj.0.weight"][0] == found["clip.visual.head.proj.weight"][0] == 1
    assert found["clip.text.transformer.encoder.layer.1.output.dense.weight"][0] == 0.5
    assert found["clip.text.transformer.embeddings.word_embeddings.weight"][0] == 0.125
    assert found["clip.visual.trunk.patch_embed.proj.weight"][0] == 0.5 ** (depth["vision"] + 1)


def test_a_learned_temperature_is_learned_without_decay(network):
    loss = DHNNCELoss(learn_temperature=True)
    (group,) = [
        g
        for g in parameter_groups(network, 1e-3, 0.1, 0.9, loss)
        if any(p is loss.log_temperature for p in g["params"])
    ]
    assert (group["lr"], group["weight_decay"]) == (1e-3, 0.0)


def test_freezing_goes_from_below(network):
    freeze_layers(network, vision=2, text=-1)
    free = {name for name, p in network.named_parameters() if p.requires_grad}
    assert free and all(name.startswith("clip.visual") for name in free)
    assert not any("blocks.0." in name or "embed" in name for name in free)
    assert any("blocks.1." in name for name in free)


@pytest.mark.parametrize("layers", [{"vision": 99}, {"text": 4}, {"text": -2}])
def test_more_layers_than_there_are_cannot_be_frozen(network, layers):
    with pytest.raises(InputError, match="layers to freeze, or -1 for all"):
        freeze_layers(network, **layers)


def test_nothing_left_to_train_is_an_error(network):
    freeze_layers(network, -1, -1)
    with pytest.raises(InputError, match="every weight of the network is frozen"):
        parameter_groups(network, 1e-3)


@pytest.mark.parametrize("decay", [0.0, 1.5])
def test_a_layer_decay_outside_0_to_1_is_refused(network, decay):
    with pytest.raises(ValueError, match="layer_decay must be above 0"):
        parameter_groups(network, 1e-3, layer_decay=decay)
