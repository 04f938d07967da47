// The kernels of the stages, compiled once for each instruction set: see family.cpp.
#include "isa/table.hpp"
#include "names.hpp"
#include "stages/average.hpp"
#include "stages/gradient.hpp"
#include "stages/modifiers.hpp"
#include "stages/norm.hpp"

namespace ravine {

#define RAVINE_NORM(kind) {norm_terms<NormTerm::kind, float>, norm_terms<NormTerm::kind, double>}

extern const StageTable RAVINE_JOIN(stages, RAVINE_ISA);
const StageTable RAVINE_JOIN(stages, RAVINE_ISA) = {
    {limit<float>, limit<double>},
    {set_zero<float>, set_zero<double>},
    {average<float>, average<double>},
    {RAVINE_NORM(absolute), RAVINE_NORM(square), RAVINE_NORM(power), RAVINE_NORM(greatest)},
    {copy<float>, copy<double>},
    {shrink<float>, shrink<double>},
    {update_sums<float>, update_sums<double>},
    {modify<float>, modify<double>}};

}  // namespace ravine
