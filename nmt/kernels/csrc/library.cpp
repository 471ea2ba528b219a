// The library of operators `torch.ops.nmt`; the other files register theirs by TORCH_LIBRARY_FRAGMENT(nmt, m).

#include <torch/library.h>

TORCH_LIBRARY(nmt, m) {
  m.def("kernels_loaded() -> bool", [] { return true; });
}
