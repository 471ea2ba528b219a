// The output layer, and for each hypothesis the logarithm of the softmax's denominator and its best continuations, in
// one pass over the vocabulary: logits exist only for a strip of it, while they are in the cache.

#pragma once

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
  float eos = kNever;
  float reference = kNever, sum = 0.f;  // sum of e^(logit - reference)

  explicit Continuations(int64_t beam) : values(beam, kNever), pieces(beam, kPad) {}

  // From logits to log-probabilities.
  void normalise() {
    float normaliser = reference + std::log(sum);
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

// The pieces that a slot may generate, in ascending order from the special ones on, so that these have their ids as columns.
struct Shortlist {
  const int64_t* ids;
  int64_t size;

  Shortlist(const int64_t* ids, int64_t most) : ids(ids), size(std::find(ids + 1, ids + most, kPad) - ids) {}  // PAD fills up

  // The column of a piece; of one that is not in the list, that of PAD.
  int64_t column(int64_t piece) const {
    const int64_t* at = std::lower_bound(ids, ids + size, piece);
    return at < ids + size && *at == piece ? at - ids : kPad;
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

  // The same among the pieces of a shortlist for each slot, that is for each `beam` rows. There is one product with the
  // rows of the output layer for all of them, of which each slot reads its own: the result does not depend on the others.
  std::vector<Continuations> operator()(Segment readout, int64_t n, int64_t beam, std::vector<Constraint>& constraints,
                                        const std::vector<Shortlist>& shortlists) const {
    std::vector<int64_t> column(size_, 0), together;
    int64_t longest = 0;
    for (const Shortlist& list : shortlists) {
      longest = std::max(longest, list.size);
      for (int64_t j = 0; j < list.size; ++j) column[list.ids[j]] = 1;
    }
    for (int64_t piece = 0; piece < size_; ++piece)
      if (column[piece]) {
        column[piece] = together.size();
        together.push_back(piece);
      }
    Linear output = output_.gather(together);
    Linear::Operand input = output.prepare({readout}, n);
    Rows logits = take_rows(n, kStrip), own = take_rows(n, longest);
    std::vector<int64_t> copied(shortlists.size(), 0);  // pieces of each shortlist whose logits are in `own`
    Scratch::Mark mark(scratch());
    for (int64_t o = 0; o < output.outputs(); o += kStrip) {
      mark.rewind();
      output.part(o, std::min(kStrip, output.outputs() - o)).multiply(input, n, logits);
      for (size_t b = 0; b < shortlists.size(); ++b) {
        const Shortlist& list = shortlists[b];
        int64_t first = copied[b];
        for (; copied[b] < list.size && column[list.ids[copied[b]]] < o + kStrip; ++copied[b]);
        for (int64_t i = b * beam; i < static_cast<int64_t>(b + 1) * beam; ++i)
          for (int64_t j = first; j < copied[b]; ++j) own[i][j] = logits[i][column[list.ids[j]] - o];
      }
    }
    std::vector<Continuations> best(n, Continuations(beam));
    for (int64_t i = 0; i < n; ++i) {
      const Shortlist& list = shortlists[i / beam];
      constraints[i].forced = list.column(constraints[i].forced);
      for (int64_t& piece : constraints[i].banned) piece = list.column(piece);
      own[i][kPad] = kNever;  // no probability for PAD, as in the plain search, whose shortlists are filled up with it
      strip(own[i], 0, list.size, constraints[i], best[i]);
      best[i].normalise();
      for (int64_t& piece : best[i].pieces) piece = list.ids[piece];
    }
    return best;
  }

 private:
  // Adds the logits of the pieces first..first+count-1 to what is known of a row.
  static void strip(float* logits, int64_t first, int64_t count, const Constraint& constraint, Continuations& row) {
    float top = add_to_sum(logits, count, row);
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

  // Adds e^(logit - reference) to the sum of a row; returns the highest logit. The reference is the highest logit of the
  // first strip, and changes only where the sum could overflow, so that there is one pass over the others.
  static float add_to_sum(const float* logits, int64_t count, Continuations& row) {
    Vec tops(kNever), sums(0.f), reference(row.reference);
    for_vectors(count, [&](int64_t j, int64_t lanes) {
      Vec x = load(logits + j, lanes);
      tops = at::vec::maximum(tops, Vec::set(Vec(kNever), x, lanes));
      sums = sums + Vec::set(Vec(0.f), fast_exp(x - reference), lanes);
    });
    float top = max_lanes(tops);
    if (top > row.reference + 60.f) {
      row.sum *= std::exp(row.reference - top);
      row.reference = top;
      return add_to_sum(logits, count, row);
    }
    row.sum += sum_lanes(sums);
    return top;
  }

  static constexpr int kAllZero = static_cast<int>((int64_t{1} << kLanes) - 1);

  Linear output_;
  std::vector<Linear> strips_;
  int64_t size_ = 0;
};

}  // namespace nmt
