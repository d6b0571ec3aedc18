#include "ophis/core/graph.hpp"

#include <utility>

#include "core/src/gpu.hpp"

namespace ophis {

struct Graph::Impl {
  Impl(ExecContext& on, std::function<void()> what)
      : exec(on), work(std::move(what)), workspace(on.device(), [&on] { on.fence(); }) {}
  ~Impl() {
    if (handle) gpu::destroy_graph(handle);
  }

  /// Does `action` with the graph's scratch memory in place of the context's.
  template <class Action>
  void with_own_workspace(Action action) {
    std::swap(exec.workspace(), workspace);
    try {
      action();
    } catch (...) {
      std::swap(exec.workspace(), workspace);
      throw;
    }
    std::swap(exec.workspace(), workspace);
  }

  /// Whether that could be done.
  bool record() {
    const int index = exec.device().index;
    if (!gpu::begin_recording(exec.native_stream(), index)) return false;
    try {
      with_own_workspace(work);
    } catch (...) {
      gpu::abandon_recording(exec.native_stream(), index);
      throw;
    }
    handle = gpu::end_recording(exec.native_stream(), index);
    return true;
  }

  ExecContext& exec;
  std::function<void()> work;
  Workspace workspace;
  bool has_run = false, can_record = true;
  gpu::GraphHandle handle = nullptr;
};

Graph::Graph(ExecContext& exec, std::function<void()> work)
    : m_impl(std::make_unique<Impl>(exec, std::move(work))) {}
Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

void Graph::run() {
  Impl& impl = *m_impl;
  const bool records = impl.exec.device().type != DeviceType::cpu && impl.has_run && impl.can_record;
  if (records && impl.handle == nullptr) impl.can_record = impl.record();
  if (!records || !impl.can_record) {
    impl.with_own_workspace(impl.work);
    impl.has_run = true;
    return;
  }
  gpu::launch(impl.handle, impl.exec.native_stream(), impl.exec.device().index);
}

}  // namespace ophis
