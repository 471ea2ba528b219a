// Training on a CPU: the LSTM's cell, the loss, and additive attention, each forward and backward.
//
// Values are stored as float32 or bfloat16 (T) and computed in float32. The plain forms, which the tests compare with,
// are in nmt/model/training.py and nmt/training/loss.py.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/library.h>

#include "vector.h"

namespace nmt {
namespace {

using at::Tensor;

inline Vec load(const at::BFloat16* from, int64_t count) {
  if (count == kLanes) {
    Vec value;
    at::vec::load_to_float(from, value);
    return value;
  }
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return Vec::loadu(lanes);
}
using nmt::load;

inline void store(at::BFloat16* to, Vec value, int64_t count) {
  at::vec::convert_from_float<at::BFloat16>(value, value).store(to, static_cast<int>(count));
}
using nmt::store;

// Calls f(row) for each of `rows` rows, in several threads if there are enough of `width` elements.
template <class F>
void for_rows(int64_t rows, int64_t width, F f) {
  int64_t grain = std::max<int64_t>(1, 8192 / std::max<int64_t>(width, 1));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) f(row);
  });
}

// Calls f(T()) with T the type of the elements.
template <class F>
void with_type(const Tensor& tensor, F f) {
  if (tensor.scalar_type() == at::kBFloat16) return f(at::BFloat16());
  TORCH_CHECK(tensor.scalar_type() == at::kFloat, "expected float32 or bfloat16, got ", tensor.scalar_type());
  f(float());
}

// One step of an LSTM, i, f, g, o = W x + b + U h:
//     c = sigmoid(f) c_before + sigmoid(i) tanh(g)        h = sigmoid(o) tanh(c)
// `gates` (N, 4H) holds W x + b and receives the activations; `recurrent` (N, 4H) is U h; c_before, c, h are (N, H).
void lstm_cell(const Tensor& gates, const Tensor& recurrent, const Tensor& c_before, const Tensor& c, const Tensor& h) {
  int64_t size = c.size(1);
  with_type(gates, [&](auto type) {
    using T = decltype(type);
    for_rows(c.size(0), 8 * size, [&](int64_t row) {
      T* a = gates.mutable_data_ptr<T>() + row * 4 * size;
      T* h_row = h.mutable_data_ptr<T>() + row * size;
      const T* u = recurrent.const_data_ptr<T>() + row * 4 * size;
      const float* before = c_before.const_data_ptr<float>() + row * size;
      float* c_row = c.mutable_data_ptr<float>() + row * size;
      for_vectors(size, [&](int64_t n, int64_t count) {
        auto sum = [&](int64_t gate) { return load(a + gate * size + n, count) + load(u + gate * size + n, count); };
        Vec i = sigmoid(sum(0)), f = sigmoid(sum(1)), g = fast_tanh(sum(2)), o = sigmoid(sum(3));
        Vec cell = f * load(before + n, count) + i * g;
        store(c_row + n, cell, count);
        store(h_row + n, o * fast_tanh(cell), count);
        store(a + n, i, count);
        store(a + size + n, f, count);
        store(a + 2 * size + n, g, count);
        store(a + 3 * size + n, o, count);
      });
    });
  });
}

// The gradient of `lstm_cell`, from its activations `gates`: that of h is d_output + d_h, that of c is d_c. It writes
// d_gates (N, 4H), the gradient of W x + b + U h, and replaces d_c by the gradient of c_before.
void lstm_cell_backward(const Tensor& gates, const Tensor& c_before, const Tensor& c, const Tensor& d_output,
                        const Tensor& d_h, const Tensor& d_c, const Tensor& d_gates) {
  int64_t size = c.size(1);
  TORCH_CHECK(d_output.stride(1) == 1, "the gradient of the outputs has strided rows");
  with_type(gates, [&](auto type) {
    using T = decltype(type);
    for_rows(c.size(0), 8 * size, [&](int64_t row) {
      const T* a = gates.const_data_ptr<T>() + row * 4 * size;
      const T* d_o = d_output.const_data_ptr<T>() + row * d_output.stride(0);
      const T* d_h_row = d_h.const_data_ptr<T>() + row * size;
      const float* before = c_before.const_data_ptr<float>() + row * size;
      const float* c_row = c.const_data_ptr<float>() + row * size;
      float* d_c_row = d_c.mutable_data_ptr<float>() + row * size;
      T* d_a = d_gates.mutable_data_ptr<T>() + row * 4 * size;
      const Vec one(1.f);
      for_vectors(size, [&](int64_t n, int64_t count) {
        Vec i = load(a + n, count), f = load(a + size + n, count);
        Vec g = load(a + 2 * size + n, count), o = load(a + 3 * size + n, count);
        Vec tanh_c = fast_tanh(load(c_row + n, count));
        Vec dh = load(d_o + n, count) + load(d_h_row + n, count);
        Vec dc = load(d_c_row + n, count) + dh * o * (one - tanh_c * tanh_c);
        store(d_a + n, dc * g * i * (one - i), count);
        store(d_a + size + n, dc * load(before + n, count) * f * (one - f), count);
        store(d_a + 2 * size + n, dc * i * (one - g * g), count);
        store(d_a + 3 * size + n, dh * tanh_c * o * (one - o), count);
        store(d_c_row + n, dc * f, count);
      });
    });
  });
}

// The transpose (O, M) of x (M, O), by tiles that fit the vector registers.
Tensor transpose(const Tensor& x) {
  int64_t rows = x.size(0), columns = x.size(1);
  Tensor y = at::empty({columns, rows}, x.options());
  with_type(x, [&](auto type) {
    using T = decltype(type);
    constexpr int64_t kTile = sizeof(T) == 2 ? 32 : 16;
    const T* from = x.const_data_ptr<T>();
    T* to = y.mutable_data_ptr<T>();
    for_rows((columns + kTile - 1) / kTile, kTile * rows, [&](int64_t tile) {
      int64_t left = tile * kTile, width = std::min(kTile, columns - left);
      for (int64_t top = 0; top < rows; top += kTile)
        at::vec::transpose_mxn<T>(from + top * columns + left, columns, to + left * rows + top, rows,
                                  static_cast<int>(std::min(kTile, rows - top)), static_cast<int>(width));
    });
  });
  return y;
}

// The gradient of the label-smoothed cross-entropy at the logits (M, V), which overwrites them:
//     softmax(logits + bias) - (1 - smoothing) onehot(target) - smoothing / V
// Adds its sum over rows to d_bias (V). Returns (2, M): each row's -log p(target), and the mean over v of -log p(v).
Tensor softmax_loss(const Tensor& logits, const Tensor& bias, const Tensor& target, double smoothing,
                    const Tensor& d_bias) {
  int64_t rows = logits.size(0), size = logits.size(1);
  Tensor losses = at::empty({2, rows}, d_bias.options());
  Tensor sums = at::zeros({at::get_num_threads(), size}, d_bias.options());
  const float share = static_cast<float>(smoothing / size);
  with_type(logits, [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> buffer(size);
      float* x = buffer.data();
      float* sum_of_rows = sums.mutable_data_ptr<float>() + at::get_thread_num() * size;
      for (int64_t row = begin; row < end; ++row) {
        T* y = logits.mutable_data_ptr<T>() + row * size;
        int64_t right = target.const_data_ptr<int64_t>()[row];
        TORCH_CHECK_INDEX(right >= 0 && right < size, "target ", right, " is not in the vocabulary");
        Vec highest(kNever), total(0.f), exponentials(0.f);
        for_vectors(size, [&](int64_t n, int64_t count) {
          Vec value = load(y + n, count) + load(bias.const_data_ptr<float>() + n, count);
          store(x + n, value, count);
          // The lanes beyond a short vector are left out of maximum and sums.
          highest = Vec::set(highest, at::vec::maximum(highest, value), count);
          total = Vec::set(total, total + value, count);
        });
        float top = max_lanes(highest), at_target = x[right];
        for_vectors(size, [&](int64_t n, int64_t count) {
          Vec value = fast_exp(load(x + n, count) - Vec(top));
          store(x + n, value, count);
          exponentials = Vec::set(exponentials, exponentials + value, count);
        });
        float sum = sum_lanes(exponentials), log_sum = top + std::log(sum);
        losses.mutable_data_ptr<float>()[row] = log_sum - at_target;
        losses.mutable_data_ptr<float>()[rows + row] = log_sum - sum_lanes(total) / size;
        x[right] -= (1.f - static_cast<float>(smoothing)) * sum;
        for_vectors(size, [&](int64_t n, int64_t count) {
          Vec value = load(x + n, count) * Vec(1.f / sum) - Vec(share);
          store(y + n, value, count);
          store(sum_of_rows + n, load(sum_of_rows + n, count) + value, count);
        });
      }
    });
  });
  d_bias.add_(sums.sum(0));
  return losses;
}

// e^(2x) for x (n,), in float32; x is limited to +-43, so that it is neither 0 nor infinite.
template <class T>
void exponential(const T* x, float* y, int64_t n) {
  for_vectors(n, [&](int64_t i, int64_t count) {
    Vec limited = at::vec::clamp(load(x + i, count), Vec(-43.f), Vec(43.f));
    store(y + i, fast_exp(limited + limited), count);
  });
}

// The energies of additive attention, e_ij = v^T tanh(q_i + k_j), float32 (B, Q, S) and zero where `mask` (B, S) is
// False, for queries (B, Q, A), keys (B, S, A) and v (A). With 1 / (1 + e^(2q) e^(2k)) = h, tanh(q + k) = 1 - 2h.
Tensor additive_energies(const Tensor& query, const Tensor& keys, const Tensor& v, const Tensor& mask) {
  int64_t sentences = query.size(0), queries = query.size(1), source = keys.size(1), size = query.size(2);
  Tensor energies = at::zeros({sentences, queries, source}, v.options());
  const float* v_data = v.const_data_ptr<float>();
  with_type(query, [&](auto type) {
    using T = decltype(type);
    for_rows(sentences, queries * source * size, [&](int64_t b) {
      std::vector<float> q(size), k(source * size);
      const bool* real = mask.const_data_ptr<bool>() + b * source;
      exponential(keys.const_data_ptr<T>() + b * source * size, k.data(), source * size);
      for (int64_t i = 0; i < queries; ++i) {
        exponential(query.const_data_ptr<T>() + (b * queries + i) * size, q.data(), size);
        float* row = energies.mutable_data_ptr<float>() + (b * queries + i) * source;
        for (int64_t j = 0; j < source; ++j) {
          if (!real[j]) continue;
          Vec sum(0.f);
          for_vectors(size, [&](int64_t n, int64_t count) {
            Vec h = Vec(1.f) / at::vec::fmadd(load(&q[n], count), load(&k[j * size + n], count), Vec(1.f));
            sum = Vec::set(sum, at::vec::fmadd(load(v_data + n, count), Vec(1.f) - (h + h), sum), count);
          });
          row[j] = sum_lanes(sum);
        }
      }
    });
  });
  return energies;
}

// The gradients of `additive_energies`: of the queries, of the keys, and for each sentence of v (B, A).
//     d_q_i = sum_j d_e_ij v (1 - tanh^2)        d_k_j = sum_i d_e_ij v (1 - tanh^2)        d_v = sum_ij d_e_ij tanh
// with 1 - tanh^2 = 4 h (1 - h)
std::tuple<Tensor, Tensor, Tensor> additive_energies_backward(const Tensor& d_energies, const Tensor& query,
                                                              const Tensor& keys, const Tensor& v, const Tensor& mask) {
  int64_t sentences = query.size(0), queries = query.size(1), source = keys.size(1), size = query.size(2);
  Tensor d_query = at::empty(query.sizes(), query.options()), d_keys = at::empty(keys.sizes(), keys.options());
  Tensor d_v = at::empty({sentences, size}, v.options());
  const float* v_data = v.const_data_ptr<float>();
  with_type(query, [&](auto type) {
    using T = decltype(type);
    for_rows(sentences, queries * source * size, [&](int64_t b) {
      std::vector<float> q(queries * size), k(source * size), d_k(source * kLanes);
      const bool* real = mask.const_data_ptr<bool>() + b * source;
      const float* d_e = d_energies.const_data_ptr<float>() + b * queries * source;
      exponential(query.const_data_ptr<T>() + b * queries * size, q.data(), queries * size);
      exponential(keys.const_data_ptr<T>() + b * source * size, k.data(), source * size);
      for_vectors(size, [&](int64_t n, int64_t count) {
        const Vec one(1.f), v4 = load(v_data + n, count) * Vec(4.f);
        Vec sum_v(0.f);
        std::fill(d_k.begin(), d_k.end(), 0.f);
        for (int64_t i = 0; i < queries; ++i) {
          Vec q_i = load(&q[i * size + n], count), sum_q(0.f);
          for (int64_t j = 0; j < source; ++j) {
            if (!real[j]) continue;
            Vec h = one / at::vec::fmadd(q_i, load(&k[j * size + n], count), one), d(d_e[i * source + j]);
            Vec slope = h * (one - h) * d;
            sum_v = at::vec::fmadd(d, one - (h + h), sum_v);
            sum_q = sum_q + slope;
            (load(&d_k[j * kLanes], kLanes) + slope).store(&d_k[j * kLanes]);
          }
          store(d_query.mutable_data_ptr<T>() + (b * queries + i) * size + n, sum_q * v4, count);
        }
        for (int64_t j = 0; j < source; ++j)
          store(d_keys.mutable_data_ptr<T>() + (b * source + j) * size + n, load(&d_k[j * kLanes], kLanes) * v4, count);
        store(d_v.mutable_data_ptr<float>() + b * size + n, sum_v, count);
      });
    });
  });
  return {d_query, d_keys, d_v};
}

}  // namespace
}  // namespace nmt

TORCH_LIBRARY_FRAGMENT(nmt, m) {
  m.def("lstm_cell(Tensor(a!) gates, Tensor recurrent, Tensor c_before, Tensor(b!) c, Tensor(c!) h) -> ()", nmt::lstm_cell);
  m.def("lstm_cell_backward(Tensor gates, Tensor c_before, Tensor c, Tensor d_output, Tensor d_h, Tensor(a!) d_c, "
        "Tensor(b!) d_gates) -> ()", nmt::lstm_cell_backward);
  m.def("transpose(Tensor x) -> Tensor", nmt::transpose);
  m.def("softmax_loss(Tensor(a!) logits, Tensor bias, Tensor target, float smoothing, Tensor(b!) d_bias) -> Tensor",
        nmt::softmax_loss);
  m.def("additive_energies(Tensor query, Tensor keys, Tensor v, Tensor mask) -> Tensor", nmt::additive_energies);
  m.def("additive_energies_backward(Tensor d_energies, Tensor query, Tensor keys, Tensor v, Tensor mask) "
        "-> (Tensor, Tensor, Tensor)", nmt::additive_energies_backward);
}
