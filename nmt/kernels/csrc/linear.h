// Matrix products with weights that were packed when the model was loaded.

#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/_int_mm.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>

#include <bit>
#include <string>
#include <vector>

#include "vector.h"

namespace nmt {

using at::Tensor;
using Tensors = c10::Dict<std::string, Tensor>;

constexpr int64_t kPanel = 64;  // outputs of a panel of packed weights
constexpr int64_t kBlock = 64;  // rows of one product
constexpr int64_t kDepth = 512; // inputs of one int8 product
constexpr int64_t kRows = 8;    // numbers of rows are rounded up to it, so that few products have to be generated

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// The width of a buffer that a product of `n` outputs is written to.
inline int64_t padded(int64_t n) { return round_up(n, kPanel); }

// Rows of float32 in scratch memory, with room for whole panels and blocks.
struct Rows {
  float* data;
  int64_t ld;
  float* operator[](int64_t i) const { return data + i * ld; }
};

inline Rows take_rows(int64_t n, int64_t width) {
  return {scratch().take<float>(round_up(n, kRows) * padded(width)), padded(width)};
}

// A part of the input rows of a product: `width` columns of a matrix with leading dimension `ld`.
struct Segment {
  const float* data;
  int64_t ld, width;
};

inline Tensor optional_tensor(const Tensors& tensors, const std::string& name) {
  return tensors.contains(name) ? tensors.at(name) : Tensor();
}

template <class T>
const T* data_of(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

// y = x W^T + b, where x (n, I) is the concatenation of segments. By the type of W, the product is in
//   float32   x and W as they are
//   bfloat16  x rounded to bfloat16, sums in float32
//   int8      x rounded to 8 bits with one scale a row, exact sums, as in nmt/model/quantized.py. x is stored as
//             unsigned, with 128 added, which the hardware multiplies best; 128 times the column sum is subtracted.
// W is packed in panels of 64 outputs, (O / 64, I / 4, 64, 4) for int8, (O / 64, I / 2, 64, 2) for bfloat16 and
// (O / 64, I, 64) for float32, that stay in the cache while all rows are multiplied with them. Without a hardware for
// these products (`weight` is given, not `packed`) torch's are used.
class Linear {
 public:
  Linear() = default;

  Linear(const Tensors& tensors, const std::string& name)
      : packed_(optional_tensor(tensors, name + ".packed")),
        weight_(optional_tensor(tensors, name + ".weight")),
        scale_(optional_tensor(tensors, name + ".scale")),
        sums_(optional_tensor(tensors, name + ".sums")),
        bias_(optional_tensor(tensors, name + ".bias")) {
    if (!bias_.defined()) return;
    outputs_ = bias_.size(0);
    set_pointers();
    type_ = (packed_.defined() ? packed_ : weight_).scalar_type();
    depth_ = packed_.defined() ? packed_.size(1) * (packed_.dim() == 4 ? packed_.size(3) : 1) : weight_.size(1);
  }

  bool defined() const { return bias_.defined(); }
  int64_t outputs() const { return outputs_; }  // a multiple of 64 where packed

  // The rows of an input in the type of the product, with their scales for int8.
  struct Operand {
    void* x;
    float* scale;
  };

  // Computes y (n, O) for the n rows of `input`, or with `accumulate` adds x W^T to y.
  void operator()(const std::vector<Segment>& input, int64_t n, Rows y, bool accumulate = false) const {
    if (n > 0) multiply(prepare(input, n), n, y, accumulate);
  }

  Operand prepare(const std::vector<Segment>& input, int64_t n) const {
    int64_t rows = round_up(n, kRows);
    if (type_ == at::kChar) {
      auto* x = scratch().take<uint8_t>(rows * depth_);
      auto* scale = scratch().take<float>(rows);
      quantise(input, n, x, scale);
      return {x, scale};
    }
    if (type_ == at::kBFloat16) {
      auto* x = scratch().take<at::BFloat16>(rows * depth_);
      narrow(input, n, x);
      return {x, nullptr};
    }
    auto* x = scratch().take<float>(rows * depth_);
    concatenate(input, n, x);
    return {x, nullptr};
  }

  void multiply(Operand x, int64_t n, Rows y, bool accumulate = false) const {
    if (type_ == at::kChar && packed_.defined()) int8_panels(static_cast<uint8_t*>(x.x), x.scale, n, y, accumulate);
    else if (type_ == at::kChar) int8_torch(static_cast<uint8_t*>(x.x), x.scale, n, y, accumulate);
    else if (type_ == at::kBFloat16) float_panels(static_cast<at::BFloat16*>(x.x), n, y, accumulate);
    else if (packed_.defined()) float_panels(static_cast<float*>(x.x), n, y, accumulate);
    else float_torch(static_cast<float*>(x.x), n, y, accumulate);
  }

  // Returns the layer of the outputs first..first+count-1, where `first` is a multiple of 64.
  Linear part(int64_t first, int64_t count) const {
    Linear part = *this;
    auto cut = [&](Tensor& tensor, int64_t unit) {
      if (tensor.defined()) tensor = tensor.narrow(0, first / unit, (count + unit - 1) / unit);
    };
    cut(part.packed_, kPanel);
    for (Tensor* tensor : {&part.weight_, &part.scale_, &part.sums_, &part.bias_}) cut(*tensor, 1);
    part.outputs_ = count;
    part.set_pointers();
    return part;
  }

  // Returns the layer of the outputs `ids`. Whatever the type, a packed row is a sequence of units of four bytes.
  Linear gather(const std::vector<int64_t>& ids) const {
    Linear chosen = *this;
    int64_t count = ids.size(), panels = (count + kPanel - 1) / kPanel, units = packed_.defined() ? packed_.size(1) : 0;
    std::vector<int64_t> filled(ids);
    if (units > 0) filled.resize(panels * kPanel, ids[0]);
    Tensor index = at::tensor(filled);
    for (Tensor* tensor : {&chosen.weight_, &chosen.scale_, &chosen.sums_, &chosen.bias_})
      if (tensor->defined()) *tensor = tensor->index_select(0, index);
    if (units > 0) {
      std::vector<int64_t> sizes = packed_.sizes().vec();
      sizes[0] = panels;
      chosen.packed_ = at::empty(sizes, packed_.options());
      const auto* from = static_cast<const int32_t*>(packed_.const_data_ptr());
      auto* to = static_cast<int32_t*>(chosen.packed_.data_ptr());
      for (int64_t p = 0; p < panels; ++p, to += units * kPanel) {
        int32_t start[kPanel];
        for (int64_t j = 0; j < kPanel; ++j) {
          int64_t id = filled[p * kPanel + j];
          start[j] = static_cast<int32_t>(id / kPanel * units * kPanel + id % kPanel);
        }
        for (int64_t k = 0; k < units * kPanel; k += kPanel)
          for (int64_t j = 0; j < kPanel; ++j) to[k + j] = from[start[j] + k];
      }
    }
    chosen.outputs_ = filled.size();
    chosen.set_pointers();
    return chosen;
  }

  const float* bias = nullptr;

 private:
  void set_pointers() {
    bias = data_of<float>(bias_);
    columns_ = data_of<float>(scale_);
    offsets_ = data_of<int32_t>(sums_);
  }

  // x_q = round(x / s) + 128 with s = max |x| / 127, for each row
  void quantise(const std::vector<Segment>& input, int64_t n, uint8_t* x, float* scale) const {
    for (int64_t i = 0; i < n; ++i) {
      Vec highest(0.f);
      for (const Segment& part : input) {
        const float* from = part.data + i * part.ld;
        for_vectors(part.width, [&](int64_t j, int64_t count) {
          highest = at::vec::maximum(highest, load(from + j, count).abs());
        });
      }
      float top = max_lanes(highest);
      scale[i] = (top < 1e-12f ? 1e-12f : top) / 127.f;
      uint8_t* to = x + i * depth_;
      for (const Segment& part : input) {
        round_row(part.data + i * part.ld, 1.f / scale[i], part.width, to);
        to += part.width;
      }
      std::memset(to, 0, x + (i + 1) * depth_ - to);  // times weights that are zero
    }
    std::memset(x + n * depth_, 0, (round_up(n, kRows) - n) * depth_);
  }

  // Adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the lowest bits.
  static void round_row(const float* __restrict from, const float factor, int64_t n, uint8_t* __restrict to) {
    for (int64_t j = 0; j < n; ++j) to[j] = static_cast<uint8_t>(std::bit_cast<int32_t>(from[j] * factor + 12582912.f) + 128);
  }

  void narrow(const std::vector<Segment>& input, int64_t n, at::BFloat16* x) const {
    for (int64_t i = 0; i < n; ++i) {
      at::BFloat16* to = x + i * depth_;
      for (const Segment& part : input) {
        at::vec::convert<float, at::BFloat16>(part.data + i * part.ld, to, part.width);
        to += part.width;
      }
      std::fill(to, x + (i + 1) * depth_, at::BFloat16(0.f));
    }
    std::fill(x + n * depth_, x + round_up(n, kRows) * depth_, at::BFloat16(0.f));
  }

  void concatenate(const std::vector<Segment>& input, int64_t n, float* x) const {
    for (int64_t i = 0; i < n; ++i) {
      float* to = x + i * depth_;
      for (const Segment& part : input) {
        std::memcpy(to, part.data + i * part.ld, part.width * sizeof(float));
        to += part.width;
      }
    }
    std::fill(x + n * depth_, x + round_up(n, kRows) * depth_, 0.f);
  }

  // Calls f(first output, first row, rows rounded up) for each tile.
  template <class F>
  void for_tiles(int64_t n, F f) const {
    for (int64_t o = 0; o < outputs_; o += kPanel)
      for (int64_t i = 0; i < n; i += kBlock) f(o, i, std::min(kBlock, round_up(n - i, kRows)));
  }

  template <class T>
  void float_panels(const T* x, int64_t n, Rows y, bool accumulate) const {
    const T* panels = packed_.const_data_ptr<T>();
    for_tiles(n, [&](int64_t o, int64_t first, int64_t rows) {
      float* tile = y[first] + o;
      if (!accumulate)
        for (int64_t i = 0; i < rows; ++i) std::memcpy(tile + i * y.ld, bias + o, kPanel * sizeof(float));
      at::native::cpublas::brgemm(
          rows, kPanel, depth_, depth_, kPanel, y.ld, true, x + first * depth_, panels + o * depth_, tile,
          std::is_same_v<T, at::BFloat16>);
    });
  }

  void int8_panels(const uint8_t* x, const float* scale, int64_t n, Rows y, bool accumulate) const {
    const auto* panels = packed_.const_data_ptr<int8_t>();
    alignas(64) int32_t sums[kBlock * kPanel];
    for_tiles(n, [&](int64_t o, int64_t first, int64_t rows) {
      for (int64_t k = 0; k < depth_; k += kDepth)  // so that the operands stay in the nearest caches
        at::native::cpublas::brgemm(
            rows, kPanel, std::min(kDepth, depth_ - k), depth_, kPanel, kPanel, k > 0, x + first * depth_ + k,
            reinterpret_cast<const signed char*>(panels + o * depth_ + k * kPanel), sums);
      for (int64_t i = 0; i < std::min(rows, n - first); ++i)
        rescale(sums + i * kPanel, offsets_ + o, scale[first + i], o, kPanel, y[first + i] + o, accumulate);
    });
  }

  // y = (sums - offset) s_x s_w + b
  void rescale(const int32_t* __restrict sums, const int32_t* __restrict offset, float row, int64_t o, int64_t count,
               float* __restrict y, bool accumulate) const {
    const float *__restrict column = columns_ + o, *__restrict b = bias + o;
    if (accumulate)
      for (int64_t j = 0; j < count; ++j) y[j] += (float)(sums[j] - offset[j]) * row * column[j] + b[j];
    else
      for (int64_t j = 0; j < count; ++j) y[j] = (float)(sums[j] - offset[j]) * row * column[j] + b[j];
  }

  void float_torch(float* x, int64_t n, Rows y, bool accumulate) const {
    if (!accumulate)
      for (int64_t i = 0; i < n; ++i) std::memcpy(y[i], bias, outputs_ * sizeof(float));
    Tensor inputs = at::from_blob(x, {n, depth_}, at::kFloat);
    Tensor outputs = at::from_blob(y.data, {n, outputs_}, {y.ld, 1}, at::kFloat);
    at::addmm_out(outputs, outputs, inputs, weight_.t());
  }

  void int8_torch(const uint8_t* x, const float* scale, int64_t n, Rows y, bool accumulate) const {
    auto* levels = scratch().take<int8_t>(n * depth_);
    for (int64_t i = 0; i < n * depth_; ++i) levels[i] = static_cast<int8_t>(x[i] ^ 128);  // back to signed
    Tensor sums = at::_int_mm(at::from_blob(levels, {n, depth_}, at::kChar), weight_.t());
    std::vector<int32_t> none(outputs_, 0);
    for (int64_t i = 0; i < n; ++i)
      rescale(sums.const_data_ptr<int32_t>() + i * outputs_, none.data(), scale[i], 0, outputs_, y[i], accumulate);
  }

  Tensor packed_, weight_, scale_, sums_, bias_;
  const float* columns_ = nullptr;
  const int32_t* offsets_ = nullptr;
  at::ScalarType type_ = at::kFloat;
  int64_t outputs_ = 0, depth_ = 0;
};

// Releases the matrix registers at the end of a call, as other code of the thread may need them in another shape.
struct Products {
  Products() { scratch().reset(); }
  ~Products() { at::native::cpublas::brgemm_release(); }
};

}  // namespace nmt
