// What a parity check is made of: random tensors, an op's arguments built from them, and the comparison with
// the reference.
#pragma once

#include <deque>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "ophis/core/buffer.hpp"
#include "ophis/ops/causal_conv1d.hpp"
#include "ophis/ops/parity.hpp"
#include "ophis/ops/selective_scan.hpp"
#include "ophis/ops/ssd_scan.hpp"
#include "ops/common/implementation.hpp"

namespace ophis::parity {

/// How a tensor lies in memory: the order of its axes from outermost to innermost (empty: as in its shape),
/// and unused elements after each innermost run, so that it is a slice of something wider.
struct Layout {
  std::vector<int> order = {};
  std::int64_t padding = 0;
};

/// Makes tensors and owns their memory: ones that the host can read and write, or of a GPU alone.
class TensorPool {
 public:
  /// The tensors are on `device`; the host must not use them while the device works on them.
  explicit TensorPool(std::uint32_t seed, Device device = Device::cpu()) : m_engine(seed), m_device(device) {}
  /// The tensors are on the context's device and not for the host, which makes only the start of large ones:
  /// on a GPU the rest repeats that, there. They are filled in the order of memory.
  TensorPool(std::uint32_t seed, ExecContext& exec)
      : m_engine(seed), m_device(exec.device()), m_exec(exec.device() == Device::cpu() ? nullptr : &exec) {}

  /// NaN everywhere (integers: the lowest value), in the padding too.
  Tensor poisoned(DType dtype, const Dims& shape, const Layout& layout = {});
  /// Uniform in [low, high), rounded to dtype; the padding holds NaN. Without padding only the first 2^22
  /// elements in memory are drawn, and the rest repeats them.
  Tensor uniform(DType dtype, const Dims& shape, double low, double high, const Layout& layout = {});
  /// uint8 of all values.
  Tensor bytes(const Dims& shape, const Layout& layout = {});
  /// Values of an int32 or int64 tensor.
  Tensor integers(const Dims& shape, const std::vector<std::int32_t>& values, DType dtype = DType::int32);
  /// A dense float64 tensor with the same values.
  Tensor as_float64(const Tensor& tensor);
  /// A copy of such a tensor with its own memory, in the same layout.
  Tensor clone(const Tensor& tensor);
  /// The same of a tensor on the CPU or the context's device, on a device: the CPU, or the context's own.
  Tensor clone(ExecContext& exec, const Tensor& tensor, Device device);

 private:
  Tensor allocate(DType dtype, const Dims& shape);
  /// For tensors of a GPU alone: what make(pool, shape, layout) makes on the host, moved there. Large ones
  /// are made of one axis and repeated.
  template <class Make>
  Tensor make_there(const Dims& shape, const Layout& layout, const Make& make);

  std::deque<OwnedTensor> m_owned;
  std::mt19937 m_engine;
  Device m_device;
  ExecContext* m_exec = nullptr;  // of tensors of a GPU alone
};

/// One output of an op and how far it may be from the reference.
template <class Args>
struct Output {
  const char* name;
  Tensor Args::*tensor;
  /// Number of float32 roundings that may add up on the way to one element, in units of the largest one.
  double roundings;
  /// Whether the tensor is also an input: the reference then starts from its values.
  bool in_place = false;
};

/// All tensors of an op's arguments; each <op>_parity.cpp lists its own.
template <class Args>
std::vector<Tensor Args::*> tensors_of();

template <class Args>
struct Problem {
  std::string name;
  Args args;                          ///< host tensors; outputs that are not in place hold NaN
  std::vector<Output<Args>> outputs;  ///< those that are not given in args are passed over
  /// Whether implementations that round intermediate results have any to round here.
  bool has_intermediates = true;
};

/// The largest ratio of |got - want| to the bound: half an ulp of got's dtype for storing the result, plus
/// `roundings` times float32's epsilon times the largest |want|, plus half an ulp of that in `operands`, the
/// dtype that intermediate results were rounded to. NaN if any element of got is NaN. `want` is float64.
double worst_ratio(const Tensor& got, const Tensor& want, double roundings, DType operands = DType::float32);

/// Solves one problem with the reference, and with `op` on the context's device, and compares.
template <class Args>
double solve(ExecContext& exec, TensorPool& pool, const Problem<Args>& problem,
             void (*reference)(const Args&), void (*op)(ExecContext&, const Args&),
             DType operands = DType::float32) {
  Args want = problem.args;
  for (const Output<Args>& output : problem.outputs) {
    const Tensor& given = problem.args.*output.tensor;
    if (!given) continue;
    want.*output.tensor =
        output.in_place ? pool.as_float64(given) : pool.poisoned(DType::float64, given.shape());
  }
  Args got = problem.args;
  for (Tensor Args::*const tensor : tensors_of<Args>()) {
    if (got.*tensor) got.*tensor = pool.clone(exec, got.*tensor, exec.device());
  }
  reference(want);
  op(exec, got);
  exec.fence();
  double worst = 0.0;
  for (const Output<Args>& output : problem.outputs) {
    if (!(problem.args.*output.tensor)) continue;
    const Tensor result = pool.clone(exec, got.*output.tensor, Device::cpu());
    const double ratio = worst_ratio(result, want.*output.tensor, output.roundings, operands);
    if (!(ratio <= worst)) worst = ratio;  // NaN sticks
  }
  return worst;
}

using Report = std::function<void(const ParityResult&)>;

/// Runs every problem that `make_problems(pool, dtype)` returns, for every compute dtype and implementation.
template <class Args, class MakeProblems>
void check_op(const char* op_name, ExecContext& exec, std::span<const Implementation<Args>> impls,
              void (*reference)(const Args&), void (*op)(ExecContext&, const Args&),
              MakeProblems make_problems, const Report& report) {
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    TensorPool pool(42);
    for (const Problem<Args>& problem : make_problems(pool, dtype)) {
      for (const Implementation<Args>& impl : impls) {
        ParityResult result{op_name, impl.name, problem.name, dtype, 0.0, {}};
        if (const char* const reason = impl.why_not(exec.device(), problem.args)) {
          result.skipped = reason;
        } else {
          const ScopedImplementation forced(op_name, impl.name);
          const DType operands = impl.rounds_operands && problem.has_intermediates ? dtype : DType::float32;
          result.error = solve(exec, pool, problem, reference, op, operands);
        }
        report(result);
      }
    }
  }
}

/// The problems of some ops, for kernels that no device here runs.
std::vector<Problem<CausalConv1dArgs>> causal_conv1d_problems(TensorPool& pool, DType dtype);
std::vector<Problem<SelectiveScanArgs>> selective_scan_problems(TensorPool& pool, DType dtype);
std::vector<Problem<SsdScanArgs>> ssd_scan_problems(TensorPool& pool, DType dtype);

// One function an op, in ops/<op>/<op>_parity.cpp; the list of them is in parity.cpp.
void check_activation(ExecContext& exec, const Report& report);
void check_argmax(ExecContext& exec, const Report& report);
void check_causal_conv1d(ExecContext& exec, const Report& report);
void check_causal_conv1d_update(ExecContext& exec, const Report& report);
void check_cross_entropy(ExecContext& exec, const Report& report);
void check_cumsum(ExecContext& exec, const Report& report);
void check_embedding(ExecContext& exec, const Report& report);
void check_layer_norm(ExecContext& exec, const Report& report);
void check_linear(ExecContext& exec, const Report& report);
void check_mask_positions(ExecContext& exec, const Report& report);
void check_norm_linear(ExecContext& exec, const Report& report);
void check_quantized_linear(ExecContext& exec, const Report& report);
void check_rms_norm(ExecContext& exec, const Report& report);
void check_sample(ExecContext& exec, const Report& report);
void check_selective_scan(ExecContext& exec, const Report& report);
void check_selective_state_update(ExecContext& exec, const Report& report);
void check_softmax(ExecContext& exec, const Report& report);
void check_ssd_scan(ExecContext& exec, const Report& report);
void check_ssd_state_update(ExecContext& exec, const Report& report);

}  // namespace ophis::parity
