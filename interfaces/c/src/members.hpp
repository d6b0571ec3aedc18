// How a struct of the C interface corresponds to one of C++: a table of members, read in both directions.
//
//   template <>
//   struct Mapping<ophis_softmax_args> {
//     using From = ophis_softmax_args;
//     using To = SoftmaxArgs;
//     static constexpr std::tuple members{OPHIS_C_MEMBER(x), OPHIS_C_MEMBER(log), OPHIS_C_MEMBER(out)};
//   };
#pragma once

#include <tuple>

#include "interfaces/c/src/sized.hpp"
#include "interfaces/c/src/tensor.hpp"
#include "interfaces/common/count_members.hpp"
#include "ophis/ops/activation.hpp"

namespace ophis {
class ModelCache;
}

namespace ophis::c {

template <class From>
struct Mapping;

/// Pointers to the two members, and the name that they have in common.
template <class From, class To>
struct Member {
  const char* name;
  From from;
  To to;
};
template <class From, class To>
Member(const char*, From, To) -> Member<From, To>;

#define OPHIS_C_MEMBER(name) \
  Member { #name, &From::name, &To::name }

// One overload for every type that members have, and its inverse, which gives a default.

inline void convert(const ophis_tensor* from, Tensor& to) { to = to_tensor(from); }
inline void convert(const Tensor&, const ophis_tensor*& to) { to = nullptr; }

inline void convert(std::int32_t from, bool& to) {
  OPHIS_REQUIRE(from == 0 || from == 1, "it is ", from, ", but must be 0 or 1");
  to = from == 1;
}
inline void convert(bool from, std::int32_t& to) { to = from ? 1 : 0; }

inline void convert(std::int32_t from, Activation& to) {
  OPHIS_REQUIRE(from >= OPHIS_IDENTITY && from <= OPHIS_SOFTPLUS, "it is ", from, ", but must be ",
                OPHIS_IDENTITY, " to ", OPHIS_SOFTPLUS);
  to = static_cast<Activation>(from);
}
inline void convert(Activation from, std::int32_t& to) { to = static_cast<std::int32_t>(from); }

void convert(ophis_cache* from, ModelCache*& to);
inline void convert(const ModelCache*, ophis_cache*& to) { to = nullptr; }

inline void convert(std::int32_t from, std::int32_t& to) { to = from; }
inline void convert(std::int64_t from, std::int64_t& to) { to = from; }
inline void convert(double from, double& to) { to = from; }

/// Throws what `convert` does, with the member's name in front.
template <class From, class To>
void convert_named(const char* name, const From& from, To& to) {
  try {
    convert(from, to);
  } catch (const Error& error) {
    fail(error.code(), name, ": ", error.what());
  }
}

/// The C++ struct of a caller's C struct, of whatever version.
template <class From>
auto to_cpp(const From* given) {
  using Map = Mapping<From>;
  constexpr std::size_t mapped = std::tuple_size_v<decltype(Map::members)>;
  static_assert(mapped == interfaces::count_members<typename Map::To>(),
                "a member of the C++ struct is not mapped");
  static_assert(mapped + 1 == interfaces::count_members<From>(), "a member of the C struct is not mapped");
  const From from = read_sized(require(given, "args"));
  typename Map::To to;
  std::apply(
      [&](const auto&... member) { (convert_named(member.name, from.*member.from, to.*member.to), ...); },
      Map::members);
  return to;
}

/// Writes the defaults of the C++ struct to a caller's C struct of `size` bytes.
template <class From>
void write_defaults(From* to, std::size_t size) {
  using Map = Mapping<From>;
  const typename Map::To defaults;
  From values{};
  std::apply([&](const auto&... member) { (convert(defaults.*member.to, values.*member.from), ...); },
             Map::members);
  write_sized(values, require(to, "args"), size);
}

}  // namespace ophis::c
