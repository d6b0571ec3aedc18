// A build for the CPU only: nothing below is called but type, is_lost, count and why_not.
#include "core/src/gpu.hpp"
#include "ophis/core/error.hpp"

namespace ophis::gpu {
namespace {

[[noreturn]] void fail_without_gpu() { fail(ErrorCode::unsupported, "this build has the cpu only"); }

}  // namespace

DeviceType type() noexcept { return DeviceType::cpu; }
bool is_lost() noexcept { return false; }
int count() noexcept { return 0; }
std::string why_not(int) { return "this build has the cpu only"; }

void* allocate(std::size_t, int) { fail_without_gpu(); }
void free(void*, int) noexcept {}
void* allocate_managed(std::size_t, int) { fail_without_gpu(); }
void free_managed(void*) noexcept {}
void* allocate_pinned(std::size_t) { fail_without_gpu(); }
void free_pinned(void*) noexcept {}
Stream create_stream(int) { fail_without_gpu(); }
void destroy_stream(Stream, int) noexcept {}
void synchronize(Stream, int) { fail_without_gpu(); }
void copy(void*, const void*, std::size_t, Stream, int) { fail_without_gpu(); }
void fill_with_zeros(void*, std::size_t, Stream, int) { fail_without_gpu(); }
void set_device(int) { fail_without_gpu(); }
Event create_event(int, bool) { fail_without_gpu(); }
void destroy_event(Event) noexcept {}
void record(Event, Stream, int) { fail_without_gpu(); }
void wait(Event, int) { fail_without_gpu(); }
double seconds_between(Event, Event, int) { fail_without_gpu(); }
bool begin_recording(Stream, int) { fail_without_gpu(); }
GraphHandle end_recording(Stream, int) { fail_without_gpu(); }
void abandon_recording(Stream, int) noexcept {}
void launch(GraphHandle, Stream, int) { fail_without_gpu(); }
void destroy_graph(GraphHandle) noexcept {}

}  // namespace ophis::gpu
