"""Parameter groups by rules about names and shapes, as timm and the recipes of GPT and ViT make them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ravine import nn, optim
from ravine.optim import lr_scheduler

# A ViT of two blocks in the order of timm's named_parameters().
VIT = {
    "cls_token": (1, 1, 4),
    "pos_embed": (1, 5, 4),
    "patch_embed.proj.weight": (4, 3, 2, 2),
    "patch_embed.proj.bias": (4,),
    "blocks.0.norm1.weight": (4,),
    "blocks.0.attn.qkv.weight": (12, 4),
    "blocks.0.attn.qkv.bias": (12,),
    "blocks.1.norm1.weight": (4,),
    "blocks.1.attn.qkv.weight": (12, 4),
    "blocks.1.attn.qkv.bias": (12,),
    "norm.weight": (4,),
    "head.weight": (3, 4),
    "head.bias": (3,),
}
GPT = {
    "transformer.wte.weight": (7, 4),
    "transformer.wpe.weight": (5, 4),
    "transformer.h.0.ln_1.weight": (4,),
    "transformer.h.0.attn.c_attn.weight": (12, 4),
    "transformer.h.0.attn.c_attn.bias": (12,),
    "transformer.ln_f.weight": (4,),
}


def arrays_of(shapes):
    return {name: np.ones(shape) for name, shape in shapes.items()}


def members(found):
    """Return the names of the parameters in each group, by the group's name."""
    return {group["name"]: [name for name, _ in group["params"]] for group in found}


def settings(found):
    return {group["name"]: {key: group[key] for key in group if key not in ("name", "params")} for group in found}


class TestWeightDecay:
    def test_as_timm_and_nanogpt(self):
        """timm: none for ndim <= 1, names that end in ".bias", and a list. nanoGPT: none for ndim < 2."""
        found = optim.groups(arrays_of(VIT), weight_decay=0.05, no_decay=["bias", "cls_token", "pos_embed"])
        expected = [n for n, s in VIT.items() if len(s) <= 1 or n.endswith(".bias") or n in ("cls_token", "pos_embed")]
        assert members(found) == {"no_decay": expected, "decay": [n for n in VIT if n not in expected]}
        assert settings(found) == {"no_decay": {"weight_decay": 0.0}, "decay": {"weight_decay": 0.05}}

        found = optim.groups(arrays_of(GPT), weight_decay=0.1)
        matrices = [name for name, shape in GPT.items() if len(shape) == 2]
        assert members(found) == {"decay": matrices, "no_decay": [n for n in GPT if n not in matrices]}

    def test_by_default_biases_and_norms_of_any_shape_have_none(self):
        shapes = {"a.weight": (2, 2), "a.bias": (2, 2), "LayerNorm.weight": (2, 2), "layernorm_before.weight": (2, 2)}
        found = optim.groups(arrays_of(shapes), weight_decay=0.1)
        assert members(found)["no_decay"] == ["a.bias", "layernorm_before.weight"]  # "LayerNorm" has a capital N
        assert members(optim.groups({"w": np.ones((2, 2))}, weight_decay=0.1)) == {"decay": ["w"]}

    def test_a_function_decides_alone(self):
        seen = {}

        def no_decay(name, array):
            seen[name] = array
            return array.ndim == 2 and name.startswith("head")

        params = {name: nn.Parameter(array) for name, array in arrays_of(VIT).items()}
        found = optim.groups(params, weight_decay=0.1, no_decay=no_decay)
        assert members(found)["no_decay"] == ["head.weight"]
        assert {name: array.shape for name, array in seen.items()} == VIT
        assert all(array is params[name].data for name, array in seen.items())

    def test_no_rule(self):
        found = optim.groups(arrays_of(GPT), no_decay=None, weight_decay=0.1)
        assert members(found) == {"all": list(GPT)}
        assert settings(found) == {"all": {"weight_decay": 0.1}}
        assert settings(optim.groups(arrays_of(GPT), no_decay=None)) == {"all": {}}
        optimizer = optim.Rprop(optim.groups(arrays_of(GPT), no_decay=None, lr=0.5))  # has no weight_decay
        assert optimizer.param_groups[0]["lr"] == 0.5

    def test_without_a_weight_decay_it_is_the_optimizers(self):
        found = optim.groups(arrays_of(GPT))
        assert settings(found) == {"decay": {}, "no_decay": {"weight_decay": 0.0}}
        optimizer = optim.AdamW(found, weight_decay=0.3)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]


class TestLayerDecay:
    def test_as_beit_and_mae(self):
        """layer_decay ** (num_layers - layer): stem 0, block i layer i + 1, what follows them num_layers = 3 here."""
        found = optim.groups(arrays_of(VIT), lr=0.1, weight_decay=0.05, layer_decay=0.5)
        assert members(found) == {
            "layer_0_decay": ["cls_token", "pos_embed", "patch_embed.proj.weight"],
            "layer_0_no_decay": ["patch_embed.proj.bias"],
            "layer_1_no_decay": ["blocks.0.norm1.weight", "blocks.0.attn.qkv.bias"],
            "layer_1_decay": ["blocks.0.attn.qkv.weight"],
            "layer_2_no_decay": ["blocks.1.norm1.weight", "blocks.1.attn.qkv.bias"],
            "layer_2_decay": ["blocks.1.attn.qkv.weight"],
            "layer_3_no_decay": ["norm.weight", "head.bias"],
            "layer_3_decay": ["head.weight"],
        }
        lr = {"0": 0.0125, "1": 0.025, "2": 0.05, "3": 0.1}
        for group in found:
            _, layer, decay = group["name"].split("_", 2)
            assert group["lr"] == pytest.approx(lr[layer], rel=1e-15)
            assert group["weight_decay"] == {"decay": 0.05, "no_decay": 0.0}[decay]

    @pytest.mark.parametrize(
        ("prefix", "part"),
        [("", "blocks"), ("bert.encoder.", "layer"), ("transformer.", "h"), ("visual.", "resblocks"), ("", "stages")],
    )
    def test_blocks_by_other_names(self, prefix, part):
        names = ["stem.w", *(f"{prefix}{part}.{i}.mlp.layers.0.w" for i in (0, 2, 10)), "head.w"]
        found = optim.groups({name: np.ones((2, 2)) for name in names}, lr=1, layer_decay=0.5)
        assert [group["name"] for group in found] == [f"layer_{i}_decay" for i in (0, 1, 3, 11, 12)]
        assert [group["lr"] for group in found] == [0.5 ** (12 - i) for i in (0, 1, 3, 11, 12)]

    def test_blocks_alone(self):
        """The last layer that there is has lr itself."""
        found = optim.groups({f"layers.{i}.w": np.ones((2, 2)) for i in range(3)}, lr=1, layer_decay=0.5)
        assert [group["lr"] for group in found] == [0.25, 0.5, 1]

    def test_layers_by_a_function(self):
        """timm's ViT counts the last norm with the last block."""

        def layer_of(name):
            return {"blocks": 1 + int(re.sub(r"\D", "", name[:9]) or 0), "norm": 2, "head": 3}.get(
                name.split(".")[0], 0
            )

        found = optim.groups(arrays_of(VIT), lr=1, layer_decay=0.75, layer_of=layer_of, no_decay=None)
        assert members(found)["layer_2"] == [name for name in VIT if name.startswith(("blocks.1", "norm"))]
        assert [group["lr"] for group in found] == [0.75**3, 0.75**2, 0.75, 1]

    def test_groups_do_not_depend_on_the_numbers(self):
        """So that a saved state still fits when a number has changed."""
        names = [
            [group["name"] for group in optim.groups(arrays_of(VIT), lr=lr, weight_decay=decay, layer_decay=layers)]
            for lr, decay, layers in [(0.1, 0.05, 0.75), (0.0, 0.0, 1.0)]
        ]
        assert names[0] == names[1]


class TestLearningRates:
    def test_factors_by_pattern(self):
        found = optim.groups(arrays_of(GPT), lr=2, no_decay=None, lr_scale={"h.0.attn": 0.5, "h": 0.25, "w?e": 0})
        assert settings(found) == {
            "lr_scale_0.0": {"lr": 0},
            "lr_scale_0.25": {"lr": 0.5},
            "lr_scale_0.5": {"lr": 1},
            "all": {"lr": 2},
        }
        assert members(found)["lr_scale_0.5"] == [name for name in GPT if ".attn." in name]
        assert members(found)["lr_scale_0.25"] == ["transformer.h.0.ln_1.weight"]

    def test_factors_by_a_function_beside_layers(self):
        found = optim.groups(
            arrays_of(VIT),
            lr=1,
            no_decay=None,
            layer_decay=0.5,
            lr_scale=lambda name, array: 1 / array.shape[1] if array.ndim == 2 else 1,
        )
        assert settings(found)["layer_2_lr_scale_0.25"] == {"lr": 0.125}
        assert members(found)["layer_2_lr_scale_0.25"] == ["blocks.1.attn.qkv.weight"]

    def test_schedules_keep_the_ratios(self):
        optimizer = optim.SGD(optim.groups(arrays_of(VIT), lr=1, layer_decay=0.5), lr=9)
        before = [group["lr"] for group in optimizer.param_groups]
        schedule = lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.1)
        optimizer.step(dict.fromkeys(VIT))
        schedule.step()
        np.testing.assert_allclose([group["lr"] for group in optimizer.param_groups], 0.1 * np.array(before))


def test_the_optimizer_gets_names_and_the_very_parameters():
    params = arrays_of(VIT)
    optimizer = optim.AdamW(optim.groups(params, lr=0.1, weight_decay=0.5))
    assert [group["name"] for group in optimizer.param_groups] == ["decay", "no_decay"]
    assert optimizer.param_groups[1]["param_names"] == [name for name, shape in VIT.items() if len(shape) == 1]
    optimizer.step({name: np.zeros(shape) for name, shape in VIT.items()})
    for name, shape in VIT.items():
        np.testing.assert_allclose(params[name], np.full(shape, 1.0 if len(shape) == 1 else 0.95))
    assert optimizer.state_dict()["param_groups"][1]["name"] == "no_decay"


def test_forms_of_parameters():
    listed = [nn.Parameter(np.ones((2, 2)), "w"), nn.Parameter(np.ones(2), "b")]
    pairs = [(param.name, param) for param in listed]
    for given in (listed, pairs, iter(pairs), dict(pairs)):
        found = optim.groups(given, weight_decay=0.1)
        assert [group["params"] for group in found] == [pairs[:1], pairs[1:]]


def test_torch():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)).double()
    twin = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)).double()
    twin.load_state_dict(model.state_dict())
    ours = optim.AdamW(optim.groups(model.named_parameters(), weight_decay=0.2, lr=0.1, lr_scale={"2": 0.5}))
    theirs = torch.optim.AdamW(
        [
            {"params": [p], "lr": 0.05 if name.startswith("2.") else 0.1, "weight_decay": 0.2 if p.ndim > 1 else 0.0}
            for name, p in twin.named_parameters()
        ]
    )
    x = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    for net, optimizer in ((model, ours), (twin, theirs)):
        for _ in range(3):
            optimizer.zero_grad(set_to_none=True)
            net(x).square().sum().backward()
            optimizer.step()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), other.detach(), rtol=1e-12)


NAN = float("nan")
BAD = [
    ({"weight_decay": -0.1}, ValueError, r"groups: weight_decay=-0.1 is negative; expected a finite number, 0 or more"),
    ({"weight_decay": NAN}, ValueError, r"groups: weight_decay=nan is not finite"),
    ({"lr": -1}, ValueError, r"groups: lr=-1 is negative"),
    ({"lr": "fast"}, TypeError, r"groups: lr='fast' is a str"),
    *(
        ({"lr": 1, "layer_decay": d}, ValueError, rf"groups: layer_decay={d}.*; expected a number above 0, up to 1")
        for d in (0, -0.5, 1.5, NAN)
    ),
    ({"layer_decay": 0.5}, ValueError, r"groups: layer_decay multiplies a learning rate; give that too, as lr"),
    ({"lr_scale": {"head": 2}}, ValueError, r"groups: lr_scale multiplies a learning rate; give that too, as lr"),
    (
        {"no_decay": ["bias", "haed"]},
        ValueError,
        r"groups: no_decay: 'haed' matches no name of a parameter.*'head.bias'",
    ),
    ({"no_decay": ["ead"]}, ValueError, r"'ead' matches no name"),
    ({"no_decay": "bias"}, TypeError, r"groups: no_decay='bias'; expected a list of patterns"),
    ({"no_decay": 3}, TypeError, r"groups: no_decay=3; expected a list of patterns"),
    ({"no_decay": [3]}, TypeError, r"groups: no_decay: a pattern is int; expected text"),
    ({"lr": 1, "lr_scale": 0.5}, TypeError, r"groups: lr_scale=0.5; expected a dict of pattern to factor"),
    ({"lr": 1, "lr_scale": {"haed": 1}}, ValueError, r"groups: lr_scale: 'haed' matches no name"),
    ({"lr": 1, "lr_scale": {"head": -1}}, ValueError, r"groups: lr_scale\['head'\]=-1 is negative"),
    ({"lr": 1, "lr_scale": {"head": 1, "head.bias": 2}}, ValueError, r"'head.bias' matches no parameter that the pat"),
    ({"lr": 1, "lr_scale": lambda name, array: NAN}, ValueError, r"groups: lr_scale of 'blocks.0.w'=nan is not finite"),
    ({"lr": 1, "layer_decay": 0.5, "layer_of": 3}, TypeError, r"groups: layer_of=3; expected a function"),
    ({"layer_of": len}, ValueError, r"groups: layer_of has no use without layer_decay"),
    (
        {"lr": 1, "layer_decay": 0.5, "layer_of": lambda name: -1},
        ValueError,
        r"groups: layer_of\('blocks.0.w'\)=-1; expected a whole number, 0 or more",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_arguments(arguments, error, message):
    params = {"blocks.0.w": np.ones((2, 2)), "head.weight": np.ones((2, 2)), "head.bias": np.ones(2)}
    with pytest.raises(error, match=message):
        optim.groups(params, **arguments)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([np.ones(2)], TypeError, r"groups: named_params\[0\] \(float64, shape \(2,\)\) has no name; expected a dict"),
        ([nn.Parameter(np.ones(2))], TypeError, r"named_params\[0\] \(ravine.nn.parameter.Parameter\) has no name"),
        ([("w", np.ones(2)), np.ones(2)], ValueError, r"named_params\[1\] has no name while others have one"),
        ([{"params": [np.ones(2)]}], TypeError, r"named_params\[0\] \(dict\) has no name"),
        ({3: np.ones(2)}, TypeError, r"named_params\[0\] \(tuple\) has no name; expected a dict of name to parameter"),
        ([("w", np.ones(2)), ("w", np.ones(2))], ValueError, r"groups: two parameters are named 'w'"),
        ({}, ValueError, r"groups: named_params is empty"),
        (3, TypeError, r"groups: named_params is int"),
        ({"w": [1.0]}, TypeError, r"groups: 'w' is list; expected an array or a Parameter"),
    ],
)
def test_bad_parameters(params, error, message):
    with pytest.raises(error, match=message):
        optim.groups(params)


def test_blocks_that_are_not_clear():
    square = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"no name has a block such as 'blocks.0'; give layer_of"):
        optim.groups({"0.w": square, "layer1.0.w": square}, lr=1, layer_decay=0.5)
    both = {"encoder.block.0.w": square, "decoder.block.0.w": square}
    with pytest.raises(ValueError, match=r"blocks in 2 places, 'decoder.block', 'encoder.block'; give layer_of"):
        optim.groups(both, lr=1, layer_decay=0.5)


def test_one_array_under_two_names_is_refused_by_the_optimizer():
    tied = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"'wte'.*'head'.*are the same array"):
        optim.SGD(optim.groups({"wte": tied, "head": tied}))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"no_decay": lambda name, array: array}, TypeError, r"groups: no_decay of 'a'=array"),
        ({"lr": 1e308, "lr_scale": {"a": 1e10}}, ValueError, r"groups: lr of 'decay_lr_scale_10000000000.0'=inf"),
        ({"lr": 1.0, "layer_decay": 0.5}, ValueError, r"no name has a block such as 'blocks.0'"),
    ],
)
def test_what_functions_and_factors_come_to(arguments, error, message):
    names = {"a": np.ones((2, 2)), "blocks." + "9" * 5000: np.ones((2, 2))}
    with pytest.raises(error, match=message):
        optim.groups(names, **arguments)


def test_a_function_may_say_so_as_numpy_does():
    (first, second) = optim.groups({"a": np.ones(2), "b": np.zeros(2)}, no_decay=lambda _, array: array.any())
    assert (first["name"], second["name"]) == ("no_decay", "decay")
