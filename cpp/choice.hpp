// Choosing one of a few alternatives by name, or a number by its digits.
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

// The number, of five digits at the most. Throws std::invalid_argument where `text` is no whole number of `least` or
// more.
inline int whole_number(const std::string& text, int least) {
  const bool whole = !text.empty() && text.size() < 6 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!whole || std::stoi(text) < least)
    throw std::invalid_argument("'" + text + "' is not a whole number, " + std::to_string(least) + " or more");
  return std::stoi(text);
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
