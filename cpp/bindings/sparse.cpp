#include "bindings/sparse.hpp"

#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/register.hpp"
#include "rules/registry.hpp"

namespace ravine::bindings {
namespace {

// How many elements a row of values has.
std::int64_t row_length(py::handle values) {
  const auto& f = fields(values);
  std::int64_t length = 1;
  for (int axis = 1; axis < f.nd; ++axis) length *= f.dimensions[axis];
  return length;
}

bool has(py::handle array, int flags) { return (fields(array).flags & flags) == flags; }

// Whether rows and values still are what SparseGrad has made sure of; their owner may have resized them.
bool is_sound(py::handle rows, py::handle values, py::handle parameter) {
  const auto& p = fields(parameter);
  const auto& v = fields(values);
  return same_dtype_as<std::int64_t>(rows) && fields(rows).nd == 1 && has(rows, c_contiguous | aligned) &&
         has(values, c_contiguous | aligned) && v.nd == p.nd && v.dimensions[0] == fields(rows).dimensions[0] &&
         std::equal(v.dimensions + 1, v.dimensions + v.nd, p.dimensions + 1);
}

}  // namespace

void check_rule_is_sparse(const std::string& where, int rule, const Plan::Group& group) {
  const RuleSchema& info = rule_schemas()[rule];
  if (!info.is_sparse)
    throw py::value_error(where + ": its gradient is sparse, and the rule '" + info.name +
                          "' changes every row at each step. SGD without momentum, Adagrad and SparseAdam take sparse "
                          "gradients; for others pass grad.to_dense().");
  if (group.decay != Decay::none)
    throw py::value_error(where + ": its gradient is sparse, and weight_decay=" +
                          py::str(py::float_(group.weight_decay)).cast<std::string>() +
                          " changes every row at each step. Set weight_decay=0, or pass grad.to_dense().");
}

void SparseGradient::hold(const std::string& where, const py::object& gradient) {
  named_ = gradient.attr("rows");
  array_ = gradient.attr("values");
  shape_ = gradient.attr("shape").cast<std::vector<py::ssize_t>>();
  if (!is_array(named_) || !is_array(array_))
    throw py::type_error(where + ": the rows or values of its gradient are no arrays. Make it with SparseGrad(...).");
  gradient_ = gradient;
}

void SparseGradient::release() { gradient_ = named_ = array_ = py::object(); }

void SparseGradient::take(const std::string& where, const Pinned& parameter) {
  const py::array& table = parameter.array();
  const py::object &rows = named_, &values = array_;
  const auto& f = fields(table);
  if (!same_dtype(values, table) || !std::equal(shape_.begin(), shape_.end(), f.dimensions, f.dimensions + f.nd))
    throw py::value_error(where + ": its gradient is a " +
                          py::module_::import("ravine._sparse").attr("misfit")(gradient_, table).cast<std::string>());
  if (!has(table, c_contiguous))
    throw py::value_error(where +
                          " is in Fortran order, where a row does not lie together; a sparse gradient needs C " +
                          "order. Make the optimizer with np.ascontiguousarray(...), or pass grad.to_dense().");
  if (!is_sound(rows, values, table))
    throw py::value_error(where + ": the rows or values of its gradient have been resized or retyped since the " +
                          "SparseGrad was made. Make a new one.");

  const auto* const begin = reinterpret_cast<const std::int64_t*>(fields(rows).data);
  rows_.assign(begin, begin + size_of(rows));
  length_ = row_length(values);
  values_ = fields(values).data;
  if (!is_increasing(rows_.data(), std::int64_t(rows_.size()))) {
    coalescing_.sort(rows_.data(), std::int64_t(rows_.size()));
    rows_ = coalescing_.rows();
    const auto bytes = rows_.size() * std::size_t(length_ * item_size(parameter.dtype()));
    if (sums_.size() < bytes) sums_.resize(bytes);
    coalescing_.sum(parameter.dtype(), values_, length_, sums_.data());
    values_ = sums_.data();
  }
  const std::int64_t limit = fields(table).dimensions[0];
  if (!rows_.empty() && (rows_.front() < 0 || rows_.back() >= limit))
    throw py::value_error(where + ": its gradient names row " +
                          std::to_string(rows_.front() < 0 ? rows_.front() : rows_.back()) + "; expected rows from 0 " +
                          "to " + std::to_string(limit - 1) + ". Its rows have been changed since it was made.");
}

void register_sparse(py::module_& module) {
  module.def(
      "coalesce",
      [](const py::array_t<std::int64_t>& rows, const py::array& values) -> py::object {
        if (!has(rows, c_contiguous | aligned) || !has(values, c_contiguous | aligned) || rows.ndim() != 1 ||
            values.ndim() < 1 || values.shape(0) != rows.size() ||
            !(same_dtype_as<float>(values) || same_dtype_as<double>(values)))
          throw py::value_error("coalesce needs contiguous rows, and as many values of float32 or float64");
        if (is_increasing(rows.data(), rows.size())) return py::none();
        Coalescing coalescing;
        coalescing.sort(rows.data(), rows.size());
        std::vector<py::ssize_t> shape(values.shape(), values.shape() + values.ndim());
        shape[0] = py::ssize_t(coalescing.rows().size());
        py::array sums(values.dtype(), shape);
        coalescing.sum(dtype_of(values), values.data(), row_length(values), sums.mutable_data());
        return py::make_tuple(py::array_t<std::int64_t>(shape[0], coalescing.rows().data()), sums);
      },
      py::arg("rows").noconvert(), py::arg("values").noconvert(),
      "Rows each once, increasing, with the sums of their values; None where they come like that.");
}

}  // namespace ravine::bindings
