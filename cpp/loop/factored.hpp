// The passes of a rule that keeps, instead of a running mean for each element of a matrix, one for each row and one for
// each column.
#pragma once

#include "loop/elementwise.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

// What does not write the parameter.
template <class Rule, class V>
class FactoredMeans {
 public:
  struct Row {
    std::int64_t matrix, number, first;  // its number among those of all matrices, and its first element
    bool begins, ends;  // whether it is the first of its matrix in the block, or the last of its matrix
  };

  // Some rows of one matrix, or some whole matrices.
  struct Block {
    const Arrays& arrays;
    std::int64_t begin, end;

    const Factoring& factoring() const { return arrays.factoring; }
    double* column_sums() const { return factoring().column_sums + begin / factoring().block * factoring().columns; }

    // Calls f(row) for each.
    template <class F>
    void each_row(const F& f) const {
      const auto [rows, columns] = std::pair(factoring().rows, factoring().columns);
      Row row{begin / (rows * columns), begin / columns, begin, false, false};
      std::int64_t left = rows - row.number % rows;
      for (; row.first < end; row.first += columns, ++row.number) {
        row.begins = row.first == begin || left == rows;
        row.ends = --left == 0;
        f(row);
        if (row.ends) {
          left = rows;
          row.matrix += 1;
        }
      }
    }
  };

  template <class F>
  static void each_block(const Arrays& arrays, std::int64_t begin, std::int64_t end, const F& f) {
    const std::int64_t size = arrays.factoring.block;
    for (std::int64_t start = begin; start < end; start += size) f(Block{arrays, start, min_(end, start + size)});
  }

  static bool is_whole(const Arrays& arrays) { return arrays.factoring.block >= rows_times_columns(arrays); }
  static std::int64_t rows_times_columns(const Arrays& arrays) {
    return arrays.factoring.rows * arrays.factoring.columns;
  }

  static V* row_state(const Arrays& arrays) { return static_cast<V*>(arrays.states[0]); }
  static V* column_state(const Arrays& arrays) { return static_cast<V*>(arrays.states[1]); }

  // Renews the means of the rows, and sums up the columns of each block.
  static void moments(const Coefficients& c, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
    const auto rule = rounded<Rule, V>(c.rule);
    const std::int64_t columns = arrays.factoring.columns;
    const V* const gradient = static_cast<const V*>(arrays.gradient);
    const V scale = V(c.gradient_scale);
    if (rows_times_columns(arrays) == 1) return moments_of_ones(rule, scale, gradient, arrays, begin, end);
    each_block(arrays, begin, end, [&](const Block& block) {
      double* const sums = block.column_sums();
      block.each_row([&](const Row& row) {
        if (row.begins)
          for (std::int64_t j = 0; j < columns; ++j) sums[j] = 0;
        const double along = lane_sum(columns, [&](std::int64_t j) {
          const double g = double(scale * gradient[row.first + j]);
          sums[j] += g * g;
          return g * g;
        });
        renew(rule, row_state(arrays)[row.number], along / double(columns));
        if (is_whole(arrays) && row.ends) settle_matrix(rule, arrays, row.matrix, sums);
      });
    });
  }

  // The same for matrices of one element, such as those of a convolution by 1 x 1.
  static void moments_of_ones(const Rule& rule, V scale, const V* gradient, const Arrays& arrays, std::int64_t begin,
                              std::int64_t end) {
    V* const of_rows = row_state(arrays);
    V* const of_columns = column_state(arrays);
    double* const means = arrays.factoring.row_means;
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const double g = double(scale * gradient[i]);
      renew(rule, of_rows[i], g * g);
      renew(rule, of_columns[i], g * g);
      means[i] = double(of_rows[i]);
    }
  }

  // Renews the means of the columns, where a matrix has several blocks.
  static void settle(const Coefficients& c, const Arrays& arrays, std::int64_t /*begin*/, std::int64_t end) {
    if (is_whole(arrays)) return;
    const auto rule = rounded<Rule, V>(c.rule);
    const std::int64_t columns = arrays.factoring.columns;
    const std::int64_t size = rows_times_columns(arrays);
    for (std::int64_t first = 0; first < end; first += size) {
      double* const sums = Block{arrays, first, first}.column_sums();
      for (std::int64_t next = first + arrays.factoring.block; next < first + size; next += arrays.factoring.block) {
        const double* const more = Block{arrays, next, next}.column_sums();
        for (std::int64_t j = 0; j < columns; ++j) sums[j] += more[j];
      }
      settle_matrix(rule, arrays, first / size, sums);
    }
  }

  static void settle_matrix(const Rule& rule, const Arrays& arrays, std::int64_t matrix, const double* sums) {
    const std::int64_t rows = arrays.factoring.rows, columns = arrays.factoring.columns;
    V* const of_columns = column_state(arrays) + matrix * columns;
    for (std::int64_t j = 0; j < columns; ++j) renew(rule, of_columns[j], sums[j] / double(rows));
    const V* const of_rows = row_state(arrays) + matrix * rows;
    const double sum = lane_sum(rows, [&](std::int64_t i) { return double(of_rows[i]); });
    arrays.factoring.row_means[matrix] = sum / double(rows);
  }

  RAVINE_INLINE static void renew(const Rule& rule, V& mean, double now) {
    V renewed = mean;
    rule.average(V(now), renewed);
    mean = flush_(renewed);
  }

  // Calls f(first, n, v) for pieces of [begin, end), v being what stands for the running means of their n elements.
  template <class F>
  static void each_piece(const Rule& rule, const Arrays& arrays, std::int64_t begin, std::int64_t end, const F& f) {
    constexpr std::int64_t most = 1 << 10;  // a multiple of `lanes`
    const std::int64_t rows = arrays.factoring.rows, columns = arrays.factoring.columns;
    const V* const of_rows = row_state(arrays);
    const V* of_columns = column_state(arrays) + begin / (rows * columns) * columns;
    const double* mean = arrays.factoring.row_means + begin / (rows * columns);
    std::int64_t row = begin / columns, rows_left = rows - row % rows, done = 0;  // of the row's columns
    V v[most];
    for (std::int64_t n; begin < end; begin += n) {
      n = min_(most, end - begin);
      if (rows * columns == 1) {
#pragma omp simd
        for (std::int64_t i = 0; i < n; ++i) v[i] = rule.share(of_rows[begin + i], V(mean[i])) * of_columns[i];
        mean += n;
        of_columns += n;
        f(begin, n, v);
        continue;
      }
      for (std::int64_t i = 0; i < n;) {
        const V of_row = rule.share(of_rows[row], V(*mean));
        const std::int64_t run = min_(n - i, columns - done);
#pragma omp simd
        for (std::int64_t j = 0; j < run; ++j) v[i + j] = of_row * of_columns[done + j];
        i += run;
        done += run;
        if (done < columns) continue;
        done = 0;
        row += 1;
        if (--rows_left > 0) continue;
        rows_left = rows;
        of_columns += columns;
        mean += 1;
      }
      f(begin, n, v);
    }
  }

  template <Decay decay>
  static void measure(const Coefficients& c, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
    const auto rule = rounded<Rule, V>(c.rule);
    const StatelessElements<V, decay> elements(c, arrays);
    each_block(arrays, begin, end, [&](const Block& block) {
      LaneSums sums;
      each_piece(rule, arrays, block.begin, block.end, [&](std::int64_t first, std::int64_t n, const V* v) {
        sums.add(n, [&](std::int64_t i, int j) {
          return elements.call([&](V p, V g) { return rule.terms(p, rule.scaled(g, v[i + j])); }, first + i + j);
        });
      });
      arrays.sums[block.begin / arrays.factoring.block] = sums.total();
    });
  }
};

template <template <class> class Rule, class V, Decay decay>
class Factored : FactoredMeans<Rule<V>, V> {
 public:
  static constexpr RuleKernels kernels() {
    return {Means::moments, Means::settle, nullptr, Means::template measure<without_shrinking(decay)>, update};
  }

 private:
  using Means = FactoredMeans<Rule<V>, V>;

  static void update(const Coefficients& c, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
    const auto rule = rounded<Rule<V>, V>(c.rule);
    const StatelessElements<V, decay> elements(c, arrays);
    Means::each_piece(rule, arrays, begin, end, [&](std::int64_t first, std::int64_t n, const V* v) {
      for_lanes(n, [&](std::int64_t i, int j) {
        elements.call([&](V& p, V g) { rule.apply(p, rule.scaled(g, v[i + j])); }, first + i + j);
      });
    });
  }
};

}  // namespace
}  // namespace ravine
