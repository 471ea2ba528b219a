// The output layer, and for each hypothesis the logarithm of the softmax's denominator and its best continuations, in
// one pass over the vocabulary: logits exist only for a strip of it, while they are in the cache.

#pragma once

#include <algorithm>

#include "layers.h"

namespace nmt {

constexpr int64_t kPad = 0, kUnk = 1, kBos = 2, kEos = 3;
constexpr int64_t kStrip = 512;  // pieces of a strip

// a before b, where NaN comes first, as it does in torch's topk
inline bool better(float a, float b) { return a > b || (std::isnan(a) && !std::isnan(b)); }

// Which pieces may extend a hypothesis.
struct Constraint {
  int64_t forced = kPad;         // the only one, if not PAD
  bool allow_unknown = true;
  std::vector<int64_t> banned;   // these not
};

// The best continuations of one hypothesis, and the log-probability of its end.
struct Continuations {
  std::vector<float> values;  // K, best first: logits, then log-probabilities
  std::vector<int64_t> pieces;
  float eos = kNever, highest = kNever, sum = 0.f;

  explicit Continuations(int64_t beam) : values(beam, kNever), pieces(beam, kPad) {}

  // From logits to log-probabilities.
  void normalise() {
    float normaliser = highest + std::log(sum);
    for (float& value : values) value = std::isnan(normaliser) ? normaliser : value - normaliser;
    eos -= normaliser;
  }

  void insert(float value, int64_t piece) {
    size_t at = values.size() - 1;
    for (; at > 0 && better(value, values[at - 1]); --at) {
      values[at] = values[at - 1];
      pieces[at] = pieces[at - 1];
    }
    values[at] = value;
    pieces[at] = piece;
  }
};

class Vocabulary {
 public:
  Vocabulary() = default;
  Vocabulary(const Tensors& tensors, int64_t size) : output_(tensors, "output"), size_(size) {
    for (int64_t o = 0; o < output_.outputs(); o += kStrip) {
      // Parts of the layer are layers, as the packed panels of neighbouring outputs follow each other.
      strips_.push_back(output_.part(o, std::min(kStrip, output_.outputs() - o)));
    }
  }

  // Computes the K best continuations of the n rows of `readout`.
  std::vector<Continuations> operator()(Segment readout, int64_t n, int64_t beam,
                                        const std::vector<Constraint>& constraints) const {
    std::vector<Continuations> best(n, Continuations(beam));
    Linear::Operand input = output_.prepare({readout}, n);
    Rows logits = take_rows(n, kStrip);
    Scratch::Mark mark(scratch());
    for (size_t s = 0; s < strips_.size(); ++s) {
      mark.rewind();
      strips_[s].multiply(input, n, logits);
      int64_t first = s * kStrip, count = std::min(kStrip, size_ - first);
      for (int64_t i = 0; i < n; ++i) strip(logits[i], first, count, constraints[i], best[i]);
    }
    for (auto& row : best) row.normalise();
    return best;
  }

  // Returns the rows of the output layer for the shortlists `ids` (B, C).
  TensorList gather(const Tensor& ids) const {
    TensorList rows = output_.gather(ids);
    rows[1].masked_fill_(ids.eq(kPad), kNever);  // PAD, which fills up a shortlist, has no probability
    return rows;
  }

  // Computes the K best continuations of the K rows of slot b, `readout`, among the pieces of its shortlist `ids` (C):
  // ascending from the special pieces on, so that these have their ids as columns, then PAD.
  std::vector<Continuations> operator()(Segment readout, int64_t beam, std::vector<Constraint> constraints,
                                        const TensorList& rows, int64_t b, const int64_t* ids) const {
    const int64_t* end = std::find(ids + 1, ids + rows[0].size(1), kPad);
    auto column = [&](int64_t piece) { return std::lower_bound(ids, end, piece) - ids; };
    std::vector<Continuations> best(beam, Continuations(beam));
    Rows logits = take_rows(beam, end - ids);
    output_.of_slot(rows, b, end - ids)({readout}, beam, logits);
    for (int64_t i = 0; i < beam; ++i) {
      constraints[i].forced = column(constraints[i].forced);
      for (int64_t& piece : constraints[i].banned) piece = column(piece);
      strip(logits[i], 0, end - ids, constraints[i], best[i]);
      best[i].normalise();
      for (int64_t& piece : best[i].pieces) piece = ids[piece];
    }
    return best;
  }

 private:
  // Adds the logits of the pieces first..first+count-1 to what is known of a row.
  static void strip(float* logits, int64_t first, int64_t count, const Constraint& constraint, Continuations& row) {
    Vec tops(kNever);
    for_vectors(count, [&](int64_t j, int64_t lanes) {
      tops = at::vec::maximum(tops, Vec::set(Vec(kNever), load(logits + j, lanes), lanes));
    });
    float top = max_lanes(tops);
    if (better(top, row.highest)) {
      row.sum *= std::exp(row.highest - top);
      row.highest = top;
    }
    Vec sums(0.f), highest(row.highest);
    for_vectors(count, [&](int64_t j, int64_t lanes) {
      sums = sums + Vec::set(Vec(0.f), fast_exp(load(logits + j, lanes) - highest), lanes);
    });
    row.sum += sum_lanes(sums);
    if (first == 0) row.eos = logits[kEos];
    if (constraint.forced != kPad) {
      if (first <= constraint.forced && constraint.forced < first + count)
        row.insert(logits[constraint.forced - first], constraint.forced);
      return;
    }
    if (first == 0) logits[kPad] = logits[kBos] = logits[kEos] = kNever;
    if (first == 0 && !constraint.allow_unknown) logits[kUnk] = kNever;
    for (int64_t piece : constraint.banned)
      if (first <= piece && piece < first + count) logits[piece - first] = kNever;
    if (!better(top, row.values.back())) return;
    for (int64_t j = 0; j < count; j += kLanes) {
      int64_t lanes = std::min(kLanes, count - j);
      if (lanes == kLanes && (Vec::loadu(logits + j) > Vec(row.values.back())).zero_mask() == kAllZero) continue;
      for (int64_t i = j; i < j + lanes; ++i)
        if (better(logits[i], row.values.back())) row.insert(logits[i], first + i);
    }
  }

  static constexpr int kAllZero = static_cast<int>((int64_t{1} << kLanes) - 1);

  Linear output_;
  std::vector<Linear> strips_;
  int64_t size_ = 0;
};

}  // namespace nmt
