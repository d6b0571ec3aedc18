#include "models/src/pickle_values.hpp"

#include <array>

#include "models/src/json.hpp"
#include "ophis/core/error.hpp"

namespace ophis {
namespace {

struct KnownGlobal {
  std::string_view module;
  std::string_view name;
  PickleKind kind;
  std::int64_t number;
};

constexpr KnownGlobal function(std::string_view module, std::string_view name, PickleFunction id) {
  return {module, name, PickleKind::function, static_cast<std::int64_t>(id)};
}

constexpr KnownGlobal storage(std::string_view name, DType dtype) {
  return {"torch", name, PickleKind::storage_type, static_cast<std::int64_t>(dtype)};
}

constexpr std::array<KnownGlobal, 13> known_globals{{
    function("collections", "OrderedDict", PickleFunction::ordered_dict),
    function("torch._utils", "_rebuild_tensor_v2", PickleFunction::rebuild_tensor),
    function("torch._utils", "_rebuild_parameter", PickleFunction::rebuild_parameter),
    storage("FloatStorage", DType::float32),
    storage("BFloat16Storage", DType::bfloat16),
    storage("HalfStorage", DType::float16),
    storage("DoubleStorage", DType::float64),
    storage("LongStorage", DType::int64),
    storage("IntStorage", DType::int32),
    storage("ShortStorage", DType::int16),
    storage("CharStorage", DType::int8),
    storage("ByteStorage", DType::uint8),
    storage("BoolStorage", DType::boolean),
}};

}  // namespace

const char* to_string(PickleKind kind) noexcept {
  constexpr std::array names{"None",   "a boolean", "an integer", "a float",        "a string",  "a tuple",
                             "a list", "a dict",    "a function", "a storage type", "a storage", "a tensor"};
  return names[static_cast<std::size_t>(kind)];
}

PickleValue pickle_global(std::string_view module, std::string_view name, std::string_view origin) {
  for (const KnownGlobal& known : known_globals) {
    if (known.module == module && known.name == name) {
      return {.kind = known.kind, .number = known.number, .text = {}, .items = {}};
    }
  }
  fail(ErrorCode::unsupported, origin, " refers to ", json_quoted(module), ' ', json_quoted(name),
       "; only tensors are read from a pickle and nothing in it is executed");
}

}  // namespace ophis
