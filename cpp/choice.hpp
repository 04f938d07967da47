// Choosing one of a few alternatives by name.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace ravine {

template <class Entry>
std::vector<std::string> names_of(const std::vector<const Entry*>& entries) {
  std::vector<std::string> names;
  for (const Entry* entry : entries) names.emplace_back(entry->name);
  return names;
}

// The entry called `name`. Throws std::invalid_argument, naming `what` is chosen and the names there are.
template <class Entry>
const Entry& choose(const std::string& what, const std::vector<const Entry*>& entries, const std::string& name) {
  std::string choices;
  for (const Entry* entry : entries) {
    if (name == entry->name) return *entry;
    choices += (choices.empty() ? "'" : ", '") + std::string(entry->name) + "'";
  }
  throw std::invalid_argument(what + " '" + name + "' is not available here; choose one of " + choices);
}

// Calls use(value) if the environment sets the variable.
inline void use_environment(const std::string& variable, void (*use)(const std::string& name)) {
  const char* value = std::getenv(variable.c_str());
  if (!value || !*value) return;
  try {
    use(value);
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(variable + ": " + error.what() + ", or unset " + variable);
  }
}

}  // namespace ravine
