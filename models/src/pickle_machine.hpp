// The stack machine behind read_pickled_tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "models/src/byte_reader.hpp"
#include "models/src/pickle_values.hpp"

namespace ophis {

/// Runs the opcodes of a pickle on PickleValues. Each opcode adds at most one value, of the size of what it
/// takes from the stack, so memory stays in proportion to the pickle.
class PickleMachine {
 public:
  /// Both arguments must outlive the machine.
  PickleMachine(std::span<const std::byte> pickle, std::string_view origin)
      : m_origin(origin), m_reader(pickle, origin) {}

  /// Runs to the STOP opcode and returns the result. Throws Error(corrupt_data | unsupported).
  PickleRef run();

  const PickleValue& value(PickleRef ref) const { return m_values[ref]; }

 private:
  // Each of these takes the opcodes of one group and says whether the opcode belongs to it.
  bool run_scalar(std::uint8_t opcode);
  bool run_text(std::uint8_t opcode);
  bool run_container(std::uint8_t opcode);
  bool run_memo(std::uint8_t opcode);
  bool run_call(std::uint8_t opcode);

  void read_protocol();
  std::int64_t read_long(std::uint64_t bytes);
  std::string_view read_line();

  void push(PickleRef ref);
  void push_new(PickleValue value);
  void push_number(PickleKind kind, std::int64_t number);
  void push_text(std::string_view text);
  void push_tuple(std::size_t count);
  void require_values(std::size_t count) const;  ///< above the last mark
  PickleRef pop();
  PickleRef pop_kind(PickleKind kind);
  std::size_t pop_mark();  ///< how many values stand above it
  void extend(PickleKind kind, std::size_t count);
  void store_memo(std::uint64_t index);
  void load_memo(std::uint64_t index);
  void load_persistent();
  void reduce();

  template <class... Parts>
  [[noreturn]] void fail_here(const Parts&... parts) const {
    fail(ErrorCode::corrupt_data, m_origin, ": ", parts..., " (opcode at byte ", m_opcode_position, ')');
  }

  std::string_view m_origin;
  ByteReader m_reader;
  std::uint64_t m_opcode_position = 0;
  std::vector<PickleValue> m_values;
  std::vector<PickleRef> m_stack;
  std::vector<std::size_t> m_marks;  ///< sizes of the stack
  std::unordered_map<std::uint64_t, PickleRef> m_memo;
};

}  // namespace ophis
