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

using Vec = at::vec::Vectorized<float>;
constexpr int64_t kLanes = Vec::size();
constexpr float kNever = -std::numeric_limits<float>::infinity();

// Calls f(i, count) for vectors of `count` elements from i on that cover 0..n-1; only the last may be shorter.
template <class F>
inline __attribute__((always_inline)) void for_vectors(int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, n - i);
}

inline __attribute__((always_inline)) Vec load(const float* from, int64_t count) {
  return count == kLanes ? Vec::loadu(from) : Vec::loadu(from, count);
}

inline __attribute__((always_inline)) void store(float* to, Vec value, int64_t count) {
  if (count == kLanes) value.store(to);
  else value.store(to, static_cast<int>(count));
}

inline float sum_lanes(Vec value) {
  return at::vec::vec_reduce_all<float>([](Vec& a, Vec& b) { return a + b; }, value);
}

inline float max_lanes(Vec value) {
  float lanes[kLanes], highest = kNever;
  value.store(lanes);
  for (float lane : lanes) highest = lane > highest || std::isnan(lane) ? lane : highest;
  return highest;
}

// exp(x) to 20 units in the last place. NaN stays NaN, which the fast exponential alone would lose.
inline Vec fast_exp(Vec x) { return Vec::blendv(x.exp_u20(), x, x.isnan()); }

inline Vec sigmoid(Vec x) { return Vec(1.f) / (Vec(1.f) + fast_exp(x.neg())); }

// tanh(x) = 2 sigmoid(2x) - 1, with an absolute error of 1e-6
inline Vec fast_tanh(Vec x) { return Vec(2.f) * sigmoid(x + x) - Vec(1.f); }

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
