// The kernels of associative_scan, for every execution space. Not an interface: include associative_scan.hpp.
//
// A row is cut into chunks of positions, counted from where the scan starts. Within a chunk values
// are combined one after the other (local); the chunks' totals are combined one after the other (prefix); an
// output is combine(prefix, local). Rows may be taken whole, or chunk by chunk in parallel, one by one or
// several neighbours in step: the order of combination, and so every bit, is the same.
#pragma once

#include "ophis/core/kokkos.hpp"
#include "ophis/ops/associative_scan_operands.hpp"
#if defined(KOKKOS_ENABLE_CUDA)
#include "ophis/ops/associative_scan_cuda.cuh"
#endif

namespace ophis::detail {

/// Rows that a CPU thread walks through in step where neighbours are dense in memory: two vectors of 32 bytes
/// or one of 64.
inline constexpr int scan_lanes = 16;

enum class ScanSchedule { automatic, rows, chunks };

/// What becomes of the values of a chunk.
enum class ScanOutput { none, local, with_prefix };

/// A scan as its kernels share it.
template <class Combine, class InputTypes, class OutputTypes>
struct ScanProblem {
  using Inputs = ScanOperands<InputTypes>;
  using Outputs = ScanOperands<OutputTypes>;
  using Value = typename Outputs::Value;

  Combine combine;
  ScanRows rows;
  Inputs inputs;
  Outputs outputs;

  template <int W>
  KOKKOS_INLINE_FUNCTION ScanValues<Value, W> combine_lanes(const ScanValues<Value, W>& a,
                                                            const ScanValues<Value, W>& b) const {
    ScanValues<Value, W> result;
    for (int lane = 0; lane < W; ++lane) result.set(lane, combine(a[lane], b[lane]));
    return result;
  }

  /// One chunk of W neighbouring rows: writes its outputs, and returns its totals, without the prefix.
  template <ScanOutput output, int W>
  KOKKOS_INLINE_FUNCTION ScanValues<Value, W> scan(std::int64_t row, std::int64_t chunk,
                                                   const ScanValues<Value, W>& prefix) const {
    const std::int64_t begin = chunk * rows.chunk;
    const std::int64_t length = Kokkos::min(begin + rows.chunk, rows.length) - begin;
    const typename Inputs::Pointers from = inputs.at(rows, row, begin);
    const typename Outputs::Pointers to = outputs.at(rows, row, begin);
    ScanValues<Value, W> local, value;
    inputs.read(from, 0, local);
    for (std::int64_t position = 0;;) {
      if constexpr (output == ScanOutput::local) outputs.write(local, to, position);
      if constexpr (output == ScanOutput::with_prefix) {
        outputs.write(combine_lanes(prefix, local), to, position);
      }
      if (++position == length) return local;
      inputs.read(from, position, value);
      local = combine_lanes(local, value);
    }
  }
};

/// Rows in blocks of W neighbours along the innermost axis. What is left over at its end is taken row by row.
template <int W>
struct ScanBlocks {
  std::int64_t innermost, per_innermost, count;

  explicit ScanBlocks(const ScanRows& rows)
      : innermost(rows.innermost()),
        per_innermost((innermost + W - 1) / W),
        count(rows.count / innermost * per_innermost) {}

  /// Calls f.run<W>(row, ...) for a whole block, else f.run<1>(row, ...) for each of its rows.
  template <class F, class... Arguments>
  KOKKOS_INLINE_FUNCTION void for_rows(std::int64_t block, const F& f, Arguments... arguments) const {
    const std::int64_t first = block % per_innermost * W, left = innermost - first;
    const std::int64_t row = block / per_innermost * innermost + first;
    if (left >= W) return f.template run<W>(row, arguments...);
    for (std::int64_t i = 0; i < left; ++i) f.template run<1>(row + i, arguments...);
  }
};

/// One item: one block of whole rows.
template <int W, class Problem>
struct ScanWholeRows {
  using Value = typename Problem::Value;

  Problem problem;
  ScanBlocks<W> blocks;

  KOKKOS_FUNCTION void operator()(std::int64_t item) const { blocks.for_rows(item, *this); }

  template <int V>
  KOKKOS_INLINE_FUNCTION void run(std::int64_t row) const {
    ScanValues<Value, V> prefix = problem.template scan<ScanOutput::local, V>(row, 0, {});
    for (std::int64_t chunk = 1; chunk < problem.rows.chunks(); ++chunk) {
      const auto local = problem.template scan<ScanOutput::with_prefix, V>(row, chunk, prefix);
      prefix = problem.combine_lanes(prefix, local);
    }
  }
};

/// One item: one chunk of a block of rows, of which only the total is kept.
template <int W, class Problem>
struct ScanChunkTotals {
  using Value = typename Problem::Value;

  Problem problem;
  ScanBlocks<W> blocks;
  Value* totals;  // (chunks - 1, rows)

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    blocks.for_rows(item % blocks.count, *this, item / blocks.count);
  }

  template <int V>
  KOKKOS_INLINE_FUNCTION void run(std::int64_t row, std::int64_t chunk) const {
    const auto local = problem.template scan<ScanOutput::none, V>(row, chunk, {});
    for (int lane = 0; lane < V; ++lane) totals[chunk * problem.rows.count + row + lane] = local[lane];
  }
};

/// One item: the totals of one row's chunks become prefixes.
template <class Problem>
struct ScanTotals {
  Problem problem;
  typename Problem::Value* totals;  // (chunks - 1, rows)

  KOKKOS_FUNCTION void operator()(std::int64_t row) const {
    const std::int64_t rows = problem.rows.count;
    typename Problem::Value prefix = totals[row];
    for (std::int64_t chunk = 1; chunk < problem.rows.chunks() - 1; ++chunk) {
      prefix = problem.combine(prefix, totals[chunk * rows + row]);
      totals[chunk * rows + row] = prefix;
    }
  }
};

/// One item: one chunk of a block of rows, combined with the prefix of the chunks before it.
template <int W, class Problem>
struct ScanChunkOutputs {
  using Value = typename Problem::Value;

  Problem problem;
  ScanBlocks<W> blocks;
  const Value* prefixes;  // (chunks - 1, rows)

  KOKKOS_FUNCTION void operator()(std::int64_t item) const {
    blocks.for_rows(item % blocks.count, *this, item / blocks.count);
  }

  template <int V>
  KOKKOS_INLINE_FUNCTION void run(std::int64_t row, std::int64_t chunk) const {
    ScanValues<Value, V> prefix{};
    if (chunk == 0) {
      problem.template scan<ScanOutput::local, V>(row, chunk, prefix);
      return;
    }
    for (int lane = 0; lane < V; ++lane) {
      prefix.set(lane, prefixes[(chunk - 1) * problem.rows.count + row + lane]);
    }
    problem.template scan<ScanOutput::with_prefix, V>(row, chunk, prefix);
  }
};

/// Whole rows where there are enough of them to occupy the machine, else chunks.
template <int W, class Space, class Problem>
void run_scan(ExecContext& exec, const Space& space, const Problem& problem, ScanSchedule schedule) {
  const ScanBlocks<W> blocks(problem.rows);
  const std::int64_t rows = problem.rows.count, chunks = problem.rows.chunks();
  if (schedule == ScanSchedule::automatic) {
    schedule = blocks.count >= space.concurrency() ? ScanSchedule::rows : ScanSchedule::chunks;
  }
  if (chunks == 1 || schedule == ScanSchedule::rows) {
    const ScanWholeRows<W, Problem> whole_rows{problem, blocks};
    for_each_element(space, "ophis::associative_scan::rows", blocks.count, whole_rows);
    return;
  }
  const Workspace::Scope scope(exec.workspace());
  auto* const totals = exec.workspace().take<typename Problem::Value>((chunks - 1) * rows);
  const ScanChunkTotals<W, Problem> chunk_totals{problem, blocks, totals};
  const ScanTotals<Problem> prefixes{problem, totals};
  const ScanChunkOutputs<W, Problem> outputs{problem, blocks, totals};
  for_each_element(space, "ophis::associative_scan::totals", (chunks - 1) * blocks.count, chunk_totals);
  for_each_element(space, "ophis::associative_scan::prefixes", rows, prefixes);
  for_each_element(space, "ophis::associative_scan::outputs", chunks * blocks.count, outputs);
}

/// associative_scan with element types of its own for the outputs, in whose ScanValues the functor works.
template <class InputTypes, class OutputTypes, class Combine>
void scan(ExecContext& exec, const Combine& combine, std::span<const Tensor, InputTypes::count> inputs,
          std::span<const Tensor, OutputTypes::count> outputs, int axis, bool reverse,
          ScanSchedule schedule = ScanSchedule::automatic) {
  using Problem = ScanProblem<Combine, InputTypes, OutputTypes>;
  ScanLayout input_layouts[InputTypes::count], output_layouts[OutputTypes::count];
  const ScanRows rows = plan_scan(exec, inputs, InputTypes::dtypes, outputs, OutputTypes::dtypes, axis,
                                  reverse, input_layouts, output_layouts);
  if (rows.count == 0 || rows.length == 0) return;
  const Problem problem{combine, rows, typename Problem::Inputs(inputs, input_layouts),
                        typename Problem::Outputs(outputs, output_layouts)};
  with_exec_space(exec, [&]<class Space>(const Space& space) {
#if defined(KOKKOS_ENABLE_CUDA)
    if constexpr (std::is_same_v<Space, Kokkos::Cuda>) {
      if (schedule == ScanSchedule::automatic && scan_cuda::takes(exec, problem))
        return scan_cuda::run(exec, problem);
    }
#endif
    if constexpr (pack_width<Space> != 1) {
      if (rows.dense && rows.innermost() >= scan_lanes) {
        return run_scan<scan_lanes>(exec, space, problem, schedule);
      }
    }
    run_scan<1>(exec, space, problem, schedule);
  });
}

}  // namespace ophis::detail
