// Making checkpoint files byte by byte, and reading tensors element by element.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ophis/core/tensor.hpp"

namespace ophis::test {

/// The little-endian bytes of an integer.
template <class T>
std::string little_endian(T value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bytes += static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
  return bytes;
}

/// The memory of an array.
template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// A safetensors file with any header.
inline std::string safetensors_file(std::string_view header, std::string_view data) {
  return little_endian(std::uint64_t{header.size()}) + std::string(header) + std::string(data);
}

/// Calls `visit(const std::byte*)` for every element in row-major order, through the strides.
template <class Visit>
void for_each_element(const Tensor& tensor, Visit&& visit) {
  std::vector<std::int64_t> index(static_cast<std::size_t>(tensor.rank()), 0);
  const auto item = static_cast<std::int64_t>(size_of(tensor.dtype()));
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    std::int64_t offset = 0;
    for (int axis = 0; axis < tensor.rank(); ++axis)
      offset += index[static_cast<std::size_t>(axis)] * tensor.stride(axis);
    visit(static_cast<const std::byte*>(tensor.raw()) + offset * item);
    for (int axis = tensor.rank() - 1; axis >= 0; --axis) {
      if (++index[static_cast<std::size_t>(axis)] < tensor.extent(axis)) break;
      index[static_cast<std::size_t>(axis)] = 0;
    }
  }
}

/// All elements in row-major order. Fails if T is not the tensor's dtype.
template <class T>
std::vector<T> values_of(const Tensor& tensor) {
  static_cast<void>(tensor.data<T>());
  std::vector<T> values;
  for_each_element(tensor, [&](const std::byte* element) {
    T value;
    std::memcpy(&value, element, sizeof(T));
    values.push_back(value);
  });
  return values;
}

/// Reads every element; the sum of all bytes.
inline std::uint64_t byte_sum(const Tensor& tensor) {
  std::uint64_t sum = 0;
  for_each_element(tensor, [&](const std::byte* element) {
    for (std::size_t i = 0; i < size_of(tensor.dtype()); ++i) sum += static_cast<std::uint64_t>(element[i]);
  });
  return sum;
}

}  // namespace ophis::test
