// Batch normalisation of a whole array: which blocks, in which order, by which thread. Knows nothing of Python.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/kernels.hpp"

namespace ravine {

// Element (n, c, l) of the array stands at (n * channels + c) * length + l. Channels-last and 2-d arrays have length 1.
struct BatchNormShape {
  std::int64_t samples, channels, length;
  Dtype dtype;

  std::int64_t size() const { return samples * channels * length; }
  std::int64_t bytes() const { return size() * item_size(dtype); }
  std::int64_t mask_words() const;  // of Fused::add_relu
};

// What the backward pass needs of the forward pass, for each channel: y = (x - mean) scale + shift before what is
// fused, where inv = 1 / sqrt(variance + eps), scale = weight inv and shift = bias.
struct BatchNormSaved {
  std::vector<double> mean, inv, scale, shift;
};

// Arrays have the dtype of the shape; a null pointer stands for "none".
struct BatchNormForward {
  BatchNormShape shape;
  Fused fused;
  const void *x, *z;
  const void *weight, *bias;
  void *running_mean, *running_var;
  bool training;    // whether to use, and average into the running ones, the statistics of x
  double momentum;  // how much of the running statistics is replaced
  double eps;
  void* y;
  std::uint16_t* mask;
};

struct BatchNormBackward {
  BatchNormShape shape;
  Fused fused;
  const void *dy, *x;
  const std::uint16_t* mask;
  bool training;
  void *dx, *dz;
  void *weight_gradient, *bias_gradient;  // which are added to
};

BatchNormSaved run(const BatchNormForward& work);
void run(const BatchNormBackward& work, const BatchNormSaved& saved);

}  // namespace ravine
