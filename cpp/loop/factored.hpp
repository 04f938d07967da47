// The passes of a rule that keeps, instead of a running mean for each element of a matrix, one for each row and one for
// each column.
#pragma once

#include "loop/elementwise.hpp"

namespace ravine {
namespace {  // see rules/rules.hpp

template <template <class> class Rule, class V, Decay decay>
class Factored {
 public:
  static constexpr Passes passes() { return {moments, settle, measure, update}; }

 private:
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
    const auto rule = rounded<Rule<V>, V>(c.rule);
    const std::int64_t columns = arrays.factoring.columns;
    const V* const gradient = static_cast<const V*>(arrays.gradient);
    each_block(arrays, begin, end, [&](const Block& block) {
      double* const sums = block.column_sums();
      block.each_row([&](const Row& row) {
        if (row.begins)
          for (std::int64_t j = 0; j < columns; ++j) sums[j] = 0;
        LaneSums along;
        along.add(columns, [&](std::int64_t i, int j) {
          const double g = double(gradient[row.first + i + j]);
          sums[i + j] += g * g;
          return Two{g * g, 0};
        });
        renew(rule, row_state(arrays)[row.number], along.total().first / double(columns));
        if (is_whole(arrays) && row.ends) settle_matrix(rule, arrays, row.matrix, sums);
      });
    });
  }

  // Renews the means of the columns, where a matrix has several blocks.
  static void settle(const Coefficients& c, const Arrays& arrays, std::int64_t /*begin*/, std::int64_t end) {
    if (is_whole(arrays)) return;
    const auto rule = rounded<Rule<V>, V>(c.rule);
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

  static void settle_matrix(const Rule<V>& rule, const Arrays& arrays, std::int64_t matrix, const double* sums) {
    const auto& [rows, columns, block, column_sums, row_means] = arrays.factoring;
    V* const of_columns = column_state(arrays) + matrix * columns;
    for (std::int64_t j = 0; j < columns; ++j) renew(rule, of_columns[j], sums[j] / double(rows));
    LaneSums over_rows;
    const V* const of_rows = row_state(arrays) + matrix * rows;
    over_rows.add(rows, [&](std::int64_t i, int j) { return Two{double(of_rows[i + j]), 0}; });
    row_means[matrix] = over_rows.total().first / double(rows);
  }

  static void renew(const Rule<V>& rule, V& mean, double now) {
    V renewed = mean;
    rule.average(V(now), renewed);
    mean = flush_(renewed);
  }

  static V share(const Rule<V>& rule, const Arrays& arrays, const Row& row) {
    return rule.share(row_state(arrays)[row.number], V(arrays.factoring.row_means[row.matrix]));
  }

  static void measure(const Coefficients& c, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
    const auto rule = rounded<Rule<V>, V>(c.rule);
    const Elements<V, decay, std::index_sequence<>> elements(c, arrays);
    each_block(arrays, begin, end, [&](const Block& block) {
      LaneSums sums;
      block.each_row([&](const Row& row) {
        const V of_row = share(rule, arrays, row);
        const V* const of_columns = column_state(arrays) + row.matrix * arrays.factoring.columns;
        sums.add(arrays.factoring.columns, [&](std::int64_t i, int j) {
          return elements.call([&](V p, V g) { return rule.terms(p, rule.scaled(g, of_row * of_columns[i + j])); },
                               row.first + i + j);
        });
      });
      arrays.sums[block.begin / arrays.factoring.block] = sums.total();
    });
  }

  static void update(const Coefficients& c, const Arrays& arrays, std::int64_t begin, std::int64_t end) {
    const auto rule = rounded<Rule<V>, V>(c.rule);
    const Elements<V, decay, std::index_sequence<>> elements(c, arrays);
    Block{arrays, begin, end}.each_row([&](const Row& row) {
      const V of_row = share(rule, arrays, row);
      const V* const of_columns = column_state(arrays) + row.matrix * arrays.factoring.columns;
#pragma omp simd
      for (std::int64_t j = 0; j < arrays.factoring.columns; ++j)
        elements.call([&](V& p, V g) { rule.apply(p, rule.scaled(g, of_row * of_columns[j])); }, row.first + j);
    });
  }
};

}  // namespace
}  // namespace ravine
