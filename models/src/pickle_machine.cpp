#include "models/src/pickle_machine.hpp"

#include <algorithm>
#include <utility>

#include "models/src/json.hpp"

namespace ophis {
namespace {

// The opcodes that a dict of tensors needs, by the names of Python's pickletools.
namespace op {
constexpr std::uint8_t mark = '(', stop = '.', none = 'N', build = 'b', reduce = 'R', global = 'c';
constexpr std::uint8_t bin_int = 'J', bin_int1 = 'K', bin_int2 = 'M', bin_float = 'G';
constexpr std::uint8_t bin_unicode = 'X', bin_string = 'T', short_bin_string = 'U';
constexpr std::uint8_t append = 'a', appends = 'e', set_item = 's', set_items = 'u';
constexpr std::uint8_t empty_dict = '}', empty_list = ']', empty_tuple = ')', tuple = 't';
constexpr std::uint8_t bin_put = 'q', long_bin_put = 'r', bin_get = 'h', long_bin_get = 'j', bin_persid = 'Q';
// protocol 2
constexpr std::uint8_t proto = 0x80, tuple1 = 0x85, tuple2 = 0x86, tuple3 = 0x87, new_true = 0x88,
                       new_false = 0x89;
constexpr std::uint8_t long1 = 0x8a, long4 = 0x8b;
// protocol 4
constexpr std::uint8_t short_bin_unicode = 0x8c, bin_unicode8 = 0x8d, stack_global = 0x93, memoize = 0x94,
                       frame = 0x95;
}  // namespace op

// Far beyond real checkpoints, which need about 25 values a tensor.
constexpr std::size_t max_values = 2'000'000;
constexpr std::uint64_t max_line_bytes = 256;

std::string hex(std::uint8_t byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
}

}  // namespace

PickleRef PickleMachine::run() {
  read_protocol();
  while (true) {
    m_opcode_position = m_reader.position();
    const auto opcode = m_reader.read<std::uint8_t>();
    if (opcode == op::stop) break;
    if (!(run_scalar(opcode) || run_text(opcode) || run_container(opcode) || run_memo(opcode) ||
          run_call(opcode))) {
      fail(ErrorCode::unsupported, m_origin, ": pickle opcode ", hex(opcode), " at byte ", m_opcode_position,
           " is not one that a dict of tensors needs");
    }
  }
  if (m_stack.size() != 1 || !m_marks.empty())
    fail_here("it ends with ", m_stack.size(), " values instead of one");
  return m_stack.back();
}

void PickleMachine::read_protocol() {
  if (m_reader.read<std::uint8_t>() != op::proto) fail_here("it does not begin with a pickle protocol");
  const int protocol = m_reader.read<std::uint8_t>();
  if (protocol < 2 || protocol > 4) {
    fail(ErrorCode::unsupported, m_origin, " has pickle protocol ", protocol, "; 2 to 4 are supported");
  }
}

bool PickleMachine::run_scalar(std::uint8_t opcode) {
  switch (opcode) {
    case op::none:
      push_number(PickleKind::none, 0);
      return true;
    case op::new_true:
      push_number(PickleKind::boolean, 1);
      return true;
    case op::new_false:
      push_number(PickleKind::boolean, 0);
      return true;
    case op::bin_int1:
      push_number(PickleKind::integer, m_reader.read<std::uint8_t>());
      return true;
    case op::bin_int2:
      push_number(PickleKind::integer, m_reader.read<std::uint16_t>());
      return true;
    case op::bin_int:
      push_number(PickleKind::integer, read_long(4));
      return true;
    case op::long1:
      push_number(PickleKind::integer, read_long(m_reader.read<std::uint8_t>()));
      return true;
    case op::long4:
      push_number(PickleKind::integer, read_long(m_reader.read<std::uint32_t>()));
      return true;
    case op::bin_float:
      m_reader.take(8);
      push_number(PickleKind::real, 0);
      return true;
    default:
      return false;
  }
}

bool PickleMachine::run_text(std::uint8_t opcode) {
  switch (opcode) {
    case op::short_bin_string:
    case op::short_bin_unicode:
      push_text(m_reader.take(m_reader.read<std::uint8_t>()));
      return true;
    case op::bin_string:
    case op::bin_unicode:
      push_text(m_reader.take(m_reader.read<std::uint32_t>()));
      return true;
    case op::bin_unicode8:
      push_text(m_reader.take(m_reader.read<std::uint64_t>()));
      return true;
    default:
      return false;
  }
}

bool PickleMachine::run_container(std::uint8_t opcode) {
  switch (opcode) {
    case op::mark:
      m_marks.push_back(m_stack.size());
      return true;
    case op::empty_tuple:
      push_number(PickleKind::tuple, 0);
      return true;
    case op::empty_list:
      push_number(PickleKind::list, 0);
      return true;
    case op::empty_dict:
      push_number(PickleKind::dict, 0);
      return true;
    case op::tuple1:
      push_tuple(1);
      return true;
    case op::tuple2:
      push_tuple(2);
      return true;
    case op::tuple3:
      push_tuple(3);
      return true;
    case op::tuple:
      push_tuple(pop_mark());
      return true;
    case op::append:
      extend(PickleKind::list, 1);
      return true;
    case op::appends:
      extend(PickleKind::list, pop_mark());
      return true;
    case op::set_item:
      extend(PickleKind::dict, 2);
      return true;
    case op::set_items:
      extend(PickleKind::dict, pop_mark());
      return true;
    default:
      return false;
  }
}

bool PickleMachine::run_memo(std::uint8_t opcode) {
  switch (opcode) {
    case op::bin_put:
      store_memo(m_reader.read<std::uint8_t>());
      return true;
    case op::long_bin_put:
      store_memo(m_reader.read<std::uint32_t>());
      return true;
    case op::memoize:
      store_memo(m_memo.size());
      return true;
    case op::bin_get:
      load_memo(m_reader.read<std::uint8_t>());
      return true;
    case op::long_bin_get:
      load_memo(m_reader.read<std::uint32_t>());
      return true;
    default:
      return false;
  }
}

bool PickleMachine::run_call(std::uint8_t opcode) {
  switch (opcode) {
    case op::frame:  // says how far to read ahead, which memory does not need
      if (m_reader.read<std::uint64_t>() > m_reader.remaining()) fail_here("a frame reaches past the end");
      return true;
    case op::global: {
      const std::string_view module = read_line();
      push_new(pickle_global(module, read_line(), m_origin));
      return true;
    }
    case op::stack_global: {
      const PickleRef name = pop_kind(PickleKind::text);
      const PickleRef module = pop_kind(PickleKind::text);
      push_new(pickle_global(m_values[module].text, m_values[name].text, m_origin));
      return true;
    }
    case op::bin_persid:
      load_persistent();
      return true;
    case op::reduce:
      reduce();
      return true;
    case op::build:  // sets attributes: an OrderedDict of modules has _metadata, which tensors do not need
      pop_kind(PickleKind::dict);
      push(pop_kind(PickleKind::dict));
      return true;
    default:
      return false;
  }
}

std::int64_t PickleMachine::read_long(std::uint64_t bytes) {
  if (bytes > 8) fail_here("an integer of ", bytes, " bytes");
  std::uint64_t value = 0;
  unsigned shift = 0;
  bool negative = false;
  for (const char c : m_reader.take(bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    value |= std::uint64_t{byte} << shift;
    shift += 8;
    negative = (byte & 0x80) != 0;
  }
  if (negative && shift < 64) value |= ~std::uint64_t{0} << shift;
  return static_cast<std::int64_t>(value);
}

std::string_view PickleMachine::read_line() {
  ByteReader ahead = m_reader;
  const std::string_view text = ahead.take(std::min(ahead.remaining(), max_line_bytes));
  const std::size_t length = text.find('\n');
  if (length == std::string_view::npos) fail_here("a name without an end");
  m_reader.take(length + 1);
  return text.substr(0, length);
}

void PickleMachine::push(PickleRef ref) {
  if (m_stack.size() >= max_values) fail_here("more than ", max_values, " values on the stack");
  m_stack.push_back(ref);
}

void PickleMachine::push_new(PickleValue value) {
  if (m_values.size() >= max_values) fail_here("more than ", max_values, " values");
  m_values.push_back(std::move(value));
  push(static_cast<PickleRef>(m_values.size() - 1));
}

void PickleMachine::push_number(PickleKind kind, std::int64_t number) {
  push_new({.kind = kind, .number = number, .text = {}, .items = {}});
}

void PickleMachine::push_text(std::string_view text) {
  push_new({.kind = PickleKind::text, .number = 0, .text = text, .items = {}});
}

void PickleMachine::push_tuple(std::size_t count) {
  require_values(count);
  const auto first = m_stack.end() - static_cast<std::ptrdiff_t>(count);
  std::vector<PickleRef> items(first, m_stack.end());
  m_stack.erase(first, m_stack.end());
  push_new({.kind = PickleKind::tuple, .number = 0, .text = {}, .items = std::move(items)});
}

void PickleMachine::require_values(std::size_t count) const {
  const std::size_t below = m_marks.empty() ? 0 : m_marks.back();
  if (count > m_stack.size() - below) fail_here("a value is missing on the stack");
}

PickleRef PickleMachine::pop() {
  require_values(1);
  const PickleRef ref = m_stack.back();
  m_stack.pop_back();
  return ref;
}

PickleRef PickleMachine::pop_kind(PickleKind kind) {
  const PickleRef ref = pop();
  if (m_values[ref].kind != kind) fail_here(to_string(m_values[ref].kind), " instead of ", to_string(kind));
  return ref;
}

std::size_t PickleMachine::pop_mark() {
  if (m_marks.empty()) fail_here("a mark is missing on the stack");
  const std::size_t count = m_stack.size() - m_marks.back();
  m_marks.pop_back();
  return count;
}

/// Moves the top `count` values into the list or dict below them.
void PickleMachine::extend(PickleKind kind, std::size_t count) {
  if (kind == PickleKind::dict && count % 2 != 0) fail_here("a key without a value");
  require_values(count + 1);
  const auto first = m_stack.end() - static_cast<std::ptrdiff_t>(count);
  PickleValue& container = m_values[*(first - 1)];
  if (container.kind != kind) fail_here(to_string(container.kind), " instead of ", to_string(kind));
  container.items.insert(container.items.end(), first, m_stack.end());
  m_stack.erase(first, m_stack.end());
}

void PickleMachine::store_memo(std::uint64_t index) {
  if (m_stack.empty()) fail_here("nothing to remember");
  if (index >= max_values) fail_here("memo index ", index);
  m_memo[index] = m_stack.back();
}

void PickleMachine::load_memo(std::uint64_t index) {
  const auto found = m_memo.find(index);
  if (found == m_memo.end()) fail_here("nothing is remembered as ", index);
  push(found->second);
}

void PickleMachine::load_persistent() {
  const PickleRef id = pop_kind(PickleKind::tuple);
  push_new({.kind = PickleKind::storage, .number = 0, .text = {}, .items = {id}});
}

void PickleMachine::reduce() {
  const PickleRef arguments_ref = pop_kind(PickleKind::tuple);
  const auto function = static_cast<PickleFunction>(m_values[pop_kind(PickleKind::function)].number);
  const std::vector<PickleRef>& arguments = m_values[arguments_ref].items;
  switch (function) {
    case PickleFunction::ordered_dict:
      if (!arguments.empty()) fail_here("an OrderedDict made from arguments");
      push_number(PickleKind::dict, 0);
      break;
    case PickleFunction::rebuild_tensor:
      // storage, storage_offset, size, stride, requires_grad, backward_hooks[, metadata]
      if (arguments.size() != 6 && arguments.size() != 7)
        fail_here("a tensor made from ", arguments.size(), " values");
      push_new({.kind = PickleKind::tensor, .number = 0, .text = {}, .items = {arguments_ref}});
      break;
    case PickleFunction::rebuild_parameter:  // data, requires_grad, backward_hooks
      if (arguments.size() != 3 || m_values[arguments[0]].kind != PickleKind::tensor) {
        fail_here("a parameter that is not made from a tensor");
      }
      push(arguments[0]);
      break;
  }
}

}  // namespace ophis
