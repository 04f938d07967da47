// The kernels of the layers, compiled once for each instruction set: see family.cpp.
#include "layers/layers.hpp"

#include "isa/table.hpp"
#include "names.hpp"

namespace ravine {

extern const LayerKernels RAVINE_JOIN(layers, RAVINE_ISA);
const LayerKernels RAVINE_JOIN(layers, RAVINE_ISA) = layer_kernels();

}  // namespace ravine
