// The values that the pickle machine works on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "models/src/pickle_reader.hpp"

namespace ophis {

/// Values lie in an arena and refer to each other by index, so that a pickle may build cycles and any depth
/// of nesting without leaks or recursion.
using PickleRef = std::uint32_t;

enum class PickleKind : std::uint8_t {
  none,
  boolean,
  integer,       ///< number
  real,          ///< the value is of no interest
  text,          ///< text
  tuple,         ///< items
  list,          ///< items
  dict,          ///< items: key, value, key, value, ...
  function,      ///< number: a PickleFunction
  storage_type,  ///< number: a DType
  storage,       ///< items: the tuple of its persistent id
  tensor         ///< items: the tuple of the arguments of _rebuild_tensor_v2
};

enum class PickleFunction : std::uint8_t { ordered_dict, rebuild_tensor, rebuild_parameter };

struct PickleValue {
  PickleKind kind = PickleKind::none;
  std::int64_t number = 0;
  std::string_view text;
  std::vector<PickleRef> items;
};

const char* to_string(PickleKind kind) noexcept;

/// The value of a global name that may stand in a checkpoint, e.g. "torch" "FloatStorage". Throws
/// Error(unsupported) that names any other.
PickleValue pickle_global(std::string_view module, std::string_view name, std::string_view origin);

}  // namespace ophis
