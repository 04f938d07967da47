// The kernels of the stages, compiled once for each instruction set: see family.cpp.
#include "isa/table.hpp"
#include "names.hpp"
#include "stages/gradient.hpp"

namespace ravine {

extern const StageTable RAVINE_JOIN(stages, RAVINE_ISA);
const StageTable RAVINE_JOIN(stages, RAVINE_ISA) = {
    {unscale<float>, unscale<double>}, {set_zero<float>, set_zero<double>}, {add_squares<float>, add_squares<double>}};

}  // namespace ravine
