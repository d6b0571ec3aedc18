#include "ophis/core/workspace.hpp"

#include <algorithm>

namespace ophis {
namespace {
constexpr std::size_t least_block = std::size_t{1} << 20;
constexpr std::size_t alignment = 256;  // what a GPU's widest accesses want
}  // namespace

Tensor Workspace::take_tensor(DType dtype, const Dims& shape) {
  return Tensor(take_bytes(static_cast<std::size_t>(element_count(shape)) * size_of(dtype)), dtype, shape,
                m_device);
}

std::size_t Workspace::capacity() const noexcept {
  std::size_t total = 0;
  for (const Buffer& block : m_blocks) total += block.bytes();
  return total;
}

void* Workspace::take_bytes(std::size_t bytes) {
  if (m_depth == 0) fail(ErrorCode::internal, "workspace memory taken outside a Workspace::Scope");
  bytes = std::max<std::size_t>((bytes + alignment - 1) / alignment * alignment, alignment);
  while (m_block < m_blocks.size() && m_blocks[m_block].bytes() - m_used < bytes) {
    ++m_block;
    m_used = 0;
  }
  if (m_block == m_blocks.size()) {
    m_blocks.emplace_back(std::max({bytes, least_block, capacity()}), m_device);
    m_used = 0;
  }
  void* const result = static_cast<char*>(m_blocks[m_block].data()) + m_used;
  m_used += bytes;
  return result;
}

void Workspace::rewind(std::size_t block, std::size_t used) {
  m_block = block;
  m_used = used;
  --m_depth;
  if (m_depth == 0 &&
      m_blocks.size() > 1) {  // one block of the whole size, so that next time nothing is allocated
    const std::size_t total = capacity();
    if (m_fence) m_fence();
    m_blocks.clear();
    m_blocks.emplace_back(total, m_device);
    m_block = 0;
  }
}

}  // namespace ophis
