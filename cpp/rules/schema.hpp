// What a rule declares beside its formula. rules.hpp tells what each of it means.
#pragma once

#include "kernel.hpp"

namespace ravine {

// How many elements a state array has: one for each element, row or column of its parameter. Scratch is as large as the
// parameter, and nothing of it is kept from step to step.
enum class StateKind { element, row, column, scratch };

struct State {
  const char* name = nullptr;
  StateKind kind = StateKind::element;

  constexpr State() = default;
  constexpr State(const char* of_name, StateKind of_kind = StateKind::element) : name(of_name), kind(of_kind) {}
};

constexpr State one_a_row(const char* name) { return {name, StateKind::row}; }
constexpr State one_a_column(const char* name) { return {name, StateKind::column}; }
constexpr State scratch(const char* name) { return {name, StateKind::scratch}; }

// A fixed list, the empty one included.
template <class T, int count>
struct List {
  static constexpr int size = count;
  T items[count + 1];
};

template <class... Items>
constexpr List<State, int(sizeof...(Items))> states(Items... items) {
  return {{State(items)..., State()}};
}

template <class... Names>
constexpr List<const char*, int(sizeof...(Names))> names(Names... items) {
  return {{items..., nullptr}};
}

// The weight decays that a rule may be combined with.
struct Decays {
  bool coupled = false, decoupled = false;

  constexpr bool has(Decay decay) const {
    return decay == Decay::none || (decay == Decay::coupled ? coupled : decoupled);
  }
};

constexpr Decays no_decay{false, false};
constexpr Decays coupled_decay{true, false};
constexpr Decays decoupled_decay{false, true};
constexpr Decays either_decay{true, true};

// The hyper-parameters that a rule's `prepare` is given: a struct of doubles, and their names, which Python gives them
// too.
#define RAVINE_HYPER(...) \
  struct Hyper {          \
    double __VA_ARGS__;   \
  };                      \
  static constexpr const char* hyper = #__VA_ARGS__

}  // namespace ravine
