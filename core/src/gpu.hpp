// What core asks of a GPU's runtime. gpu_runtime.cpp implements it for NVIDIA and AMD, gpu_none.cpp where a
// build has the CPU only. `index` numbers the devices of the process.
#pragma once

#include <cstddef>
#include <string>

#include "ophis/core/device.hpp"

namespace ophis::gpu {

/// A cudaStream_t or hipStream_t.
using Stream = void*;
/// A cudaGraphExec_t or hipGraphExec_t.
using GraphHandle = void*;

/// The kind of GPU that this build is for; cpu if for none.
DeviceType type() noexcept;

/// How many devices the runtime sees, of whatever use.
int count() noexcept;

/// Why a device cannot be used: there is none, its driver or its architecture does not fit. Empty if it can.
std::string why_not(int index);

/// Whether a kernel has failed, after which this process can use no GPU any more.
bool is_lost() noexcept;

/// Makes a device the calling thread's.
void set_device(int index);

/// Memory from a pool that keeps what is given back. Throws Error(out_of_memory).
void* allocate(std::size_t bytes, int index);
/// No work may be pending on the memory.
void free(void* data, int index) noexcept;
/// Memory that the host can use too, while the device does no work on it.
void* allocate_managed(std::size_t bytes, int index);
void free_managed(void* data) noexcept;
/// Page-locked memory of the host, which copies can use without waiting.
void* allocate_pinned(std::size_t bytes);
void free_pinned(void* data) noexcept;

Stream create_stream(int index);
void destroy_stream(Stream stream, int index) noexcept;
/// Waits for the work on a stream. Throws Error(internal) if some of it failed.
void synchronize(Stream stream, int index);

/// Both go to the stream. Either side of a copy is host or device memory.
void copy(void* to, const void* from, std::size_t bytes, Stream stream, int index);
void fill_with_zeros(void* to, std::size_t bytes, Stream stream, int index);

/// A mark in a stream that the host can wait for: a cudaEvent_t or hipEvent_t. Only marks made for timing
/// have a time.
using Event = void*;
Event create_event(int index, bool timing = false);
void destroy_event(Event event) noexcept;
void record(Event event, Stream stream, int index);
void wait(Event event, int index);
/// Seconds between two marks; waits for the later one.
double seconds_between(Event start, Event end, int index);

/// What is given to the stream in between is recorded, not done. False, and nothing begins, on a stream that
/// cannot be recorded: the legacy default stream.
bool begin_recording(Stream stream, int index);
GraphHandle end_recording(Stream stream, int index);
/// Ends a recording that failed.
void abandon_recording(Stream stream, int index) noexcept;
void launch(GraphHandle graph, Stream stream, int index);
void destroy_graph(GraphHandle graph) noexcept;

}  // namespace ophis::gpu
