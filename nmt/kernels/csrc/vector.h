// Loops over rows of float32, on the vectors of at::vec, and the functions of a recurrent layer.

#pragma once

#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace nmt {

#define NMT_INLINE inline __attribute__((always_inline))

using Vec = at::vec::Vectorized<float>;
constexpr int64_t kLanes = Vec::size();
constexpr float kNever = -std::numeric_limits<float>::infinity();

// Calls f(i, count) for vectors of `count` elements from i on that cover 0..n-1; only the last may be shorter.
template <class F>
NMT_INLINE void for_vectors(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, n - i);
}

NMT_INLINE Vec load(const float* from, int64_t count) {
  return count == kLanes ? Vec::loadu(from) : Vec::loadu(from, count);
}

NMT_INLINE void store(float* to, Vec value, int64_t count) {
  if (count == kLanes) value.store(to);
  else value.store(to, static_cast<int>(count));
}

NMT_INLINE float sum_lanes(Vec value) {
  return at::vec::vec_reduce_all<float>([](Vec& a, Vec& b) { return a + b; }, value);
}

NMT_INLINE float max_lanes(Vec value) {
  return at::vec::vec_reduce_all<float>([](Vec& a, Vec& b) { return at::vec::maximum(a, b); }, value);
}

// exp(x) = 2^n e^r with n = round(x / ln 2) and r = x - n ln 2 in +-0.35, where a polynomial, fitted to the least relative
// error, gives e^r to 2 units in the last place. x must be within +-87, for which 2^n is a normal number, or NaN.
NMT_INLINE Vec exp_within_range(Vec x) {
  using Int = at::vec::Vectorized<int32_t>;
  // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the lowest bits.
  Vec shifted = at::vec::fmadd(x, Vec(1.44269504f), Vec(12582912.f)), n = shifted - Vec(12582912.f);
  Vec r = at::vec::fmadd(n, Vec(-0.693147181f), x), y(0.00831250101f);
  for (float coefficient : {0.0418903306f, 0.166671157f, 0.499992311f, 1.f, 1.f}) y = at::vec::fmadd(y, r, Vec(coefficient));
  // Added to the exponent of y; the shift drops the constant.
  Int power = at::vec::cast<int32_t, float>(shifted) << Int(23);
  return at::vec::cast<float, int32_t>(at::vec::cast<int32_t, float>(y) + power);
}

// exp(x) with x limited to +-87; NaN stays NaN.
NMT_INLINE Vec fast_exp(Vec x) { return exp_within_range(at::vec::clamp(x, Vec(-87.f), Vec(87.f))); }

NMT_INLINE Vec sigmoid(Vec x) { return Vec(1.f) / (Vec(1.f) + fast_exp(x.neg())); }

// tanh(x) = 2 sigmoid(2x) - 1, with an absolute error of 1e-6
NMT_INLINE Vec fast_tanh(Vec x) { return Vec(2.f) * sigmoid(x + x) - Vec(1.f); }

// sigmoid(x) tanh(y) = (1 - e^(-2y)) / ((1 + e^-x) (1 + e^(-2y))), as divisions take longest. y is limited to +-10, where
// tanh is +-1 in float32, so that the product only overflows where sigmoid(x) is 0.
NMT_INLINE Vec sigmoid_tanh(Vec x, Vec y) {
  Vec one(1.f), e = exp_within_range(at::vec::clamp(y * Vec(-2.f), Vec(-20.f), Vec(20.f)));
  return (one - e) / ((one + fast_exp(x.neg())) * (one + e));
}

// Scratch memory of one call. It is kept by the thread from call to call, since fresh pages would have to be zeroed.
class Scratch {
 public:
  template <class T>
  T* take(int64_t count) {
    size_t bytes = (count * sizeof(T) + 127) / 64 * 64;
    if (blocks_.empty() || used_ + bytes > sizes_.back()) {
      sizes_.push_back(std::max(bytes + 64, size_t{1} << 20));
      blocks_.emplace_back(new char[sizes_.back()]);
      used_ = (64 - reinterpret_cast<uintptr_t>(blocks_.back().get()) % 64) % 64;
    }
    char* at = blocks_.back().get() + used_;
    used_ += bytes;
    return reinterpret_cast<T*>(at);
  }

  // Gives back what was taken since the mark was made, so that a loop does not take more in each round.
  class Mark {
   public:
    explicit Mark(Scratch& memory) : memory_(memory), blocks_(memory.blocks_.size()), used_(memory.used_) {}
    void rewind() const {
      if (memory_.blocks_.size() == blocks_) memory_.used_ = used_;
    }

   private:
    Scratch& memory_;
    size_t blocks_, used_;
  };

  // Begins a new call: blocks that the last one needed become one block.
  void reset() {
    if (blocks_.size() > 1) {
      size_t total = 64;
      for (size_t size : sizes_) total += size;
      blocks_.clear();
      blocks_.emplace_back(new char[total]);
      sizes_.assign(1, total);
    }
    used_ = blocks_.empty() ? 0 : (64 - reinterpret_cast<uintptr_t>(blocks_[0].get()) % 64) % 64;
  }

 private:
  std::vector<std::unique_ptr<char[]>> blocks_;
  std::vector<size_t> sizes_;
  size_t used_ = 0;
};

inline Scratch& scratch() {
  thread_local Scratch memory;
  return memory;
}

}  // namespace nmt
