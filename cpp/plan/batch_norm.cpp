#include "plan/batch_norm.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "isa/select.hpp"

namespace ravine {
namespace {

using Of = BatchNormCoefficient;

NormalizationArrays arrays_of(const BatchNormForward& work) {
  NormalizationArrays arrays{};
  arrays.x = work.x;
  arrays.z = work.z;
  arrays.result = work.y;
  arrays.mask = work.mask;
  return arrays;
}

NormalizationArrays arrays_of(const BatchNormBackward& work) {
  NormalizationArrays arrays{};
  arrays.x = work.x;
  arrays.dy = work.dy;
  arrays.result = work.dx;
  arrays.dz = work.dz;
  arrays.mask = work.mask;
  return arrays;
}

// Sets the coefficients of the forward pass. The backward pass computes them again, to the same bits.
template <class V>
void set_forward(Normalization<V>& normalization, std::int64_t c, const BatchNormSaved& saved) {
  const V center = V(saved.mean[c]);
  normalization.coefficients[Of::center][c] = center;
  normalization.coefficients[Of::scale][c] = V(saved.scale[c]);
  normalization.coefficients[Of::shift][c] = V(saved.shift[c] - (saved.mean[c] - double(center)) * saved.scale[c]);
}

template <class V>
double value_or(const void* array, std::int64_t i, double otherwise) {
  return array ? double(static_cast<const V*>(array)[i]) : otherwise;
}

// A value of each channel, most likely near its mean: the median of its first, middle and last, so that one value far
// off does no harm. Sums about it lose no accuracy, and are exactly 0 where all values are the same.
template <class V>
class Pivots {
 public:
  Pivots(const GroupedShape& shape, const void* x) : x_(static_cast<const V*>(x)), length_(shape.inner) {
    const std::int64_t count = shape.elements_of_group();
    for (int k = 0; k < 3; ++k) {
      const std::int64_t i = k == 0 ? 0 : k == 1 ? count / 2 : count - 1;
      at_[k] = i / shape.inner * shape.groups * shape.inner + i % shape.inner;
    }
  }

  double operator()(std::int64_t c) const {
    const V* const channel = x_ + c * length_;
    const V first = channel[at_[0]], middle = channel[at_[1]], last = channel[at_[2]];
    return double(std::max(std::min(first, middle), std::min(std::max(first, middle), last)));
  }

 private:
  const V* x_;
  std::int64_t length_;
  std::int64_t at_[3];  // of the three in the first channel
};

template <class V>
void average(void* running, std::int64_t c, double momentum, double value) {
  if (!running) return;
  V& mean = static_cast<V*>(running)[c];
  mean = V(momentum * value + (1 - momentum) * double(mean));
}

template <class V>
class Forward final : public GroupFormula {
 public:
  explicit Forward(const BatchNormForward& work)
      : work_(work), normalization_(work.shape, arrays_of(work)), count_(double(work.shape.elements_of_group())) {
    for (auto* values : {&saved_.mean, &saved_.inv, &saved_.scale, &saved_.shift})
      values->resize(std::size_t(work.shape.groups));
  }

  BatchNormSaved run() {
    const BatchNormKernels& kernels = isa::active().layers->batch_norm;
    const NormalizationPass& forward = kernels.forward[int(work_.fused)];
    if (work_.training) {
      pivots_.resize(std::size_t(work_.shape.groups));
      normalization_.reduce_then_apply(kernels.moments, pivots_.data(), *this, forward);
    } else {
      for (std::int64_t c = 0; c < work_.shape.groups; ++c)
        set(c, value_or<V>(work_.running_mean, c, 0), value_or<V>(work_.running_var, c, 1));
      normalization_.apply(forward);
    }
    return std::move(saved_);
  }

  void start(std::int64_t begin, std::int64_t end) override {
    const Pivots<V> pivot(work_.shape, work_.x);
    for (std::int64_t c = begin; c < end; ++c) pivots_[c] = pivot(c);
  }

  void finish(std::int64_t begin, std::int64_t end, const double* sum, const double* squares) override {
    for (std::int64_t c = begin; c < end; ++c) {
      const double mean = sum[c] / count_;
      const double deviations = std::max(squares[c] - sum[c] * mean, 0.0);
      set(c, pivots_[c] + mean, deviations / count_);
      average<V>(work_.running_mean, c, work_.momentum, pivots_[c] + mean);
      average<V>(work_.running_var, c, work_.momentum, deviations / (count_ - 1));
    }
  }

 private:
  void set(std::int64_t c, double mean, double variance) {
    saved_.mean[c] = mean;
    saved_.inv[c] = 1 / std::sqrt(variance + work_.eps);
    saved_.scale[c] = value_or<V>(work_.weight, c, 1) * saved_.inv[c];
    saved_.shift[c] = value_or<V>(work_.bias, c, 0);
    set_forward(normalization_, c, saved_);
  }

  const BatchNormForward& work_;
  Normalization<V> normalization_;
  BatchNormSaved saved_;
  std::vector<double> pivots_;
  double count_;
};

template <class V>
void add_to(void* gradient, std::int64_t c, double value) {
  if (!gradient) return;
  V& sum = static_cast<V*>(gradient)[c];
  sum = V(double(sum) + value);
}

template <class V>
class Backward final : public GroupFormula {
 public:
  Backward(const BatchNormBackward& work, const BatchNormSaved& saved)
      : work_(work),
        saved_(saved),
        normalization_(work.shape, arrays_of(work)),
        count_(double(work.shape.elements_of_group())) {}

  void run() {
    const BatchNormKernels& kernels = isa::active().layers->batch_norm;
    const int fused = int(work_.fused);
    const NormalizationPass& backward = (work_.training ? kernels.backward : kernels.backward_evaluation)[fused];
    if (work_.training || work_.weight_gradient || work_.bias_gradient) {
      normalization_.reduce_then_apply(kernels.backward_sums[fused], saved_.mean.data(), *this, backward);
    } else {
      start(0, work_.shape.groups);
      normalization_.apply(backward);
    }
  }

  void start(std::int64_t begin, std::int64_t end) override {
    for (std::int64_t c = begin; c < end; ++c) set_forward(normalization_, c, saved_);
  }

  void finish(std::int64_t begin, std::int64_t end, const double* sum, const double* products) override {
    for (std::int64_t c = begin; c < end; ++c) {
      // dx = (dy - mean(dy) - (x - mean) inv^2 mean(dy (x - mean))) scale
      const double slope = -(saved_.inv[c] * saved_.inv[c]) * (products[c] / count_);
      const double center = double(normalization_.coefficients[Of::center][c]);
      normalization_.coefficients[Of::slope][c] = V(slope);
      normalization_.coefficients[Of::offset][c] = V(-(sum[c] / count_) - slope * (saved_.mean[c] - center));
      add_to<V>(work_.weight_gradient, c, products[c] * saved_.inv[c]);
      add_to<V>(work_.bias_gradient, c, sum[c]);
    }
  }

 private:
  const BatchNormBackward& work_;
  const BatchNormSaved& saved_;
  Normalization<V> normalization_;
  double count_;
};

}  // namespace

BatchNormSaved run(const BatchNormForward& work) {
  return work.shape.dtype == Dtype::float32 ? Forward<float>(work).run() : Forward<double>(work).run();
}

void run(const BatchNormBackward& work, const BatchNormSaved& saved) {
  work.shape.dtype == Dtype::float32 ? Backward<float>(work, saved).run() : Backward<double>(work, saved).run();
}

}  // namespace ravine
