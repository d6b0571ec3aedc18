#include "bench/ops/cases.hpp"
#include "ops/activation/activation_impl.hpp"

namespace ophis::bench {
namespace {

struct Shape {
  Activation kind;
  std::int64_t rows, dim;
};

Configuration<ActivationArgs> make(parity::TensorPool& pool, DType dtype, const Shape& s) {
  ActivationArgs args;
  args.x = pool.uniform(dtype, {s.rows, s.dim}, -8, 8);
  args.kind = s.kind;
  args.out = pool.poisoned(dtype, {s.rows, s.dim});
  const double flops = s.kind == Activation::silu ? 3.0 : 25.0;  // gelu: a polynomial of degree 9
  return {args,
          {{"out", &ActivationArgs::out, 6.0}},
          bytes_of({args.x, args.out}),
          flops * static_cast<double>(args.x.count())};
}

}  // namespace

Cases activation_cases() {
  const Op<ActivationArgs> op{"activation", activation_impls, activation_reference, activation};
  Cases cases;
  for (const Activation kind : {Activation::silu, Activation::gelu}) {
    add_case(cases, op, detail::concat(to_string(kind), ", rows 2048, dim 1536"), make,
             Shape{kind, 2048, 1536}, Shape{kind, 16, 1536});
  }
  return cases;
}

}  // namespace ophis::bench
