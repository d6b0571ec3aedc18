#include "ophis/core/uploader.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/src/gpu.hpp"
#include "ophis/core/host_parallel.hpp"

namespace ophis {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{32} << 20;
constexpr std::size_t piece_bytes = std::size_t{1} << 20;  // what one thread copies at a time
constexpr std::size_t buffers = 3;

void copy_on_all_threads(char* to, const char* from, std::size_t bytes) {
  const auto pieces = static_cast<std::int64_t>((bytes + piece_bytes - 1) / piece_bytes);
  for_each_on_host(pieces, [&](std::int64_t piece, int) {
    const std::size_t begin = static_cast<std::size_t>(piece) * piece_bytes;
    std::memcpy(to + begin, from + begin, std::min(piece_bytes, bytes - begin));
  });
}

}  // namespace

struct Uploader::Impl {
  struct Staging {
    char* memory = nullptr;
    gpu::Event sent = nullptr;
    bool in_use = false;
  };

  explicit Impl(Device device) : index(device.index) {
    stream = gpu::create_stream(index);
    for (Staging& buffer : staging) buffer.sent = gpu::create_event(index);
  }
  ~Impl() {
    try {
      gpu::synchronize(stream, index);
    } catch (const Error&) {  // finish() has reported it, or nobody asked
    }
    for (const Staging& buffer : staging) {
      gpu::destroy_event(buffer.sent);
      if (buffer.memory) gpu::free_pinned(buffer.memory);
    }
    gpu::destroy_stream(stream, index);
  }

  void send(char* to, const char* from, std::size_t bytes) {
    Staging& buffer = staging[next++ % buffers];
    if (buffer.memory == nullptr) buffer.memory = static_cast<char*>(gpu::allocate_pinned(buffer_bytes));
    if (buffer.in_use) gpu::wait(buffer.sent, index);
    copy_on_all_threads(buffer.memory, from, bytes);
    gpu::copy(to, buffer.memory, bytes, stream, index);
    gpu::record(buffer.sent, stream, index);
    buffer.in_use = true;
  }

  int index;
  gpu::Stream stream = nullptr;
  std::array<Staging, buffers> staging;
  std::size_t next = 0;
};

Uploader::Uploader(Device device) {
  OPHIS_REQUIRE(device.type != DeviceType::cpu, "Uploader: the device must be a GPU");
  require_available(device);
  m_impl = std::make_unique<Impl>(device);
}
Uploader::~Uploader() = default;
Uploader::Uploader(Uploader&&) noexcept = default;
Uploader& Uploader::operator=(Uploader&&) noexcept = default;

void Uploader::upload(const Tensor& from, const Tensor& to) {
  OPHIS_REQUIRE(from.shape() == to.shape() && from.dtype() == to.dtype() && from.is_contiguous() &&
                    to.is_contiguous() && from.device() == Device::cpu(),
                "upload: from is ", from, " and to is ", to,
                ", but both must be dense, of one shape and dtype, and from on the cpu");
  for (std::size_t begin = 0; begin < from.bytes(); begin += buffer_bytes) {
    m_impl->send(static_cast<char*>(to.raw()) + begin, static_cast<const char*>(from.raw()) + begin,
                 std::min(buffer_bytes, from.bytes() - begin));
  }
}

void Uploader::finish() { gpu::synchronize(m_impl->stream, m_impl->index); }

}  // namespace ophis
