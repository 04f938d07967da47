#include "plan/normalization.hpp"

#include <algorithm>

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

// Neighbouring elements of a tile, where it spans less than all groups.
constexpr std::int64_t tile_run = 1 << 12;
constexpr std::int64_t column_tile_run = 1 << 10;
constexpr std::int64_t max_columns = 2048;  // of a tile whose columns share coefficients
static_assert(lanes * (least_plane - 1) < max_columns && column_tile_run <= max_columns, "");

// The array cut into blocks: tiles of groups times segments of the rows.
class Grid {
 public:
  explicit Grid(const GroupedShape& shape) : shape_(shape), row_(shape.groups * shape.inner) {
    const std::int64_t groups = shape.groups;
    const std::int64_t length = shape.inner;
    if (shape.size() == 0) return;  // nothing to cut
    if (length >= least_plane) {
      scheme = Scheme::planes;
      groups_per_tile_ = std::min({std::max(tile_run / length, std::int64_t(1)), groups, std::int64_t(max_planes)});
      rows_ = shape.outer;
      pieces_ = divide_up(length, 2 * plane_segment);
      piece_ = divide_up(divide_up(length, pieces_), lanes) * lanes;
      rows_per_segment_ = pieces_ > 1 ? 1 : std::max(plane_segment / length, std::int64_t(1));
    } else {
      scheme = Scheme::columns;
      fold = divide_up(few_columns, row_);
      rows_ = divide_up(shape.outer, fold);
      rows_per_segment_ = std::max(least_rows, column_segment / (fold * row_));
      groups_per_tile_ = groups;
      if (fold == 1 && length > 1) {
        groups_per_tile_ = lanes * std::max(column_tile_run / (lanes * length), std::int64_t(1));
      }
    }
    tiles = divide_up(groups, groups_per_tile_);
    segments = divide_up(rows_, rows_per_segment_) * pieces_;
  }

  Scheme scheme = Scheme::columns;
  std::int64_t fold = 1;  // rows of the array in a row of columns
  std::int64_t tiles = 0, segments = 0;

  std::int64_t first_group(std::int64_t tile) const { return std::min(tile * groups_per_tile_, shape_.groups); }

  // Whether a group has several columns of a row, so that what is of the group has to be spread over them.
  bool needs_columns() const { return scheme == Scheme::columns && (fold > 1 || shape_.inner > 1); }

  std::int64_t mask_words() const {
    return scheme == Scheme::planes ? shape_.outer * shape_.groups * divide_up(shape_.inner, lanes)
                                    : rows_ * divide_up(fold * row_, lanes);
  }

  // Calls f(block, element, group, mask word) for the blocks of a tile and segment, with where they begin.
  template <class F>
  void for_blocks(std::int64_t tile, std::int64_t segment, const F& f) const {
    const std::int64_t group = first_group(tile);
    const std::int64_t groups = first_group(tile + 1) - group;
    const std::int64_t row = segment / pieces_ * rows_per_segment_;
    const std::int64_t rows = std::min(rows_per_segment_, rows_ - row);
    NormalizationBlock block{};
    block.rows = rows;
    block.stride = fold * row_;
    block.groups = groups;
    block.length = shape_.inner;
    if (scheme == Scheme::planes) {
      const std::int64_t begin = segment % pieces_ * piece_;
      block.length = std::min(piece_, shape_.inner - begin);
      block.mask_plane_stride = divide_up(shape_.inner, lanes);
      block.mask_stride = shape_.groups * block.mask_plane_stride;
      f(block, row * row_ + group * shape_.inner + begin, group,
        row * block.mask_stride + group * block.mask_plane_stride + begin / lanes);
      return;
    }
    block.mask_stride = divide_up(block.stride, lanes);
    block.groups *= fold;
    const std::int64_t column = group * shape_.inner;
    const std::int64_t missing = rows_ * fold - shape_.outer;  // of the last row of columns
    const bool cut = missing > 0 && row + rows == rows_;
    block.rows -= cut;
    if (block.rows > 0) f(block, row * block.stride + column, group, row * block.mask_stride + column / lanes);
    if (!cut) return;
    const std::int64_t last = row + block.rows;
    block.rows = 1;
    block.groups -= missing * groups;
    f(block, last * block.stride + column, group, last * block.mask_stride + column / lanes);
  }

  // Writes the value of each column of a tile, from those of all groups.
  template <class T>
  void spread(std::int64_t tile, const T* of_group, T* of_column) const {
    const T* const begin = of_group + first_group(tile);
    const T* const end = of_group + first_group(tile + 1);
    T* to = of_column;
    if (shape_.inner == 1)
      to = std::copy(begin, end, to);
    else
      for (const T* value = begin; value < end; ++value) to = std::fill_n(to, shape_.inner, *value);
    // The other rows of the array: as much again of what is there.
    const std::int64_t columns = fold * (to - of_column);
    for (std::int64_t done = to - of_column; done < columns; done *= 2)
      std::copy_n(of_column, std::min(done, columns - done), of_column + done);
  }

 private:
  GroupedShape shape_;
  std::int64_t row_;       // elements of an outer index
  std::int64_t rows_ = 0;  // of planes, or of columns
  std::int64_t rows_per_segment_ = 0;
  std::int64_t groups_per_tile_ = 0;
  std::int64_t pieces_ = 1;  // of a plane
  std::int64_t piece_ = 0;   // its elements
};

// Runs passes over an array.
template <class V>
class BlockRunner {
 public:
  BlockRunner(const GroupedShape& shape, const NormalizationArrays& arrays, const std::vector<V>* coefficients)
      : shape_(shape),
        arrays_(arrays),
        coefficients_(coefficients),
        share_(threads::share_of(slower_than_a_step * shape.bytes() *
                                 (2 + (arrays.z != nullptr) + (arrays.dy != nullptr) + (arrays.dz != nullptr)))),
        grid_(shape),
        streaming_(memory::is_huge(shape.bytes())) {}

  void apply(const NormalizationPass& application) {
    each_block([&](std::int64_t tile, std::int64_t segment) {
      apply_block(application, tile, segment, memory::is_large(shape_.bytes()));
    });
  }

  void reduce_then_apply(const NormalizationPass& reduction, const double* about, GroupFormula& formula,
                         const NormalizationPass& application) {
    about_ = about;
    totals_.assign(std::size_t(2 * std::max(grid_.segments, std::int64_t(1)) * shape_.groups), 0.0);
    const auto start_tile = [&](std::int64_t tile) {
      formula.start(grid_.first_group(tile), grid_.first_group(tile + 1));
    };
    const auto finish_tile = [&](std::int64_t tile) {
      const std::int64_t begin = grid_.first_group(tile), end = grid_.first_group(tile + 1);
      for (std::int64_t segment = 1; segment < grid_.segments; ++segment)
        for (const int which : {0, 1})
          for (std::int64_t group = begin; group < end; ++group) total(0, which)[group] += total(segment, which)[group];
      formula.finish(begin, end, total(0, 0), total(0, 1));
    };
    const std::int64_t tile_bytes = shape_.bytes() / std::max(grid_.tiles, std::int64_t(1));
    if (share_.threads == 1 || grid_.tiles >= 4 * share_.threads) {
      // A tile of groups after the other: what was just summed is still in a cache, the last of it in the nearest.
      each(grid_.tiles, [&](std::int64_t tile) {
        start_tile(tile);
        for (std::int64_t segment = 0; segment < grid_.segments; ++segment) reduce_block(reduction, tile, segment);
        finish_tile(tile);
        for (std::int64_t segment = grid_.segments; segment-- > 0;)
          apply_block(application, tile, segment, memory::is_large(tile_bytes));
      });
      return;
    }
    for (std::int64_t tile = 0; tile < grid_.tiles; ++tile) start_tile(tile);
    each_block([&](std::int64_t tile, std::int64_t segment) { reduce_block(reduction, tile, segment); });
    for (std::int64_t tile = 0; tile < grid_.tiles; ++tile) finish_tile(tile);
    each_block([&](std::int64_t tile, std::int64_t segment) {
      apply_block(application, grid_.tiles - 1 - tile, grid_.segments - 1 - segment, memory::is_large(shape_.bytes()));
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

  // The sums of all groups over a segment; at last those over all segments stand in the first.
  double* total(std::int64_t segment, int which) { return totals_.data() + (2 * segment + which) * shape_.groups; }

  // What the columns of a tile have of their groups.
  struct Columns {
    alignas(64) double about[max_columns];
    alignas(64) V coefficients[max_coefficients][max_columns];
  };

  void spread_coefficients(const NormalizationPass& pass, std::int64_t tile, Columns& columns) const {
    for (int k = 0; k < pass.coefficients; ++k) grid_.spread(tile, coefficients_[k].data(), columns.coefficients[k]);
  }

  // Calls a pass's kernel for the blocks of a tile and segment, with what is of each column or else of each group.
  void run_blocks(const NormalizationPass& pass, std::int64_t tile, std::int64_t segment, bool from_memory,
                  const Columns* columns, double* first, double* second) const {
    const Dtype dtype = sizeof(V) == 4 ? Dtype::float32 : Dtype::float64;
    const NormalizationKernel kernel = pass.kernels[int(grid_.scheme)][int(dtype)];
    grid_.for_blocks(tile, segment,
                     [&](NormalizationBlock block, std::int64_t element, std::int64_t group, std::int64_t word) {
                       block.arrays.x = at(static_cast<const V*>(arrays_.x), element);
                       block.arrays.z = at(static_cast<const V*>(arrays_.z), element);
                       block.arrays.dy = at(static_cast<const V*>(arrays_.dy), element);
                       block.arrays.result = at(static_cast<V*>(arrays_.result), element);
                       block.arrays.dz = at(static_cast<V*>(arrays_.dz), element);
                       block.arrays.mask = at(arrays_.mask, word);
                       block.about = columns ? columns->about : at(about_, group);
                       for (int k = 0; k < max_coefficients; ++k)
                         block.coefficients[k] = columns ? columns->coefficients[k] : coefficients_[k].data() + group;
                       block.first = first;
                       block.second = second;
                       block.prefetching = from_memory;
                       block.streaming = streaming_;
                       kernel(block);
                     });
  }

  void reduce_block(const NormalizationPass& reduction, std::int64_t tile, std::int64_t segment) {
    const bool from_memory = memory::is_large(shape_.bytes());
    const std::int64_t group = grid_.first_group(tile);
    double* const first = total(segment, 0) + group;
    double* const second = total(segment, 1) + group;
    if (!grid_.needs_columns()) return run_blocks(reduction, tile, segment, from_memory, nullptr, first, second);
    const std::int64_t groups = grid_.first_group(tile + 1) - group;
    Columns columns;
    spread_coefficients(reduction, tile, columns);
    grid_.spread(tile, about_, columns.about);
    alignas(64) double sums[2][max_columns];
    for (double* of_columns : sums) std::fill_n(of_columns, grid_.fold * groups * shape_.inner, 0.0);
    run_blocks(reduction, tile, segment, from_memory, &columns, sums[0], sums[1]);
    for (std::int64_t f = 0; f < grid_.fold; ++f) {
      const std::int64_t column = f * groups * shape_.inner;
      isa::active().layers->normalization.columns_to_groups(sums[0] + column, sums[1] + column, groups, shape_.inner,
                                                            first, second);
    }
  }

  void apply_block(const NormalizationPass& application, std::int64_t tile, std::int64_t segment,
                   bool from_memory) const {
    if (!grid_.needs_columns()) return run_blocks(application, tile, segment, from_memory, nullptr, nullptr, nullptr);
    Columns columns;
    spread_coefficients(application, tile, columns);
    run_blocks(application, tile, segment, from_memory, &columns, nullptr, nullptr);
  }

  GroupedShape shape_;
  NormalizationArrays arrays_;
  const std::vector<V>* coefficients_;
  threads::Share share_;
  Grid grid_;
  bool streaming_;
  const double* about_ = nullptr;
  std::vector<double> totals_;
};

}  // namespace

std::int64_t GroupedShape::mask_words() const { return Grid(*this).mask_words(); }

template <class V>
Normalization<V>::Normalization(const GroupedShape& shape, const NormalizationArrays& arrays)
    : shape_(shape), arrays_(arrays) {
  for (std::vector<V>& values : coefficients) values.resize(std::size_t(shape.groups));
}

template <class V>
void Normalization<V>::apply(const NormalizationPass& application) const {
  BlockRunner<V>(shape_, arrays_, coefficients).apply(application);
}

template <class V>
void Normalization<V>::reduce_then_apply(const NormalizationPass& reduction, const double* about, GroupFormula& formula,
                                         const NormalizationPass& application) const {
  BlockRunner<V>(shape_, arrays_, coefficients).reduce_then_apply(reduction, about, formula, application);
}

template class Normalization<float>;
template class Normalization<double>;

}  // namespace ravine
