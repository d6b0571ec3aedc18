#include "ops/activation/activation_impl.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::parity {

template <>
std::vector<Tensor ActivationArgs::*> tensors_of() {
  return {&ActivationArgs::x, &ActivationArgs::out};
}

namespace {

struct Case {
  const char* name;
  Dims shape;
  Layout layout;
};

const Case cases[] = {
    {"one element", {1}, {}},
    {"15 elements", {15}, {}},
    {"16 elements", {2, 8}, {}},
    {"17 elements", {17}, {}},
    {"1000 elements", {10, 100}, {}},
    {"rows of 2000, slice", {3, 2000}, {{}, 7}},
    {"channels first", {2, 9, 40}, {{0, 2, 1}, 0}},
    {"channels first, slice", {2, 9, 40}, {{0, 2, 1}, 3}},
    {"no elements", {3, 0}, {}},
};

}  // namespace

void check_activation(ExecContext& exec, const Report& report) {
  const auto make_problems = [](TensorPool& pool, DType dtype) {
    std::vector<Problem<ActivationArgs>> problems;
    for (int kind = 0; kind <= static_cast<int>(Activation::softplus); ++kind) {
      for (const Case& c : cases) {
        ActivationArgs args;
        args.kind = static_cast<Activation>(kind);
        args.x = pool.uniform(dtype, c.shape, -8, 8, c.layout);
        args.out = pool.poisoned(dtype, c.shape, c.layout);
        problems.push_back(
            {detail::concat(to_string(args.kind), ", ", c.name), args, {{"out", &ActivationArgs::out, 6.0}}});
      }
    }
    return problems;
  };
  check_op("activation", exec, activation_impls(), activation_reference, activation, make_problems, report);
}

}  // namespace ophis::parity
