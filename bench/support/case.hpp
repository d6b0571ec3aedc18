// What a benchmark is made of: one op at one shape, its parity check and its work.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ophis/core/exec_context.hpp"
#include "ops/common/implementation.hpp"
#include "ops/parity/problem.hpp"

namespace ophis::bench {

/// Work whose inputs are in memory.
struct Work {
  double bytes = 0.0, flops = 0.0;           ///< as in Result
  std::vector<std::string> implementations;  ///< those that take it, the one that dispatch chooses first
  std::function<void(ExecContext& exec, const std::string& impl)> run;
};

/// Where a case is worth its time.
enum class Worth { everywhere, on_gpus };

/// One op at one shape, for any dtype.
class Case {
 public:
  Case(std::string op, std::string shape, Worth worth)
      : m_op(std::move(op)), m_shape(std::move(shape)), m_worth(worth) {}
  virtual ~Case() = default;
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  const std::string& op() const { return m_op; }
  const std::string& shape() const { return m_shape; }
  bool is_for(Device device) const { return m_worth == Worth::everywhere || device != Device::cpu(); }

  /// The error against the reference, as in ParityResult, of this configuration made small enough for the
  /// reference.
  virtual double parity_error(ExecContext& exec, DType dtype, const std::string& impl) const = 0;
  virtual Work prepare(ExecContext& exec, DType dtype) const = 0;

 private:
  std::string m_op, m_shape;
  Worth m_worth;
};

using Cases = std::vector<std::unique_ptr<Case>>;

/// An op's parts, as its <op>_impl.hpp declares them.
template <class Args>
struct Op {
  const char* name;
  std::span<const Implementation<Args>> (*implementations)();
  void (*reference)(const Args&);
  void (*run)(ExecContext&, const Args&);
};

/// Arguments at one shape, how exact the outputs must be, and what they cost.
template <class Args>
struct Configuration {
  Args args;
  std::vector<parity::Output<Args>> outputs;
  double bytes, flops;
};

/// A Case of an op: its configuration is made by `make` from a shape, whatever type that has.
template <class Args, class Shape>
class OpCase final : public Case {
 public:
  using Make = Configuration<Args> (*)(parity::TensorPool&, DType, const Shape&);

  /// `scaled` is for the reference: the same but for extents that change nothing in how the op works.
  OpCase(const Op<Args>& op, std::string text, Make make, const Shape& shape, const Shape& scaled,
         Worth worth)
      : Case(op.name, std::move(text), worth), m_op(op), m_make(make), m_full(shape), m_scaled(scaled) {}

  double parity_error(ExecContext& exec, DType dtype, const std::string& impl) const override {
    parity::TensorPool pool(1);
    const Configuration<Args> made = m_make(pool, dtype, m_scaled);
    const ScopedImplementation forced(m_op.name, impl);
    const parity::Problem<Args> problem{shape(), made.args, made.outputs};
    DType operands = DType::float32;
    for (const Implementation<Args>& known : m_op.implementations()) {
      if (known.name == impl && known.rounds_operands) operands = dtype;
    }
    return parity::solve(exec, pool, problem, m_op.reference, m_op.run, operands);
  }

  Work prepare(ExecContext& exec, DType dtype) const override {
    const auto pool = std::make_shared<parity::TensorPool>(2, exec);
    const Configuration<Args> made = m_make(*pool, dtype, m_full);
    Work work{made.bytes, made.flops, {}, {}};
    for (const Implementation<Args>& impl : m_op.implementations()) {
      if (impl.why_not(exec.device(), made.args) == nullptr) work.implementations.emplace_back(impl.name);
    }
    work.run = [pool, op = m_op, args = made.args](ExecContext& on, const std::string& impl) {
      const ScopedImplementation forced(op.name, impl);
      op.run(on, args);
    };
    return work;
  }

 private:
  Op<Args> m_op;
  Make m_make;
  Shape m_full, m_scaled;
};

template <class Args, class Shape>
void add_case(Cases& cases, const Op<Args>& op, std::string text,
              Configuration<Args> (*make)(parity::TensorPool&, DType, const Shape&), const Shape& shape,
              const Shape& scaled, Worth worth = Worth::everywhere) {
  cases.push_back(std::make_unique<OpCase<Args, Shape>>(op, std::move(text), make, shape, scaled, worth));
}

/// The bytes of those tensors that are given.
inline double bytes_of(std::initializer_list<Tensor> tensors) {
  double bytes = 0.0;
  for (const Tensor& tensor : tensors) bytes += tensor ? static_cast<double>(tensor.bytes()) : 0.0;
  return bytes;
}

}  // namespace ophis::bench
