// A fixed list of names, the empty one included.
#pragma once

namespace ravine {

template <int count>
struct Names {
  static constexpr int size = count;
  const char* name[count + 1];  // a null pointer ends it
};

template <class... Name>
constexpr Names<int(sizeof...(Name))> names(Name... name) {
  return {{name..., nullptr}};
}

}  // namespace ravine
