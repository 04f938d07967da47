"""Parameter groups by rules about names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import as_array, describe
from ravine._hyper import flag, non_negative, positive_unit, shown, whole
from ravine.optim._groups import as_named
from ravine.optim._patterns import matches, matching

Array = np.ndarray[Any, Any]
ByName = Callable[[str, Array], Any]

_NO_DECAY = ("bias", "*norm*")
# What holds the blocks of a network by their numbers, in one library or another.
_BLOCKS = ("blocks", "block", "layers", "layer", "h", "resblocks", "stages")


class _Rules(NamedTuple):
    """What each rule says of a parameter, None where there is no such rule; parameters of the same are one group."""

    decays: bool | None
    layer: int | None
    scale: float | None  # by its own rule, not by its layer

    @property
    def name(self) -> str:
        parts = [] if self.layer is None else [f"layer_{self.layer}"]
        parts += [] if self.decays is None else ["decay" if self.decays else "no_decay"]
        parts += [] if self.scale in (None, 1) else [f"lr_scale_{self.scale!r}"]
        return "_".join(parts) or "all"


def groups(
    named_params: Mapping[str, Any] | Iterable[Any],
    *,
    lr: float | None = None,
    weight_decay: float | None = None,
    no_decay: Iterable[str] | ByName | None = _NO_DECAY,
    lr_scale: Mapping[str, float] | ByName | None = None,
    layer_decay: float | None = None,
    layer_of: Callable[[str], int] | None = None,
) -> list[dict[str, Any]]:
    """Return parameter groups for any optimizer, by rules about the names and shapes of parameters.

        lr of a group = lr * (its factor of lr_scale) * layer_decay ** (last layer - its layer)

    Parameters of which the rules say the same are one group; groups come in the order of their first parameters, and
    each has a "name" such as "no_decay" or "layer_3_decay". Since groups change the order of parameters, give their
    gradients by name, or in `Parameter.grad`.

    A pattern matches a name of which it is a whole component between dots, or several in a row: "head" matches "head"
    and "net.head.bias", but not "heads.bias". In each component *, ? and [...] are wildcards: "blocks.[01].norm*".

    The rules are those of the recipes for GPT (nanoGPT: no weight decay below two dimensions) and ViT (timm's
    `param_groups_weight_decay` and `param_groups_layer_decay`); layers are counted as in Bao, Dong, Piao & Wei 2022,
    "BEiT: BERT pre-training of image transformers", and He et al. 2022, "Masked autoencoders are scalable vision
    learners".

    Args:
        named_params: a dict of name to parameter, or an iterable of `(name, parameter)` pairs (such as torch's
            `model.named_parameters()`) or of `Parameter`s with names. Parameters are arrays, `Parameter`s or torch's.
        lr: learning rate, which the factors multiply, so that schedules keep their ratios; without factors it may be
            left to the optimizer.
        weight_decay: that of the parameters that decay; without it, the optimizer's.
        no_decay: what has no weight decay, 0: patterns, whereupon arrays of less than two dimensions have none either;
            or a function of name and array, which decides alone. The default is "bias" and "*norm*", where there are
            such. None: all have the same.
        lr_scale: a factor of the learning rate, 0 or more: a dict by pattern, of which the first that matches counts;
            or a function of name and array. 1 where no pattern matches.
        layer_decay: by how much learning rates fall from each layer to the one before, above 0 and up to 1.
        layer_of: a function of the name that returns the layer, 0 or more. Without it block i, "blocks.i" somewhere in
            the name (or block, layers, layer, h, resblocks, stages; the first counts), is layer i + 1; what comes
            before the first block, in the order given, is layer 0, and what comes after a block and is none itself is
            the layer after the last block.

    Returns:
        Dicts of "name", "params" (pairs of name and parameter) and what the rules set of "lr" and "weight_decay".

    Raises:
        TypeError, ValueError: an argument cannot be used; a pattern matches no parameter, or none that earlier ones
            leave; a parameter has no name, or a name comes twice; no block is found, or blocks in two places; a factor
            comes without `lr`.

    >>> params = {name: np.ones((2, 2)) for name in ("embed", "blocks.0.w", "blocks.1.w", "head")}
    >>> for group in groups(params, lr=1.0, weight_decay=0.05, layer_decay=0.5):
    ...     print(group["name"], group["lr"], group["weight_decay"])
    layer_0_decay 0.125 0.05
    layer_1_decay 0.25 0.05
    layer_2_decay 0.5 0.05
    layer_3_decay 1.0 0.05
    """
    lr = None if lr is None else non_negative("groups: lr", lr)
    weight_decay = None if weight_decay is None else non_negative("groups: weight_decay", weight_decay)
    layer_decay = None if layer_decay is None else positive_unit("groups: layer_decay", layer_decay)
    if layer_of is not None and layer_decay is None:
        raise ValueError("groups: layer_of has no use without layer_decay; give both or none.")
    if lr is None and not (lr_scale is None and layer_decay is None):
        given = "lr_scale" if lr_scale is not None else "layer_decay"
        raise ValueError(f"groups: {given} multiplies a learning rate; give that too, as lr.")
    params = _named(named_params)
    arrays = {name: _array(name, param) for name, param in params.items()}
    decays = _decays(no_decay, arrays)
    layers = {} if layer_decay is None else _layers(layer_of, list(params))
    scales = {} if lr_scale is None else _scales(lr_scale, arrays)
    members: dict[_Rules, list[tuple[str, Any]]] = {}
    for name, param in params.items():
        rules = _Rules(decays.get(name), layers.get(name), scales.get(name))
        members.setdefault(rules, []).append((name, param))
    last = max(layers.values(), default=0)
    result = []
    for rules, pairs in members.items():
        group: dict[str, Any] = {"name": rules.name, "params": pairs}
        if lr is not None:
            group["lr"] = lr if rules.scale is None else lr * rules.scale
            if layer_decay is not None and rules.layer is not None:
                group["lr"] *= layer_decay ** (last - rules.layer)
            non_negative(f"groups: lr of {rules.name!r}", group["lr"])
        if rules.decays is False:
            group["weight_decay"] = 0.0
        elif weight_decay is not None:
            group["weight_decay"] = weight_decay
        result.append(group)
    return result


def _named(named_params: object) -> dict[str, Any]:
    """Return parameters by name."""
    result: dict[str, Any] = {}
    for i, (given, param) in enumerate(as_named("groups", "named_params", named_params)):
        name = getattr(param, "name", None) if given is None else given
        if not isinstance(name, str):
            raise TypeError(
                f"groups: named_params[{i}] ({describe(param)}) has no name; expected a dict of name to parameter, or "
                "(name, parameter) pairs."
            )
        if name in result:
            raise ValueError(f"groups: two parameters are named {name!r}; each needs a name of its own.")
        result[name] = param
    return result


def _array(name: str, param: Any) -> Array:
    """Return the array of a parameter; the optimizer will see whether it can be updated."""
    has_gradient = hasattr(param, "grad") and hasattr(param, "data")
    array = as_array(param.data if has_gradient else param, f"groups: {name!r}")
    if array is None:
        raise TypeError(f"groups: {name!r} is {describe(param)}; expected an array or a Parameter.")
    return array


def _decays(no_decay: Any, arrays: Mapping[str, Array]) -> dict[str, bool]:
    """Return whether each parameter has weight decay; nothing where no rule says so."""
    if no_decay is None:
        return {}
    if callable(no_decay):
        said = {name: no_decay(name, array) for name, array in arrays.items()}
        plain = {name: bool(value) if isinstance(value, np.bool_) else value for name, value in said.items()}
        return {name: not flag(f"groups: no_decay of {name!r}", value) for name, value in plain.items()}
    if isinstance(no_decay, str) or not isinstance(no_decay, Iterable):
        raise TypeError(
            f"groups: no_decay={shown(no_decay)}; expected a list of patterns such as ['bias', 'pos_embed'], or a "
            "function of name and array."
        )
    patterns = list(no_decay)
    if no_decay is _NO_DECAY:  # a network need not have them
        patterns = [pattern for pattern in _NO_DECAY if any(matches(pattern, name) for name in arrays)]
    matched = set(matching("groups: no_decay", patterns, {name: name for name in arrays}))
    return {name: array.ndim > 1 and name not in matched for name, array in arrays.items()}


def _scales(lr_scale: Any, arrays: Mapping[str, Array]) -> dict[str, float]:
    """Return the factor of each parameter's learning rate."""
    if callable(lr_scale):
        return {
            name: non_negative(f"groups: lr_scale of {name!r}", lr_scale(name, array)) for name, array in arrays.items()
        }
    if not isinstance(lr_scale, Mapping):
        raise TypeError(
            f"groups: lr_scale={shown(lr_scale)}; expected a dict of pattern to factor such as {{'head': 10}}, or a "
            "function of name and array."
        )
    result: dict[str, float] = {}
    for pattern, given in lr_scale.items():
        factor = non_negative(f"groups: lr_scale[{pattern!r}]", given)
        matched = [
            name
            for name in matching("groups: lr_scale", [pattern], {name: name for name in arrays})
            if name not in result
        ]
        if not matched:
            raise ValueError(
                f"groups: lr_scale: {pattern!r} matches no parameter that the patterns before it leave; the first that "
                "matches counts. Put it before them."
            )
        result |= dict.fromkeys(matched, factor)
    return {name: result.get(name, 1.0) for name in arrays}


def _layers(layer_of: Any, names: list[str]) -> dict[str, int]:
    """Return the layer of each parameter."""
    if layer_of is not None:
        if not callable(layer_of):
            raise TypeError(f"groups: layer_of={shown(layer_of)}; expected a function of a parameter's name.")
        return {name: whole(f"groups: layer_of({name!r})", layer_of(name)) for name in names}
    blocks = {name: found for name in names if (found := _block(name)) is not None}
    places = {place for place, _ in blocks.values()}
    if len(places) != 1:
        problem = (
            "no name has a block such as 'blocks.0'"
            if not places
            else f"there are blocks in {len(places)} places, {', '.join(map(repr, sorted(places)))}"
        )
        raise ValueError(f"groups: layer_decay: {problem}; give layer_of, a function of a name that returns its layer.")
    last = max(number for _, number in blocks.values()) + 1
    result: dict[str, int] = {}
    outside = 0  # the layer of what is in no block, at first before all of them
    for name in names:
        if name in blocks:
            result[name] = blocks[name][1] + 1
            outside = last + 1
        else:
            result[name] = outside
    return result


def _block(name: str) -> tuple[str, int] | None:
    """Return where in the network the block of a parameter is, and its number."""
    components = name.split(".")
    for i, (component, number) in enumerate(pairwise(components), 1):
        if component in _BLOCKS and number.isdecimal() and len(number) < 10:
            return ".".join(components[:i]), int(number)
    return None
