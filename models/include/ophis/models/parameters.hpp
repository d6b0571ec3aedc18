// Named parameters, wherever they come from: a checkpoint, or an initialisation.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "ophis/core/buffer.hpp"
#include "ophis/core/uploader.hpp"
#include "ophis/models/quantization.hpp"

namespace ophis {

/// Gives the pages of these bytes of a mapped file back to the system. They come back when they are touched.
/// Called by several threads at once; must not throw.
using ReleaseFn = std::function<void(std::span<const std::byte> bytes)>;

/// A tensor and what keeps its memory alive.
struct Parameter {
  Tensor tensor;                      ///< the values
  std::shared_ptr<const void> owner;  ///< keeps their memory
  ReleaseFn release = {};             ///< of values in a mapped file: of the parts that were used

  /// Whether it was given.
  explicit operator bool() const { return static_cast<bool>(tensor); }
};

/// Parameters made in memory, by name.
using ParameterMap = std::map<std::string, Parameter>;

/// Where the parameters of a model go.
class Placement {
 public:
  /// They stay on the host, where they were read.
  Placement() = default;
  /// They are copied to a device. Throws Error(unsupported) if it cannot be used.
  explicit Placement(Device device);

  /// Has parameters that stay on the host lie in huge pages, which a CPU reads faster: those of mapped files
  /// are copied, and what is too small for pages of its own shares them.
  void use_huge_pages();

  /// Where parameters are put.
  Device device() const noexcept { return m_device; }
  /// A finished parameter, on the host or there already, at its place. It may still be on its way until
  /// finish().
  Parameter put(const Parameter& parameter) const;
  /// Waits until all are there.
  void finish() const;

 private:
  Device m_device;
  class SharedPages;

  std::shared_ptr<Uploader> m_uploader;
  std::shared_ptr<SharedPages> m_shared_pages;  // none: parameters stay where they are
};

/// Looks parameters up by their checkpoint names, which may stand behind a prefix such as
/// "backbone.layers.3.mixer.".
class ParameterSource {
 public:
  /// Gives the parameter of a name in the checkpoint; an absent one is empty.
  using Find = std::function<Parameter(const std::string& full_name)>;

  /// `prefix` is put before every name that is asked for.
  explicit ParameterSource(Find find, Placement placement = {}, std::string prefix = {})
      : m_find(std::move(find)), m_placement(std::move(placement)), m_prefix(std::move(prefix)) {}
  /// Of parameters in memory.
  explicit ParameterSource(ParameterMap parameters, Placement placement = {});

  /// An empty parameter if there is none of that name.
  Parameter find(const std::string& name) const { return m_find(full_name(name)); }
  /// A name with the prefix, for messages.
  std::string full_name(const std::string& name) const { return m_prefix + name; }
  /// The source of what stands behind a further prefix.
  ParameterSource under(const std::string& prefix) const {
    ParameterSource source(m_find, m_placement, m_prefix + prefix);
    source.m_quantization = m_quantization;
    return source;
  }
  /// Where the model that reads from here wants its parameters.
  const Placement& placement() const noexcept { return m_placement; }
  /// What of it the model quantizes as it reads.
  const Quantization& quantization() const noexcept { return m_quantization; }
  /// Chooses what that is.
  void set_quantization(const Quantization& quantization) { m_quantization = quantization; }

 private:
  Find m_find;
  Placement m_placement;
  std::string m_prefix;
  Quantization m_quantization;
};

/// A parameter, on the host, that must exist with this shape; axes of extent 1 may be missing or extra
/// (conv1d's (dim, 1, width)). Throws Error(not_found) or Error(corrupt_data) that names it.
Parameter require_parameter(const ParameterSource& source, const std::string& name, const Dims& shape);

/// The same, converted to `dtype` if it is not that already, and put in its place, where it may be already.
Parameter require_parameter(const ParameterSource& source, const std::string& name, const Dims& shape,
                            DType dtype);

/// A dense copy of a host tensor in another compute dtype, rounded to nearest even. Reads any of float32,
/// bfloat16, float16 and float64.
OwnedTensor convert(const Tensor& tensor, DType dtype);

/// The same into a dense tensor of that shape.
void convert(const Tensor& from, const Tensor& to);

/// An owned tensor as a parameter.
Parameter own(OwnedTensor tensor);

}  // namespace ophis
