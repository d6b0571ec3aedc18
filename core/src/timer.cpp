#include "ophis/core/timer.hpp"

#include <chrono>

#include "core/src/gpu.hpp"

namespace ophis {
namespace {

class Mark {
 public:
  explicit Mark(int index) : m_event(gpu::create_event(index, true)) {}
  ~Mark() { gpu::destroy_event(m_event); }
  Mark(const Mark&) = delete;
  Mark& operator=(const Mark&) = delete;
  operator gpu::Event() const { return m_event; }

 private:
  gpu::Event m_event;
};

}  // namespace

double seconds_of(ExecContext& exec, const std::function<void()>& work) {
  if (exec.device().type == DeviceType::cpu) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    work();
    exec.fence();
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }
  const int index = exec.device().index;
  const Mark begin(index), end(index);
  gpu::record(begin, exec.native_stream(), index);
  work();
  gpu::record(end, exec.native_stream(), index);
  return gpu::seconds_between(begin, end, index);
}

}  // namespace ophis
