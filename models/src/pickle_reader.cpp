#include "models/src/pickle_reader.hpp"

#include <array>
#include <unordered_set>

#include "models/src/json.hpp"
#include "models/src/pickle_machine.hpp"

namespace ophis {
namespace {

constexpr std::size_t max_axes = 64;  // PyTorch's own limit

/// Takes the arguments of one tensor apart.
class TensorDescriber {
 public:
  TensorDescriber(const PickleMachine& machine, std::string_view origin, std::string_view name)
      : m_machine(machine), m_origin(origin), m_name(name) {}

  PickledTensor describe(const PickleValue& tensor) const {
    const PickleValue& arguments = m_machine.value(tensor.items[0]);
    PickledTensor result;
    result.name = m_name;
    describe_storage(item(arguments, 0, PickleKind::storage), result);
    result.storage_offset = item(arguments, 1, PickleKind::integer).number;
    result.shape = integers(item(arguments, 2, PickleKind::tuple));
    result.strides = integers(item(arguments, 3, PickleKind::tuple));
    return result;
  }

 private:
  /// The persistent id is ("storage", type, key, device, element count).
  void describe_storage(const PickleValue& storage, PickledTensor& result) const {
    const PickleValue& id = m_machine.value(storage.items[0]);
    if (id.items.size() != 5 || item(id, 0, PickleKind::text).text != "storage")
      fail_tensor("has an unknown storage");
    result.dtype = static_cast<DType>(item(id, 1, PickleKind::storage_type).number);
    result.storage_key = item(id, 2, PickleKind::text).text;
    result.storage_count = item(id, 4, PickleKind::integer).number;
  }

  const PickleValue& item(const PickleValue& tuple, std::size_t index, PickleKind kind) const {
    const PickleValue& value = m_machine.value(tuple.items[index]);
    if (value.kind != kind) {
      fail_tensor("is described by ", to_string(value.kind), " instead of ", to_string(kind));
    }
    return value;
  }

  std::vector<std::int64_t> integers(const PickleValue& tuple) const {
    if (tuple.items.size() > max_axes) fail_tensor("has ", tuple.items.size(), " axes");
    std::vector<std::int64_t> numbers;
    for (std::size_t i = 0; i < tuple.items.size(); ++i) {
      numbers.push_back(item(tuple, i, PickleKind::integer).number);
    }
    return numbers;
  }

  template <class... Parts>
  [[noreturn]] void fail_tensor(const Parts&... parts) const {
    fail(ErrorCode::corrupt_data, m_origin, ": tensor ", json_quoted(m_name), ' ', parts...);
  }

  const PickleMachine& m_machine;
  std::string_view m_origin;
  std::string_view m_name;
};

std::vector<PickledTensor> tensors_of(const PickleMachine& machine, const PickleValue& dict,
                                      std::string_view origin) {
  std::vector<PickledTensor> tensors;
  std::unordered_set<std::string_view> names;
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& key = machine.value(dict.items[i]);
    const PickleValue& value = machine.value(dict.items[i + 1]);
    if (value.kind != PickleKind::tensor) continue;
    if (key.kind != PickleKind::text) {
      fail(ErrorCode::corrupt_data, origin, ": the name of a tensor is ", to_string(key.kind));
    }
    if (!is_utf8(key.text))
      fail(ErrorCode::corrupt_data, origin, ": the name ", json_quoted(key.text), " is not UTF-8");
    if (!names.insert(key.text).second) {
      fail(ErrorCode::corrupt_data, origin, " has the tensor ", json_quoted(key.text), " twice");
    }
    tensors.push_back(TensorDescriber(machine, origin, key.text).describe(value));
  }
  return tensors;
}

/// The dict that `dict` holds under one of the names that training programs use, or nullptr.
const PickleValue* inner_dict(const PickleMachine& machine, const PickleValue& dict) {
  constexpr std::array<std::string_view, 2> known_names{"state_dict", "model"};
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& key = machine.value(dict.items[i]);
    const PickleValue& value = machine.value(dict.items[i + 1]);
    const bool known = key.text == known_names[0] || key.text == known_names[1];
    if (key.kind == PickleKind::text && known && value.kind == PickleKind::dict) return &value;
  }
  return nullptr;
}

}  // namespace

std::vector<PickledTensor> read_pickled_tensors(std::span<const std::byte> pickle, std::string_view origin) {
  PickleMachine machine(pickle, origin);
  const PickleValue& root = machine.value(machine.run());
  if (root.kind != PickleKind::dict) {
    fail(ErrorCode::unsupported, origin, " holds ", to_string(root.kind), " instead of a dict of tensors");
  }
  std::vector<PickledTensor> tensors = tensors_of(machine, root, origin);
  if (!tensors.empty() || root.items.empty()) return tensors;
  const PickleValue* const inner = inner_dict(machine, root);
  if (inner == nullptr) fail(ErrorCode::unsupported, origin, " holds a dict without tensors");
  return tensors_of(machine, *inner, origin);
}

}  // namespace ophis
