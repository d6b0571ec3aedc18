#include "models/src/gguf/block_formats.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "models/src/source_pieces.hpp"
#include "ophis/core/half.hpp"
#include "ophis/core/host_parallel.hpp"

namespace ophis::gguf {
namespace {

using Byte = std::uint8_t;

float half_at(const Byte* bytes) {
  float16 value;
  std::memcpy(&value, bytes, sizeof(value));
  return static_cast<float>(value);
}

/// A block taken apart: a code for each element, a scale and a shift for each group.
template <int elements, int groups>
struct Parts {
  std::array<Byte, elements> code;
  std::array<float, groups> scale, shift;
};

// Each format says how many elements a block has, in how many bytes and groups, how many bits its codes take
// here, whether scales are float16 in the file and whether groups have shifts. Layouts: ggml-common.h and
// dequantize_row_* of ggml-quants.c; d and m are float16, other numbers bytes or parts of them.

/// The halves of 16 bytes: first the low ones, then the high ones.
void read_halves(const Byte* bytes, Byte* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = bytes[i] & 15;
    codes[i + 16] = static_cast<Byte>(bytes[i] >> 4);
  }
}

/// Adds 16 to the codes that have a fifth bit.
void add_fifth_bits(const Byte* bits, Byte* codes) {
  for (int i = 0; i < 32; ++i) codes[i] = static_cast<Byte>(codes[i] | (bits[i / 8] >> i % 8 & 1) << 4);
}

/// d, codes of 4 bits; w = d (q - 8)
struct Q4_0 {
  static constexpr int elements = 32, bytes = 18, groups = 1, bits = 4;
  static constexpr bool half_scale = true, has_shift = false;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    parts.scale[0] = half_at(block);
    read_halves(block + 2, parts.code.data());
  }
};

/// d, m, codes of 4 bits; w = d q + m
struct Q4_1 {
  static constexpr int elements = 32, bytes = 20, groups = 1, bits = 4;
  static constexpr bool half_scale = true, has_shift = true;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    parts.scale[0] = half_at(block);
    parts.shift[0] = half_at(block + 2);
    read_halves(block + 4, parts.code.data());
  }
};

/// d, 32 fifth bits, the four lower ones; w = d (q - 16)
struct Q5_0 {
  static constexpr int elements = 32, bytes = 22, groups = 1, bits = 8;
  static constexpr bool half_scale = true, has_shift = false;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    parts.scale[0] = half_at(block);
    read_halves(block + 6, parts.code.data());
    add_fifth_bits(block + 2, parts.code.data());
    for (Byte& code : parts.code) code = static_cast<Byte>(code + 128 - 16);
  }
};

/// d, m, 32 fifth bits, the four lower ones; w = d q + m
struct Q5_1 {
  static constexpr int elements = 32, bytes = 24, groups = 1, bits = 8;
  static constexpr bool half_scale = true, has_shift = true;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    parts.scale[0] = half_at(block);
    parts.shift[0] = half_at(block + 2);
    read_halves(block + 8, parts.code.data());
    add_fifth_bits(block + 4, parts.code.data());
  }
};

/// d, int8; w = d q
struct Q8_0 {
  static constexpr int elements = 32, bytes = 34, groups = 1, bits = 8;
  static constexpr bool half_scale = true, has_shift = false;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    parts.scale[0] = half_at(block);
    for (std::size_t i = 0; i < elements; ++i) parts.code[i] = block[2 + i] ^ 0x80;
  }
};

/// The element whose 2 bits lie in byte [chunk * 32 + i] from bit 2 * pair on.
constexpr std::size_t two_bit_element(int chunk, int pair, int i) {
  return static_cast<std::size_t>(chunk) * 128 + static_cast<std::size_t>(pair * 32 + i);
}

/// 16 times 4 bits of scale and of minimum, codes of 2 bits, d, dmin; w = d scale q - dmin minimum
struct Q2_K {
  static constexpr int elements = 256, bytes = 84, groups = 16, bits = 4;
  static constexpr bool half_scale = false, has_shift = true;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    const float d = half_at(block + 80), dmin = half_at(block + 82);
    for (std::size_t g = 0; g < groups; ++g) {
      parts.scale[g] = d * static_cast<float>(block[g] & 15);
      parts.shift[g] = -(dmin * static_cast<float>(block[g] >> 4));
    }
    for (int chunk = 0; chunk < 2; ++chunk) {
      for (int pair = 0; pair < 4; ++pair) {
        for (int i = 0; i < 32; ++i)
          parts.code[two_bit_element(chunk, pair, i)] = block[16 + chunk * 32 + i] >> 2 * pair & 3;
      }
    }
  }
};

/// 256 third bits, codes of 2 bits, 16 scales of 6 bits, d; w = d (scale - 32) (q - 4)
struct Q3_K {
  static constexpr int elements = 256, bytes = 110, groups = 16, bits = 4;
  static constexpr bool half_scale = false, has_shift = false;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    const Byte* const packed = block + 96;
    const float d = half_at(block + 108);
    for (int g = 0; g < groups; ++g) {
      const int low = g < 8 ? packed[g] & 15 : packed[g - 8] >> 4;
      const int high = packed[8 + g % 4] >> 2 * (g / 4) & 3;
      parts.scale[static_cast<std::size_t>(g)] = d * static_cast<float>((low | high << 4) - 32);
    }
    for (int chunk = 0; chunk < 2; ++chunk) {
      for (int pair = 0; pair < 4; ++pair) {
        for (int i = 0; i < 32; ++i) {
          const int low = block[32 + chunk * 32 + i] >> 2 * pair & 3;
          const int high = block[i] >> (chunk * 4 + pair) & 1;
          parts.code[two_bit_element(chunk, pair, i)] = static_cast<Byte>((low | high << 2) + 8 - 4);
        }
      }
    }
  }
};

/// d, dmin, 8 times 6 bits of scale and of minimum; w = d scale q - dmin minimum
void read_scales_and_minima(const Byte* block, float* scale, float* shift) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const Byte* const packed = block + 4;
  for (int g = 0; g < 8; ++g) {
    const int s = g < 4 ? packed[g] & 63 : (packed[g + 4] & 15) | (packed[g - 4] >> 2 & 0x30);
    const int m = g < 4 ? packed[g + 4] & 63 : packed[g + 4] >> 4 | (packed[g] >> 2 & 0x30);
    scale[g] = d * static_cast<float>(s);
    shift[g] = -(dmin * static_cast<float>(m));
  }
}

/// Four times the low halves of 32 bytes, then their high halves.
void read_quarters(const Byte* bytes, Byte* codes) {
  for (int quarter = 0; quarter < 4; ++quarter) {
    for (int i = 0; i < 32; ++i) {
      codes[quarter * 64 + i] = bytes[quarter * 32 + i] & 15;
      codes[quarter * 64 + 32 + i] = static_cast<Byte>(bytes[quarter * 32 + i] >> 4);
    }
  }
}

/// Scales and minima, codes of 4 bits
struct Q4_K {
  static constexpr int elements = 256, bytes = 144, groups = 8, bits = 4;
  static constexpr bool half_scale = false, has_shift = true;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    read_scales_and_minima(block, parts.scale.data(), parts.shift.data());
    read_quarters(block + 16, parts.code.data());
  }
};

/// Scales and minima, 256 fifth bits, the four lower ones
struct Q5_K {
  static constexpr int elements = 256, bytes = 176, groups = 8, bits = 8;
  static constexpr bool half_scale = false, has_shift = true;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    read_scales_and_minima(block, parts.scale.data(), parts.shift.data());
    read_quarters(block + 48, parts.code.data());
    for (int e = 0; e < elements; ++e) {
      Byte& code = parts.code[static_cast<std::size_t>(e)];
      code = static_cast<Byte>(code | (block[16 + e % 32] >> e / 32 & 1) << 4);
    }
  }
};

/// Lower 4 bits, upper 2 bits, 16 int8 scales, d; w = d scale (q - 32)
struct Q6_K {
  static constexpr int elements = 256, bytes = 210, groups = 16, bits = 8;
  static constexpr bool half_scale = false, has_shift = false;
  static void read(const Byte* block, Parts<elements, groups>& parts) {
    const float d = half_at(block + 208);
    for (std::size_t g = 0; g < groups; ++g)
      parts.scale[g] = d * static_cast<float>(static_cast<std::int8_t>(block[192 + g]));
    for (int chunk = 0; chunk < 2; ++chunk) {
      for (int pair = 0; pair < 4; ++pair) {
        for (int i = 0; i < 32; ++i) {
          const int low = block[chunk * 64 + pair % 2 * 32 + i] >> pair / 2 * 4 & 15;
          const int high = block[128 + chunk * 32 + i] >> 2 * pair & 3;
          parts.code[two_bit_element(chunk, pair, i)] = static_cast<Byte>((low | high << 4) + 128 - 32);
        }
      }
    }
  }
};

template <class Format>
void unpack_row(const Byte* from, std::int64_t blocks, Byte* codes, void* scale, float* shift) {
  Parts<Format::elements, Format::groups> parts;
  for (std::int64_t b = 0; b < blocks; ++b) {
    Format::read(from + b * Format::bytes, parts);
    if constexpr (Format::bits == 8) {
      codes = std::copy(parts.code.begin(), parts.code.end(), codes);
    } else {
      for (std::size_t i = 0; i < Format::elements; i += 2)
        *codes++ = static_cast<Byte>(parts.code[i] | parts.code[i + 1] << 4);
    }
    for (std::size_t g = 0; g < Format::groups; ++g) {
      const std::int64_t to = b * Format::groups + static_cast<std::int64_t>(g);
      if constexpr (Format::half_scale) {
        static_cast<float16*>(scale)[to] = float16(parts.scale[g]);
      } else {
        static_cast<float*>(scale)[to] = parts.scale[g];
      }
      if constexpr (Format::has_shift) shift[to] = parts.shift[g];
    }
  }
}

template <class Format>
UnpackedMatrix unpack_as(std::span<const std::byte> bytes, std::int64_t rows, std::int64_t columns,
                         const ReleaseFn& release) {
  const std::int64_t blocks = columns / Format::elements, groups = blocks * Format::groups;
  const std::int64_t row_bytes = columns * Format::bits / 8;
  UnpackedMatrix matrix;
  matrix.bits = Format::bits;
  matrix.codes = OwnedTensor(DType::uint8, {rows, row_bytes});
  matrix.scale = OwnedTensor(Format::half_scale ? DType::float16 : DType::float32, {rows, groups});
  if (Format::has_shift) matrix.shift = OwnedTensor(DType::float32, {rows, groups});
  auto* const scale = static_cast<std::byte*>(matrix.scale->raw());
  const auto scale_row = groups * static_cast<std::int64_t>(size_of(matrix.scale->dtype()));
  float* const shift = Format::has_shift ? matrix.shift->data<float>() : nullptr;
  for_each_piece(rows, bytes, release, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      unpack_row<Format>(reinterpret_cast<const Byte*>(bytes.data()) + r * blocks * Format::bytes, blocks,
                         matrix.codes->data<Byte>() + r * row_bytes, scale + r * scale_row,
                         shift + (Format::has_shift ? r * groups : 0));
    }
  });
  return matrix;
}

struct KnownFormat {
  std::string_view name;
  UnpackedMatrix (*unpack)(std::span<const std::byte>, std::int64_t rows, std::int64_t columns,
                           const ReleaseFn& release);
};

constexpr std::array<KnownFormat, 10> known_formats{{{"Q4_0", unpack_as<Q4_0>},
                                                     {"Q4_1", unpack_as<Q4_1>},
                                                     {"Q5_0", unpack_as<Q5_0>},
                                                     {"Q5_1", unpack_as<Q5_1>},
                                                     {"Q8_0", unpack_as<Q8_0>},
                                                     {"Q2_K", unpack_as<Q2_K>},
                                                     {"Q3_K", unpack_as<Q3_K>},
                                                     {"Q4_K", unpack_as<Q4_K>},
                                                     {"Q5_K", unpack_as<Q5_K>},
                                                     {"Q6_K", unpack_as<Q6_K>}}};

const KnownFormat* find_format(std::string_view type) {
  const auto* const found = std::find_if(known_formats.begin(), known_formats.end(),
                                         [&](const KnownFormat& format) { return format.name == type; });
  return found == known_formats.end() ? nullptr : found;
}

}  // namespace

bool can_unpack(std::string_view type) { return find_format(type) != nullptr; }

std::string unpackable_types() {
  std::string names;
  for (const KnownFormat& format : known_formats) names.append(names.empty() ? "" : ", ").append(format.name);
  return names;
}

UnpackedMatrix unpack(std::string_view type, std::span<const std::byte> blocks, std::int64_t rows,
                      std::int64_t columns, const ReleaseFn& release) {
  return find_format(type)->unpack(blocks, rows, columns, release);
}

OwnedTensor dequantize(const UnpackedMatrix& matrix) {
  const std::int64_t rows = matrix.codes->extent(0), row_bytes = matrix.codes->extent(1);
  const std::int64_t columns = row_bytes * 8 / matrix.bits, groups = matrix.scale->extent(1);
  const std::int64_t group_size = groups == 0 ? 1 : columns / groups;
  OwnedTensor values(DType::float32, {rows, columns});
  for_each_on_host(rows, [&](std::int64_t r, int) {
    const Byte* const codes = matrix.codes->data<Byte>() + r * row_bytes;
    float* const to = values->data<float>() + r * columns;
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::int64_t at = r * groups + c / group_size, bit = c * matrix.bits;
      const float scale = matrix.scale->dtype() == DType::float32
                              ? matrix.scale->data<float>()[at]
                              : static_cast<float>(matrix.scale->data<float16>()[at]);
      const int middle = 1 << (matrix.bits - 1);
      const int code = codes[bit / 8] >> bit % 8 & (2 * middle - 1);
      // Exact but for one rounding at the end: a code has 8 bits and a scale at most 18.
      to[c] = matrix.shift.view() ? std::fma(scale, static_cast<float>(code), matrix.shift->data<float>()[at])
                                  : scale * static_cast<float>(code - middle);
    }
  });
  return values;
}

}  // namespace ophis::gguf
