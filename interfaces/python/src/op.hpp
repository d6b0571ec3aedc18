// How an op becomes a Python function: a table of the members of its arguments.
//
//   void bind_softmax(nb::module_& module) {
//     def_op(module, "softmax", softmax, In("x", &SoftmaxArgs::x), In("log", &SoftmaxArgs::log),
//            Out("out", &SoftmaxArgs::out));
//   }
#pragma once

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <array>
#include <optional>
#include <tuple>
#include <utility>

#include "interfaces/common/count_members.hpp"
#include "interfaces/python/src/array.hpp"
#include "interfaces/python/src/context.hpp"
#include "ophis/ops/activation.hpp"

namespace ophis::python {

/// A member of an op's arguments, by the name of the Python function's keyword.
template <class Args, class Value, bool written>
struct Member {
  static constexpr bool is_written = written;
  const char* name;
  Value Args::*member;
};
template <class Args, class Value>
auto In(const char* name, Value Args::*member) {
  return Member<Args, Value, false>{name, member};
}
/// A tensor that the op writes to.
template <class Args>
auto Out(const char* name, Tensor Args::*member) {
  return Member<Args, Tensor, true>{name, member};
}

template <class Value>
void convert(nb::handle from, const char* name, Value& to) {
  OPHIS_REQUIRE(nb::try_cast(from, to), name, " is ", nb::cast<std::string>(nb::repr(from)),
                ", which is not of the type that was expected");
}
inline void convert(nb::handle from, const char* name, Activation& to) {
  if (from.is_none()) return;
  std::string kind;
  convert(from, name, kind);
  to = parse_activation(kind);
}

/// The stream and keywords of one call as the op's arguments.
template <class Args, class... Members>
class Call {
 public:
  Call(const nb::kwargs& keywords, const std::tuple<Members...>& members) {
    std::apply([&](const auto&... member) { (take(keywords, member), ...); }, members);
    OPHIS_REQUIRE(m_taken == keywords.size(), "a keyword is not one of the op's arguments");
  }

  const Args& args() const { return m_args; }
  Device device() const { return m_device; }

 private:
  template <class Value, bool written>
  void take(const nb::kwargs& keywords, const Member<Args, Value, written>& member) {
    PyObject* given = PyDict_GetItemString(keywords.ptr(), member.name);
    if (given == nullptr) return;
    ++m_taken;
    if constexpr (std::is_same_v<Value, Tensor>) {
      Array& array = m_arrays[m_arrays_used++];
      array = to_array(given, member.name, written);
      m_args.*member.member = array.tensor;
      if (array.tensor && !m_has_device) {
        m_device = array.tensor.device();
        m_has_device = true;
      }
    } else {
      convert(nb::handle(given), member.name, m_args.*member.member);
    }
  }

  Args m_args;
  std::array<Array, sizeof...(Members)> m_arrays;
  std::size_t m_arrays_used = 0, m_taken = 0;
  Device m_device;
  bool m_has_device = false;
};

/// module.name(stream, **members): tensors are arrays or None, activations are named; what is not given keeps
/// the op's default. It runs without the interpreter's lock, on the device of the first tensor.
template <class Args, class... Members>
void def_op(nb::module_& module, const char* name, void (*op)(ExecContext&, const Args&),
            Members... members) {
  static_assert(sizeof...(Members) == interfaces::count_members<Args>(),
                "a member of the op's arguments is not in the table");
  module.def(
      name,
      [op, table = std::tuple<Members...>(members...)](std::optional<std::uintptr_t> stream,
                                                       nb::kwargs keywords) {
        const Call<Args, Members...> call(keywords, table);
        nb::gil_scoped_release unlocked;
        op(context_on(call.device(), stream), call.args());
      },
      nb::arg("stream").none(), nb::arg("keywords"));
}

}  // namespace ophis::python
