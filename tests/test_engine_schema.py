"""What a rule declares, what a class makes of it, and what becomes of a rule or a class that is wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ravine import _core, optim
from ravine._hyper import flag, non_negative, one_of, pair_of_betas
from ravine.optim._rule_optimizer import Rule, RuleOptimizer

CPP = Path(__file__).parents[1] / "cpp"
COMPILER = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")

RIGHT = """
template <class V>
struct Mine {
  static constexpr const char* name = "mine";
  static constexpr auto states = ravine::states("memory");
  static constexpr Decays decays = no_decay;
  RAVINE_HYPER(lr, eps);
  V lr, eps;

  static Mine prepare(const Hyper& h, double /*t*/) { return {h.lr, h.eps}; }

  void operator()(V& p, V g, V& memory) const {
    memory = g + eps;
    p -= lr * memory;
  }
};
"""


def compiled(tmp_path, rule):
    """Return whether a rule compiles as one of a family, and what the compiler says."""
    (tmp_path / "mine.hpp").write_text(
        '#pragma once\n#include <cmath>\n#include "rules/arithmetic.hpp"\n#include "rules/schema.hpp"\n'
        "namespace ravine {\nnamespace {\n" + rule + "}\n}\n"
    )
    defines = [
        "-DRAVINE_ISA=baseline",
        "-DRAVINE_FAMILY=mine",
        '-DRAVINE_FAMILY_HEADER="mine.hpp"',
        "-DRAVINE_FAMILY_RULES=Mine",
    ]
    command = [COMPILER, "-std=c++17", "-fsyntax-only", f"-I{CPP}", f"-I{tmp_path}", *defines]
    for source in ("isa/family.cpp", "rules/family.cpp"):
        run = subprocess.run([*command, CPP / source], capture_output=True, text=True, check=False)
        if run.returncode:
            return False, run.stderr
    return True, ""


@pytest.mark.skipif(not COMPILER or not CPP.is_dir(), reason="needs a C++ compiler and the sources")
@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("V lr, eps;", "V lr;\n  bool eps;", "every coefficient of a rule is a V"),
        ("V lr, eps;", "V lr;\n  float eps;", "every coefficient of a rule is a V"),
        ("RAVINE_HYPER(lr, eps);", "RAVINE_HYPER(lr);", "has no member named"),
        (
            "no_decay;\n  RAVINE_HYPER(lr, eps)",
            "decoupled_decay;\n  RAVINE_HYPER(rate, eps)",
            "decoupled weight decay is in units of the hyper-parameter lr",
        ),
        ('states("memory")', 'states(one_a_row("memory"))', "only a factored rule keeps one_a_row or one_a_column"),
        ('states("memory")', 'states(scratch("memory"))', "scratch is what propose writes to"),
        (
            "V lr, eps;",
            "static constexpr bool is_factored = true;\n  V lr, eps;",
            "a factored rule keeps one_a_row and one_a_column",
        ),
        ("void operator()", "void other", "a rule has operator() or measure"),
    ],
)
def test_a_wrong_rule_does_not_compile(tmp_path, right, wrong, message):
    assert compiled(tmp_path, RIGHT) == (True, "")
    assert RIGHT.count(right) == 1
    compiles, says = compiled(tmp_path, RIGHT.replace(right, wrong))
    assert not compiles
    assert message in says


def made(checks, rule, switches=(), rules=None):
    """Return an optimizer of a class that declares these hyper-parameters and uses this rule."""

    class Mine(RuleOptimizer):
        _checks = checks
        _switches = switches
        _rules = rules or (rule.name,)

        def _rule(self, group):
            return rule

    defaults = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "maximize": False, "kind": "a"}
    return Mine([np.ones(3)], {name: defaults[name] for name in checks})


ADAM = {"lr": non_negative, "betas": pair_of_betas, "eps": non_negative}


def test_a_class_needs_no_more_than_its_rule():
    """Neither weight decay nor the direction are asked for."""
    mine, other = made(ADAM, Rule("adam", eps_root=0.0)), optim.Adam([np.ones(3)], lr=0.1)
    for optimizer in (mine, other):
        optimizer.step([np.array([1.0, -2.0, 3.0])])
    np.testing.assert_array_equal(mine.param_groups[0]["params"][0].data, other.param_groups[0]["params"][0].data)


@pytest.mark.parametrize(
    ("checks", "rule", "error", "message"),
    [
        (
            ADAM,
            Rule("adam"),
            ValueError,
            "Mine: its rule 'adam' takes eps_root, which Mine does not declare; it has",
        ),
        ({"betas": pair_of_betas}, Rule("lion"), ValueError, "its rule 'lion' takes lr, which Mine does not declare"),
        (
            ADAM,
            Rule("adam", eps_root=0.0, rho=1.0),
            ValueError,
            "its rule 'adam' takes no hyper-parameter 'rho'; it",
        ),
        (ADAM, Rule("adam", eps_root="epsilon"), ValueError, "takes 'eps_root' from 'epsilon', which no group has"),
        (ADAM, Rule("adam", eps_root="betas"), TypeError, "a number for 'eps_root', but Mine declares 'betas' as some"),
        (
            {**ADAM, "kind": one_of("a", "b")},
            Rule("adam", eps_root="kind"),
            TypeError,
            "takes a number for 'eps_root', but Mine declares 'kind' as something else",
        ),
        (ADAM, Rule("adams"), ValueError, "Mine: no rule is called 'adams'; there are sgd, momentum"),
        (
            {"lr": non_negative, "weight_decay": non_negative, "maximize": flag},
            Rule("lerp", weight="lr"),
            ValueError,
            "Mine: its rule 'lerp' takes no coupled weight decay",
        ),
    ],
)
def test_a_wrong_class_is_refused_at_construction(checks, rule, error, message):
    with pytest.raises(error, match=re.escape(message)):
        made(checks, rule)


def test_a_class_names_the_rules_that_it_may_use():
    with pytest.raises(ValueError, match=r"Mine: its rule 'adam' is not among its _rules \('amsgrad',\); add it"):
        made(ADAM, Rule("adam", eps_root=0.0), rules=("amsgrad",))


def plan(kind="element"):
    """Return a plan of one matrix of a group that is set for a rule without hyper-parameters to speak of."""
    rule = "adafactor_factored" if kind == "row" else "momentum"
    numbers = dict.fromkeys(_core.rules()[rule]["hyper"], 0.5)
    made_plan = _core.Plan(
        "Mine",
        [(_core.Pinned(np.ones((3, 5)), "Mine", "params[0]"), 0, np.zeros((), np.int64))],
        np.zeros((), np.int64),
        np.zeros((), np.int64),
    )
    made_plan.set_group(0, _core.Binding("Mine", rule, "none", numbers, {}, ()), {})
    return made_plan, rule


@pytest.mark.parametrize(
    ("kind", "states", "message"),
    [
        ("element", {"momentum_buffer": np.zeros((3, 1))}, "momentum keeps one of 15 elements (kind 'element')"),
        ("element", {"momentum_buffer": np.zeros((3, 5), np.float32)}, "does not fit its parameter"),
        (
            "element",
            {"buffer": np.zeros((3, 5))},
            "its rule 'momentum' keeps 'momentum_buffer', which it was not",
        ),
        (
            "element",
            {"momentum_buffer": np.zeros((3, 5)), "z": np.zeros((3, 5))},
            "fewer states or numbers than it was",
        ),
        ("row", {"row_var": np.zeros((1, 5)), "col_var": np.zeros((1, 5))}, "keeps one of 3 elements (kind 'row')"),
        ("row", {"row_var": np.zeros((3, 1)), "col_var": np.zeros((3, 1))}, "keeps one of 5 elements (kind 'column')"),
    ],
)
def test_states_of_another_kind_are_refused(kind, states, message):
    made_plan, rule = plan(kind)
    with pytest.raises(ValueError, match=re.escape(message)):
        made_plan.bind(0, rule, states, {})


def test_a_plan_steps_no_parameter_without_a_rule():
    made_plan, rule = plan()
    with pytest.raises(ValueError, match=r"params\[0\] was given no rule"):
        made_plan.step_as_set([np.ones((3, 5))])
    with pytest.raises(ValueError, match="its group was not set for the hyper-parameters of 'lion'"):
        made_plan.bind(0, "lion", {"exp_avg": np.zeros((3, 5))}, {})
    made_plan.bind(0, rule, {"momentum_buffer": np.zeros((3, 5))}, {})
    made_plan.step_as_set([np.ones((3, 5))])


def test_rules_say_what_they_keep():
    rules = _core.rules()
    assert rules["adam"] == {
        "hyper": ("lr", "beta1", "beta2", "eps", "eps_root"),
        "states": {"exp_avg": "element", "exp_avg_sq": "element"},
        "carried": (),
        "decays": ("coupled", "decoupled"),
        "is_sparse": False,
        "sums_over_group": False,
    }
    assert rules["adafactor_factored"]["states"] == {"row_var": "row", "col_var": "column"}
    assert rules["muon"]["states"] == {"momentum_buffer": "element", "direction": "scratch"}
    assert rules["nadam"]["carried"] == ("mu_product",)
    assert rules["sgd"]["is_sparse"]
    assert rules["prodigy"]["sums_over_group"]
