// The layers of the model as functions of rows, each with the equations of the module of nmt/model it is named after.

#pragma once

#include "linear.h"

namespace nmt {

using Options = c10::Dict<std::string, int64_t>;

inline int64_t option(const Options& options, const std::string& name) {
  return options.contains(name) ? options.at(name) : 0;
}

// Layer norm, or the identity where the model has none: y = (x - mean) / sqrt(var + eps) * w + b
class Norm {
 public:
  Norm() = default;
  Norm(const Tensors& tensors, const std::string& name)
      : weight_(optional_tensor(tensors, name + ".weight")), bias_(optional_tensor(tensors, name + ".bias")) {
    if (!weight_.defined()) return;
    weight = data_of<float>(weight_);
    bias = data_of<float>(bias_);
  }

  bool defined() const { return weight != nullptr; }

  // y (n) may be x (n).
  void operator()(const float* x, float* y, int64_t n) const {
    if (!defined()) {
      if (x != y) std::memcpy(y, x, n * sizeof(float));
      return;
    }
    Vec sum(0.f), squares(0.f);
    for_vectors(n, [&](int64_t i, int64_t count) { sum = sum + load(x + i, count); });
    Vec mean(sum_lanes(sum) / n);
    for_vectors(n, [&](int64_t i, int64_t count) {
      Vec centred = Vec::set(Vec(0.f), load(x + i, count) - mean, count);
      squares = at::vec::fmadd(centred, centred, squares);
    });
    Vec factor(1.f / std::sqrt(sum_lanes(squares) / n + 1e-5f));
    for_vectors(n, [&](int64_t i, int64_t count) {
      store(y + i, at::vec::fmadd((load(x + i, count) - mean) * factor, load(weight + i, count), load(bias + i, count)),
            count);
    });
  }

 private:
  Tensor weight_, bias_;
  const float *weight = nullptr, *bias = nullptr;
};

// An LSTM layer, one step of n rows:
//   i, f, g, o = a + u     a = W x + b, u = U h, or their layer norms
//   c' = sigmoid(f) c + sigmoid(i) tanh(g)        h' = sigmoid(o) tanh(c'), with norms of LN(c')
class Lstm {
 public:
  Lstm() = default;
  Lstm(const Tensors& tensors, const std::string& name)
      : input(tensors, name + ".input"),
        hidden(tensors, name + ".hidden"),
        input_norm(tensors, name + ".input_norm"),
        hidden_norm(tensors, name + ".hidden_norm"),
        cell_norm(tensors, name + ".cell_norm") {}

  // Adds u to `gates` (n, 4H), which hold W x + b.
  void add_hidden(Segment h, int64_t n, Rows gates) const {
    int64_t size = 4 * h.width;
    if (!input_norm.defined()) return hidden({h}, n, gates, true);
    Rows u = take_rows(n, size);
    hidden({h}, n, u);
    for (int64_t i = 0; i < n; ++i) {
      input_norm(gates[i], gates[i], size);
      hidden_norm(u[i], u[i], size);
      for_vectors(size, [&](int64_t j, int64_t count) {
        store(gates[i] + j, load(gates[i] + j, count) + load(u[i] + j, count), count);
      });
    }
  }

  // Computes the state of a row from its gates (4H) and its cell (H). `next_c` may be `c`.
  void state(const float* gates, const float* c, float* next_h, float* next_c, int64_t size) const {
    const float *i = gates, *f = gates + size, *g = gates + 2 * size, *o = gates + 3 * size;
    bool norm = cell_norm.defined();
    for_vectors(size, [&](int64_t j, int64_t count) {
      Vec cell = sigmoid(load(f + j, count)) * load(c + j, count) + sigmoid_tanh(load(i + j, count), load(g + j, count));
      store(next_c + j, cell, count);
      if (!norm) store(next_h + j, sigmoid_tanh(load(o + j, count), cell), count);
    });
    if (!norm) return;
    cell_norm(next_c, next_h, size);
    for_vectors(size, [&](int64_t j, int64_t count) {
      store(next_h + j, sigmoid_tanh(load(o + j, count), load(next_h + j, count)), count);
    });
  }

  Linear input, hidden;
  Norm input_norm, hidden_norm, cell_norm;
};

inline void tanh_rows(Rows x, int64_t n, int64_t width) {
  for (int64_t i = 0; i < n; ++i)
    for_vectors(width, [&](int64_t j, int64_t count) { store(x[i] + j, fast_tanh(load(x[i] + j, count)), count); });
}

// e^(2x), with exponents limited to +-86, in place (ExponentialLayer in nmt/model/inference.py)
inline void exponential(float* x, int64_t n) {
  for_vectors(n, [&](int64_t j, int64_t count) {
    store(x + j, fast_exp(at::vec::clamp(load(x + j, count) * Vec(2.f), Vec(-86.f), Vec(86.f))), count);
  });
}

// Calls f with the number of rows, 1 to 5, as a constant, for groups of rows from 0 to n: f(first, constant).
template <class F>
void for_row_groups(int64_t n, F f) {
  int64_t i = 0;
  for (; n - i >= 5; i += 5) f(i, std::integral_constant<int, 5>());
  switch (n - i) {
    case 4: return f(i, std::integral_constant<int, 4>());
    case 3: return f(i, std::integral_constant<int, 3>());
    case 2: return f(i, std::integral_constant<int, 2>());
    case 1: return f(i, std::integral_constant<int, 1>());
  }
}

// Additive attention of the K rows of one sentence, whose memory has `length` real pieces (nmt/model/attention.py):
//   e_ij = sum_a v_a / (1 + e^(2 q_ia) e^(2 k_ja))        alpha = softmax(e)        c_i = sum_j alpha_ij h_j
// query (K, A) is e^(2q), keys (length, A) is e^(2k). Padding is never read.
struct AdditiveAttention {
  const float* energy;  // v (A)
  int64_t size;         // A

  void operator()(Rows query, int64_t rows, const float* keys, const float* values, int64_t width, int64_t length,
                  float* weights, int64_t weights_ld, Rows context) const {
    for_row_groups(rows, [&](int64_t first, auto constant) {
      constexpr int R = decltype(constant)::value;
      for (int64_t s = 0; s < length; ++s) {
        Vec sums[R];
        for (auto& sum : sums) sum = Vec(0.f);
        for_vectors(size, [&](int64_t j, int64_t count) {
          Vec key = load(keys + s * size + j, count), v = load(energy + j, count);
          for (int r = 0; r < R; ++r)
            sums[r] = sums[r] + v / at::vec::fmadd(load(query[first + r] + j, count), key, Vec(1.f));
        });
        for (int r = 0; r < R; ++r) weights[(first + r) * weights_ld + s] = sum_lanes(sums[r]);
      }
      for (int r = 0; r < R; ++r) softmax(weights + (first + r) * weights_ld, length);
      for_vectors(width, [&](int64_t j, int64_t count) {
        Vec sums[R];
        for (auto& sum : sums) sum = Vec(0.f);
        for (int64_t s = 0; s < length; ++s) {
          Vec value = load(values + s * width + j, count);
          for (int r = 0; r < R; ++r)
            sums[r] = at::vec::fmadd(Vec(weights[(first + r) * weights_ld + s]), value, sums[r]);
        }
        for (int r = 0; r < R; ++r) store(context[first + r] + j, sums[r], count);
      });
    });
  }

  static void softmax(float* x, int64_t n) {
    float highest = kNever, sum = 0.f;
    for (int64_t i = 0; i < n; ++i) highest = x[i] > highest || std::isnan(x[i]) ? x[i] : highest;
    for_vectors(n, [&](int64_t i, int64_t count) { store(x + i, fast_exp(load(x + i, count) - Vec(highest)), count); });
    for (int64_t i = 0; i < n; ++i) sum += x[i];
    for (int64_t i = 0; i < n; ++i) x[i] /= sum;
  }
};

// What a layer computes from [x ; c ; y]: the outputs below it, the context, the embedded previous piece. A share that
// is linear in y or in the source states can be computed beforehand:
//   table (V, O)      W_y E[y] + b for every piece
//   context_at        column of the projected memory, and so of the context, that has W_c h_j
struct Input {
  Input() = default;
  Input(const Tensors& tensors, const Options& options, const std::string& name)
      : linear(tensors, name),
        table(optional_tensor(tensors, name + ".table")),
        context_at(options.contains(name + ".context_at") ? options.at(name + ".context_at") : -1),
        takes_context(option(options, name + ".context")),
        takes_piece(option(options, name + ".piece")),
        size(options.at(name + ".size")) {}

  void operator()(std::vector<Segment> x, Segment context, Segment piece, const int64_t* tokens, int64_t n,
                  Rows y) const {
    std::vector<Segment> parts(x);
    if (takes_context) parts.push_back(context);
    if (takes_piece) parts.push_back(piece);
    bool begun = false;
    if (table.defined()) {
      const float* rows = table.const_data_ptr<float>();
      for (int64_t i = 0; i < n; ++i) std::memcpy(y[i], rows + tokens[i] * size, size * sizeof(float));
      begun = true;
    }
    if (!parts.empty()) linear(parts, n, y, begun);
    else if (!begun)
      for (int64_t i = 0; i < n; ++i) std::memcpy(y[i], linear.bias, size * sizeof(float));
    if (context_at < 0) return;
    for (int64_t i = 0; i < n; ++i) {
      const float* share = context.data + i * context.ld + context_at;
      for_vectors(size, [&](int64_t j, int64_t count) { store(y[i] + j, load(y[i] + j, count) + load(share + j, count), count); });
    }
  }

  Linear linear;
  Tensor table;
  int64_t context_at = -1;
  bool takes_context = false, takes_piece = false;
  int64_t size = 0;
};

// Embeddings scaled by sqrt(E), of any stored type, as float32
struct Embedding {
  Embedding() = default;
  Embedding(const Tensors& tensors, const Options& options, const std::string& name)
      : weight(tensors.at(name + ".weight")), scale(optional_tensor(tensors, name + ".scale")), factor(data_of<float>(tensors.at("embedding_scale"))[0]), rows(weight.size(0)), columns(weight.size(1)) {}

  int64_t width() const { return columns; }

  void operator()(int64_t id, float* y) const {
    TORCH_CHECK_INDEX(0 <= id && id < rows, "piece ", id, " is outside the vocabulary");
    const int64_t n = columns;
    if (weight.scalar_type() == at::kChar) fill(weight.const_data_ptr<int8_t>() + id * n, data_of<float>(scale)[id], y);
    else if (weight.scalar_type() == at::kBFloat16) fill(weight.const_data_ptr<at::BFloat16>() + id * n, 1.f, y);
    else fill(weight.const_data_ptr<float>() + id * n, 1.f, y);
  }

  template <class T>
  void fill(const T* row, float scale, float* y) const {
    const float by = factor;
    for (int64_t j = 0, n = columns; j < n; ++j) y[j] = static_cast<float>(row[j]) * scale * by;
  }

  Tensor weight, scale;
  float factor = 1.f;
  int64_t rows = 0, columns = 0;
};

}  // namespace nmt
