#include "plan/batch_norm.hpp"

#include <algorithm>
#include <cmath>

#include "isa/select.hpp"
#include "plan/measures.hpp"
#include "plan/memory.hpp"
#include "threads/threads.hpp"

namespace ravine {
namespace {

// Shorter planes are treated as columns: their last, incomplete sixteen elements would cost too much.
constexpr std::int64_t least_plane = 128;

// --- What follows decides the order in which sums are added, so it depends on the shape alone.

// Elements of a segment of planes, and of columns.
constexpr std::int64_t plane_segment = 1 << 14;
constexpr std::int64_t column_segment = 1 << 16;
constexpr std::int64_t least_rows = 64;  // of a segment of columns: there is a sum for each column

// So few columns are too few for vectors; as many rows as make up for it are taken as one.
constexpr std::int64_t few_columns = 1024;

// --- What follows does not.

// Neighbouring elements of a tile, where it spans less than all channels.
constexpr std::int64_t tile_run = 1 << 12;
constexpr std::int64_t column_tile_run = 1 << 10;
constexpr std::int64_t max_columns = 2048;  // of a tile whose columns share coefficients
static_assert(lanes * (least_plane - 1) < max_columns && column_tile_run <= max_columns, "");

// The array cut into blocks: tiles of channels times segments of the rows.
class Grid {
 public:
  explicit Grid(const BatchNormShape& shape) : shape_(shape), row_(shape.channels * shape.length) {
    const std::int64_t channels = shape.channels;
    const std::int64_t length = shape.length;
    if (length >= least_plane) {
      scheme = Scheme::planes;
      channels_per_tile_ = std::min({std::max(tile_run / length, std::int64_t(1)), channels, std::int64_t(max_planes)});
      rows_ = shape.samples;
      pieces_ = divide_up(length, 2 * plane_segment);
      piece_ = divide_up(divide_up(length, pieces_), lanes) * lanes;
      rows_per_segment_ = pieces_ > 1 ? 1 : std::max(plane_segment / length, std::int64_t(1));
    } else {
      scheme = Scheme::columns;
      fold = divide_up(few_columns, row_);
      rows_ = divide_up(shape.samples, fold);
      rows_per_segment_ = std::max(least_rows, column_segment / (fold * row_));
      channels_per_tile_ = channels;
      if (fold == 1 && length > 1) {
        channels_per_tile_ = lanes * std::max(column_tile_run / (lanes * length), std::int64_t(1));
      }
    }
    tiles = divide_up(channels, channels_per_tile_);
    segments = divide_up(rows_, rows_per_segment_) * pieces_;
  }

  Scheme scheme;
  std::int64_t fold = 1;  // rows of the array in a row of columns
  std::int64_t tiles, segments;

  std::int64_t first_channel(std::int64_t tile) const { return std::min(tile * channels_per_tile_, shape_.channels); }

  // Whether every column has coefficients of its own, as they stand in an array of all channels'.
  bool is_plain() const { return scheme == Scheme::columns && fold == 1 && shape_.length == 1; }

  std::int64_t mask_words() const {
    return scheme == Scheme::planes ? shape_.samples * shape_.channels * divide_up(shape_.length, lanes)
                                    : rows_ * divide_up(fold * row_, lanes);
  }

  // Calls f(block, element, channel, mask word) for the blocks of a tile and segment, with where they begin.
  template <class F>
  void for_blocks(std::int64_t tile, std::int64_t segment, const F& f) const {
    const std::int64_t channel = first_channel(tile);
    const std::int64_t channels = first_channel(tile + 1) - channel;
    const std::int64_t row = segment / pieces_ * rows_per_segment_;
    const std::int64_t rows = std::min(rows_per_segment_, rows_ - row);
    BatchNormBlock block{};
    block.rows = rows;
    block.stride = fold * row_;
    block.channels = channels;
    block.length = shape_.length;
    if (scheme == Scheme::planes) {
      const std::int64_t begin = segment % pieces_ * piece_;
      block.length = std::min(piece_, shape_.length - begin);
      block.mask_plane_stride = divide_up(shape_.length, lanes);
      block.mask_stride = shape_.channels * block.mask_plane_stride;
      f(block, row * row_ + channel * shape_.length + begin, channel,
        row * block.mask_stride + channel * block.mask_plane_stride + begin / lanes);
      return;
    }
    block.mask_stride = divide_up(block.stride, lanes);
    block.channels *= fold;
    const std::int64_t column = channel * shape_.length;
    const std::int64_t missing = rows_ * fold - shape_.samples;  // of the last row of columns
    const bool cut = missing > 0 && row + rows == rows_;
    block.rows -= cut;
    if (block.rows > 0) f(block, row * block.stride + column, channel, row * block.mask_stride + column / lanes);
    if (!cut) return;
    const std::int64_t last = row + block.rows;
    block.rows = 1;
    block.channels -= missing * channels;
    f(block, last * block.stride + column, channel, last * block.mask_stride + column / lanes);
  }

  // Writes the value of each column of a tile, from those of all channels.
  template <class T>
  void spread(std::int64_t tile, const T* of_channel, T* of_column) const {
    const T* const begin = of_channel + first_channel(tile);
    const T* const end = of_channel + first_channel(tile + 1);
    for (std::int64_t f = 0; f < fold; ++f) {
      if (shape_.length == 1)
        of_column = std::copy(begin, end, of_column);
      else
        for (const T* value = begin; value < end; ++value) of_column = std::fill_n(of_column, shape_.length, *value);
    }
  }

 private:
  BatchNormShape shape_;
  std::int64_t row_;   // elements of a sample
  std::int64_t rows_;  // of planes, or of columns
  std::int64_t rows_per_segment_;
  std::int64_t channels_per_tile_;
  std::int64_t pieces_ = 1;  // of a plane
  std::int64_t piece_ = 0;   // its elements
};

// The coefficients of all channels, in the type of the elements (kernels.hpp).
template <class V>
struct ChannelCoefficients {
  explicit ChannelCoefficients(std::int64_t channels)
      : center(channels), scale(channels), shift(channels), slope(channels), offset(channels) {}
  std::vector<V> center, scale, shift, slope, offset;

  // Those that the forward pass used, to the bit.
  void set_forward(std::int64_t c, const BatchNormSaved& saved) {
    center[c] = V(saved.mean[c]);
    scale[c] = V(saved.scale[c]);
    shift[c] = V(saved.shift[c] - (saved.mean[c] - double(center[c])) * saved.scale[c]);
  }
};

// The passes over an array, block by block.
template <class V>
class Passes {
 public:
  Passes(const BatchNormShape& shape, Fused fused, const void* x, const void* z, const void* dy, void* result, void* dz,
         std::uint16_t* mask)
      : coefficients(shape.channels),
        shape_(shape),
        fused_(fused),
        x_(static_cast<const V*>(x)),
        z_(static_cast<const V*>(z)),
        dy_(static_cast<const V*>(dy)),
        result_(static_cast<V*>(result)),
        dz_(static_cast<V*>(dz)),
        mask_(mask),
        share_(threads::share_of(slower_than_a_step * shape.bytes() *
                                 (2 + (z != nullptr) + (dy != nullptr) + (dz != nullptr)))),
        grid_(shape),
        streaming_(memory::is_huge(shape.bytes())) {}

  ChannelCoefficients<V> coefficients;

  // Calls start(channel) for each channel, which may set its value in `about`; sums over each (pass `sums`); calls
  // finish(channel, first, second) for each; then the pass `last` uses the coefficients that finish has set.
  template <class Start, class Finish>
  void sum_then(BatchNormPass sums, const double* about, const Start& start, const Finish& finish, BatchNormPass last) {
    about_ = about;
    totals_.assign(std::size_t(2 * grid_.segments * shape_.channels), 0.0);
    const auto start_tile = [&](std::int64_t tile) {
      for (std::int64_t c = grid_.first_channel(tile); c < grid_.first_channel(tile + 1); ++c) start(c);
    };
    const auto finish_tile = [&](std::int64_t tile) {
      for (std::int64_t c = grid_.first_channel(tile); c < grid_.first_channel(tile + 1); ++c) {
        double first = 0, second = 0;
        for (std::int64_t segment = 0; segment < grid_.segments; ++segment) {
          first += total(segment, 0)[c];
          second += total(segment, 1)[c];
        }
        finish(c, first, second);
      }
    };
    const std::int64_t tile_bytes = shape_.bytes() / std::max(grid_.tiles, std::int64_t(1));
    if (share_.threads == 1 || grid_.tiles >= 4 * share_.threads) {
      // A tile of channels after the other: what was just summed is still in a cache, the last of it in the nearest.
      each(grid_.tiles, [&](std::int64_t tile) {
        start_tile(tile);
        for (std::int64_t segment = 0; segment < grid_.segments; ++segment) sum_block(sums, tile, segment);
        finish_tile(tile);
        for (std::int64_t segment = grid_.segments; segment-- > 0;)
          apply_block(last, tile, segment, memory::is_large(tile_bytes));
      });
      return;
    }
    for (std::int64_t tile = 0; tile < grid_.tiles; ++tile) start_tile(tile);
    each_block([&](std::int64_t tile, std::int64_t segment) { sum_block(sums, tile, segment); });
    for (std::int64_t tile = 0; tile < grid_.tiles; ++tile) finish_tile(tile);
    each_block([&](std::int64_t tile, std::int64_t segment) {
      apply_block(last, grid_.tiles - 1 - tile, grid_.segments - 1 - segment, memory::is_large(shape_.bytes()));
    });
  }

  void apply(BatchNormPass pass) {
    each_block([&](std::int64_t tile, std::int64_t segment) {
      apply_block(pass, tile, segment, memory::is_large(shape_.bytes()));
    });
  }

 private:
  template <class F>
  void each(std::int64_t count, const F& f) {
    threads::run_in_parts(count, 1, share_, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) f(i);
    });
  }

  // In the order of memory.
  template <class F>
  void each_block(const F& f) {
    each(grid_.tiles * grid_.segments, [&](std::int64_t i) { f(i % grid_.tiles, i / grid_.tiles); });
  }

  double* total(std::int64_t segment, int which) { return totals_.data() + (2 * segment + which) * shape_.channels; }

  BatchNormKernel kernel(BatchNormPass pass) const {
    const Dtype dtype = sizeof(V) == 4 ? Dtype::float32 : Dtype::float64;
    return isa::active().layers->batch_norm.passes[int(pass)][int(grid_.scheme)][int(fused_)][int(dtype)];
  }

  struct Spread {
    alignas(64) double about[max_columns];
    alignas(64) V values[5][max_columns];
  };

  // Points a block to the coefficients of its channels, or of its columns.
  void set_coefficients(BatchNormBlock& block, BatchNormPass pass, std::int64_t tile, std::int64_t channel,
                        Spread* spread) const {
    struct Coefficient {
      const std::vector<V>* values;
      const void** field;
      bool used;
    };
    const bool backward = pass == BatchNormPass::backward;
    const Coefficient all[] = {{&coefficients.center, &block.center, pass != BatchNormPass::moments},
                               {&coefficients.scale, &block.scale, pass != BatchNormPass::moments},
                               {&coefficients.shift, &block.shift, pass != BatchNormPass::moments},
                               {&coefficients.slope, &block.slope, backward},
                               {&coefficients.offset, &block.offset, backward}};
    for (int k = 0; k < 5; ++k) {
      if (spread && all[k].used) grid_.spread(tile, all[k].values->data(), spread->values[k]);
      *all[k].field = spread ? spread->values[k] : all[k].values->data() + channel;
    }
    block.about = at(about_, channel);
    if (!spread || !(pass == BatchNormPass::moments || pass == BatchNormPass::backward_sums)) return;
    grid_.spread(tile, about_, spread->about);
    block.about = spread->about;
  }

  void set_arrays(BatchNormBlock& block, std::int64_t element, std::int64_t word, bool from_memory) const {
    block.x = at(x_, element);
    block.z = at(z_, element);
    block.dy = at(dy_, element);
    block.result = at(result_, element);
    block.dz = at(dz_, element);
    block.mask = at(mask_, word);
    block.prefetching = from_memory;
    block.streaming = streaming_;
  }

  void sum_block(BatchNormPass pass, std::int64_t tile, std::int64_t segment) {
    const BatchNormKernel sum = kernel(pass);
    double* const first = total(segment, 0) + grid_.first_channel(tile);
    double* const second = total(segment, 1) + grid_.first_channel(tile);
    if (grid_.scheme == Scheme::planes || grid_.is_plain()) {
      grid_.for_blocks(tile, segment,
                       [&](BatchNormBlock block, std::int64_t element, std::int64_t channel, std::int64_t word) {
                         set_arrays(block, element, word, memory::is_large(shape_.bytes()));
                         set_coefficients(block, pass, tile, channel, nullptr);
                         block.first = first;
                         block.second = second;
                         sum(block);
                       });
      return;
    }
    Spread spread;
    const std::int64_t channels = grid_.first_channel(tile + 1) - grid_.first_channel(tile);
    alignas(64) double of_columns[2][max_columns];
    for (double* sums : of_columns) std::fill_n(sums, grid_.fold * channels * shape_.length, 0.0);
    grid_.for_blocks(tile, segment,
                     [&](BatchNormBlock block, std::int64_t element, std::int64_t channel, std::int64_t word) {
                       set_arrays(block, element, word, memory::is_large(shape_.bytes()));
                       set_coefficients(block, pass, tile, channel, &spread);
                       block.first = of_columns[0];
                       block.second = of_columns[1];
                       sum(block);
                     });
    for (std::int64_t f = 0; f < grid_.fold; ++f) {
      const std::int64_t column = f * channels * shape_.length;
      isa::active().layers->batch_norm.fold(of_columns[0] + column, of_columns[1] + column, channels, shape_.length,
                                            first, second);
    }
  }

  void apply_block(BatchNormPass pass, std::int64_t tile, std::int64_t segment, bool from_memory) {
    const BatchNormKernel run = kernel(pass);
    const bool plain = grid_.scheme == Scheme::planes || grid_.is_plain();
    Spread spread;
    grid_.for_blocks(tile, segment,
                     [&](BatchNormBlock block, std::int64_t element, std::int64_t channel, std::int64_t word) {
                       set_arrays(block, element, word, from_memory);
                       set_coefficients(block, pass, tile, channel, plain ? nullptr : &spread);
                       run(block);
                     });
  }

  BatchNormShape shape_;
  Fused fused_;
  const V *x_, *z_, *dy_;
  V *result_, *dz_;
  std::uint16_t* mask_;
  threads::Share share_;
  Grid grid_;
  bool streaming_;
  const double* about_ = nullptr;
  std::vector<double> totals_;
};

template <class V>
double value_or(const void* array, std::int64_t i, double otherwise) {
  return array ? double(static_cast<const V*>(array)[i]) : otherwise;
}

// A value near the mean, where the channel does not go out of its way to hide it: the median of its first, middle and
// last. Sums about it lose no accuracy, and are exactly 0 where all values are the same.
template <class V>
class Pivots {
 public:
  Pivots(const BatchNormShape& shape, const void* x) : x_(static_cast<const V*>(x)), length_(shape.length) {
    const std::int64_t count = shape.samples * shape.length;
    for (int k = 0; k < 3; ++k) {
      const std::int64_t i = k == 0 ? 0 : k == 1 ? count / 2 : count - 1;
      at_[k] = i / shape.length * shape.channels * shape.length + i % shape.length;
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
BatchNormSaved forward(const BatchNormForward& work) {
  const BatchNormShape& shape = work.shape;
  Passes<V> passes(shape, work.fused, work.x, work.z, nullptr, work.y, nullptr, work.mask);
  BatchNormSaved saved;
  for (auto* values : {&saved.mean, &saved.inv, &saved.scale, &saved.shift})
    values->resize(std::size_t(shape.channels));
  const auto set = [&](std::int64_t c, double mean, double variance) {
    saved.mean[c] = mean;
    saved.inv[c] = 1 / std::sqrt(variance + work.eps);
    saved.scale[c] = value_or<V>(work.weight, c, 1) * saved.inv[c];
    saved.shift[c] = value_or<V>(work.bias, c, 0);
    passes.coefficients.set_forward(c, saved);
  };
  if (!work.training) {
    for (std::int64_t c = 0; c < shape.channels; ++c)
      set(c, value_or<V>(work.running_mean, c, 0), value_or<V>(work.running_var, c, 1));
    passes.apply(BatchNormPass::forward);
    return saved;
  }
  const Pivots<V> pivot(shape, work.x);
  std::vector<double> pivots(std::size_t(shape.channels));
  const double count = double(shape.samples * shape.length);
  const auto finish = [&](std::int64_t c, double sum, double squares) {
    const double mean = sum / count;
    const double deviations = std::max(squares - sum * mean, 0.0);
    set(c, pivots[c] + mean, deviations / count);
    average<V>(work.running_mean, c, work.momentum, pivots[c] + mean);
    average<V>(work.running_var, c, work.momentum, deviations / (count - 1));
  };
  passes.sum_then(
      BatchNormPass::moments, pivots.data(), [&](std::int64_t c) { pivots[c] = pivot(c); }, finish,
      BatchNormPass::forward);
  return saved;
}

template <class V>
void add_to(void* gradient, std::int64_t c, double value) {
  if (!gradient) return;
  V& sum = static_cast<V*>(gradient)[c];
  sum = V(double(sum) + value);
}

template <class V>
void backward(const BatchNormBackward& work, const BatchNormSaved& saved) {
  const BatchNormShape& shape = work.shape;
  Passes<V> passes(shape, work.fused, work.x, nullptr, work.dy, work.dx, work.dz,
                   const_cast<std::uint16_t*>(work.mask));
  ChannelCoefficients<V>& coefficients = passes.coefficients;
  const auto start = [&](std::int64_t c) { coefficients.set_forward(c, saved); };
  const BatchNormPass last = work.training ? BatchNormPass::backward : BatchNormPass::backward_evaluation;
  if (!work.training && !work.weight_gradient && !work.bias_gradient) {
    for (std::int64_t c = 0; c < shape.channels; ++c) start(c);
    return passes.apply(last);
  }
  const double count = double(shape.samples * shape.length);
  const auto finish = [&](std::int64_t c, double sum, double products) {
    // dx = (dy - mean(dy) - (x - mean) inv^2 mean(dy (x - mean))) scale
    const double slope = -(saved.inv[c] * saved.inv[c]) * (products / count);
    coefficients.slope[c] = V(slope);
    coefficients.offset[c] = V(-(sum / count) - slope * (saved.mean[c] - double(coefficients.center[c])));
    add_to<V>(work.weight_gradient, c, products * saved.inv[c]);
    add_to<V>(work.bias_gradient, c, sum);
  };
  passes.sum_then(BatchNormPass::backward_sums, saved.mean.data(), start, finish, last);
}

}  // namespace

std::int64_t BatchNormShape::mask_words() const { return Grid(*this).mask_words(); }

BatchNormSaved run(const BatchNormForward& work) {
  return work.shape.dtype == Dtype::float32 ? forward<float>(work) : forward<double>(work);
}

void run(const BatchNormBackward& work, const BatchNormSaved& saved) {
  work.shape.dtype == Dtype::float32 ? backward<float>(work, saved) : backward<double>(work, saved);
}

}  // namespace ravine
