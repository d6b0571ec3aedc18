// Graph: work that is done again and again with the same memory, recorded once.
#pragma once

#include <functional>
#include <memory>

#include "ophis/core/exec_context.hpp"

namespace ophis {

/// A sequence of ops that reads and writes the same tensors each time, such as one step of generation. On a
/// GPU the first run() does the work as usual, the second records it, and from then on a run costs the host
/// one launch (CUDA or HIP graphs). On the CPU, and on the legacy default stream, which cannot be recorded,
/// each run does the work.
///
/// The graph has scratch memory of its own, so the context may do other work between two runs. The tensors
/// and the context must outlive it.
class Graph {
 public:
  /// `work` gives ops to `exec` and nothing else: it must not wait for them nor read what they wrote.
  Graph(ExecContext& exec, std::function<void()> work);
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;

  /// Queues the work once more.
  void run();

 private:
  struct Impl;
  std::unique_ptr<Impl> m_impl;
};

}  // namespace ophis
