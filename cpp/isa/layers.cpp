// The kernels of the layers, compiled once for each instruction set: see family.cpp.
#include "isa/table.hpp"
#include "layers/batch_norm.hpp"
#include "layers/dropout.hpp"
#include "names.hpp"

namespace ravine {

extern const LayerTable RAVINE_JOIN(layers, RAVINE_ISA);
const LayerTable RAVINE_JOIN(layers, RAVINE_ISA) = {
    batch_norm_kernels(std::make_integer_sequence<int, batch_norm_pass_count>()),
    {draw_masks, {drop<float>, drop<double>}}};

}  // namespace ravine
