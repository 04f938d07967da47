// The kernels of all layers, for one instruction set. The list itself is at the end of kernels.hpp.
#pragma once

#include "layers/batch_norm.hpp"
#include "layers/dropout.hpp"
#include "layers/normalization.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

constexpr LayerKernels layer_kernels() { return {normalization_kernels(), batch_norm_kernels(), dropout_kernels()}; }

}  // namespace
}  // namespace ravine
