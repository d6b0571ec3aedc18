// How many members a struct has, so that a table of them can be checked to be complete.
#pragma once

#include <cstddef>

namespace ophis::interfaces {

/// Converts to anything: counts the members of an aggregate by what initialises it.
struct AnyValue {
  template <class T>
  operator T() const;
};
template <class Aggregate, class... Values>
constexpr std::size_t count_members() {
  if constexpr (requires { Aggregate{Values{}..., AnyValue{}}; }) {
    return count_members<Aggregate, Values..., AnyValue>();
  } else {
    return sizeof...(Values);
  }
}

}  // namespace ophis::interfaces
