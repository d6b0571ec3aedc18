// Scratch memory for ops, without an allocation per call.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "ophis/core/buffer.hpp"

namespace ophis {

/// A stack of scratch memory that grows to the largest use it has seen and is then reused. Not thread safe:
/// each ExecContext has its own.
class Workspace {
 public:
  /// `fence` waits for the work that may still use what was taken; it is called before memory is given up.
  explicit Workspace(Device device, std::function<void()> fence = {})
      : m_device(device), m_fence(std::move(fence)) {}

  /// What is taken between a Scope's construction and destruction is given back by the latter.
  class Scope {
   public:
    /// What is taken from now on is given back by the destructor.
    explicit Scope(Workspace& workspace)
        : m_workspace(workspace), m_block(workspace.m_block), m_used(workspace.m_used) {
      ++workspace.m_depth;
    }
    ~Scope() { m_workspace.rewind(m_block, m_used); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& m_workspace;
    std::size_t m_block;
    std::size_t m_used;
  };

  /// `count` uninitialised elements, 64-byte aligned (on a GPU 256-byte), valid until the enclosing Scope
  /// ends.
  template <class T>
  T* take(std::int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<std::size_t>(count) * sizeof(T)));
  }
  /// A dense uninitialised tensor, valid until the enclosing Scope ends.
  Tensor take_tensor(DType dtype, const Dims& shape);

  /// Bytes held from the device.
  std::size_t capacity() const noexcept;

 private:
  void* take_bytes(std::size_t bytes);
  void rewind(std::size_t block, std::size_t used);

  Device m_device;
  std::function<void()> m_fence;
  std::vector<Buffer> m_blocks;
  std::size_t m_block = 0;  // index of the block in use
  std::size_t m_used = 0;   // bytes used of it
  std::size_t m_depth = 0;  // open scopes
};

}  // namespace ophis
