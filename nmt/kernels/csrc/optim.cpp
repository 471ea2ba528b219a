// The update of the weights, on a CPU: AdamW and the weight average in one pass over memory.
//
// The plain form, which the tests compare with, is in nmt/training/optim.py.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "vector.h"

namespace nmt {
namespace {

using at::Tensor;

// The constants of one update of a tensor.
struct Update {
  float scale, keep, first, beta2, second, step_size, correction, eps, average;

  // For n weights w with gradients g, first and second moments m and v, and averages a; see `adamw`.
  void operator()(int64_t n, float* w, const float* g, float* m, float* v, float* a) const {
    for_vectors(n, [&](int64_t i, int64_t count) {
      Vec gradient = load(g + i, count) * Vec(scale);
      Vec moment = load(m + i, count);
      moment = at::vec::fmadd(gradient - moment, Vec(first), moment);
      Vec square = at::vec::fmadd(gradient * gradient, Vec(second), load(v + i, count) * Vec(beta2));
      Vec step = moment * Vec(step_size) / (square.sqrt() * Vec(correction) + Vec(eps));
      Vec weight = load(w + i, count) * Vec(keep) - step, mean = load(a + i, count);
      store(m + i, moment, count);
      store(v + i, square, count);
      store(w + i, weight, count);
      store(a + i, at::vec::fmadd(weight - mean, Vec(average), mean), count);
    });
  }
};

// Updates weights w, moments m and v, their counts of `steps` t, and the averages a, with s g for gradients g:
//     m += (1 - beta1) (s g - m)        v = beta2 v + (1 - beta2) (s g)^2
//     w = (1 - lr decay) w - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)        a += average (w - a)
void adamw(at::TensorList weights, at::TensorList gradients, at::TensorList first, at::TensorList second,
           at::TensorList steps, at::TensorList averages, double scale, double lr, double beta1, double beta2,
           double eps, double decay, double average) {
  for (size_t i = 0; i < weights.size(); ++i) {
    float t = *steps[i].mutable_data_ptr<float>() += 1.f;
    auto single = [](double value) { return static_cast<float>(value); };
    Update update{single(scale), single(1 - lr * decay), single(1 - beta1), single(beta2), single(1 - beta2),
                  single(lr / (1 - std::pow(beta1, t))), single(1 / std::sqrt(1 - std::pow(beta2, t))), single(eps),
                  single(average)};
    float *w = weights[i].mutable_data_ptr<float>(), *a = averages[i].mutable_data_ptr<float>();
    float *m = first[i].mutable_data_ptr<float>(), *v = second[i].mutable_data_ptr<float>();
    const float* g = gradients[i].const_data_ptr<float>();
    at::parallel_for(0, weights[i].numel(), 1 << 14, [&](int64_t begin, int64_t end) {
      update(end - begin, w + begin, g + begin, m + begin, v + begin, a + begin);
    });
  }
}

}  // namespace
}  // namespace nmt

TORCH_LIBRARY_FRAGMENT(nmt, m) {
  m.def("adamw(Tensor(a!)[] weights, Tensor[] gradients, Tensor(b!)[] first, Tensor(c!)[] second, Tensor(d!)[] steps, "
        "Tensor(e!)[] averages, float scale, float lr, float beta1, float beta2, float eps, float decay, "
        "float average) -> ()", nmt::adamw);
}
