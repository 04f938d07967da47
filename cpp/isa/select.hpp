// The choice among the tables.
#pragma once

#include <string>
#include <vector>

#include "isa/table.hpp"

namespace ravine::isa {

// What this machine can run, from the baseline to the best.
std::vector<std::string> available();

// The table in use: the best available, until another is chosen.
const Table& active();

// Changes the table in use. Throws std::invalid_argument when `name` is unknown or cannot run here.
void use(const std::string& name);

}  // namespace ravine::isa
