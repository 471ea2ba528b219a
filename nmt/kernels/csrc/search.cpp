// Beam search with a translation model: `open`, `advance` and `finish` of nmt/search/beam.py, a call each.
//
// Rows are independent, so slots are divided among threads. Nothing is kept between calls but the weights: several
// engines may use one search at the same time. Dimensions as in nmt/model/seq2seq.py.

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include "encoder.h"
#include "vocabulary.h"

namespace nmt {
namespace {

using TensorList = std::vector<Tensor>;

// The tensors of nmt/search/slots.py, by name.
struct Slots {
  Tensor values, keys, mask;
  Tensor max_length, min_length, length_penalty, n_best, no_repeat_ngram, allow_unknown, prefix;
  TensorList state;
  Tensor tokens, scores, pool, time, stop_at;
  Tensor parents, pieces, log_probs, finished, eos, attention;  // history
  Tensor candidates = {};  // shortlists (B, C), if the search has them

  int64_t beam() const { return scores.size(1); }
};

// Slot b of a tensor, or entry t of slot b of a history.
template <class T>
T* at_slot(const Tensor& tensor, int64_t b) {
  return tensor.data_ptr<T>() + b * tensor.stride(0);
}
template <class T>
T* at_slot(const Tensor& tensor, int64_t b, int64_t t) {
  return at_slot<T>(tensor, b) + t * tensor.stride(1);
}

float length_penalty(int64_t length, float alpha) { return std::pow((length + 5) / 6.f, alpha); }

// The pieces of the live hypothesis `row` of slot b, which has `time` pieces, by the back-pointers of its history.
std::vector<int64_t> walk_back(const Slots& slots, int64_t b, int64_t row, int64_t time) {
  std::vector<int64_t> pieces(time);
  for (int64_t t = time - 1; t >= 0; --t) {
    pieces[t] = at_slot<int64_t>(slots.pieces, b, t)[row];
    row = at_slot<int64_t>(slots.parents, b, t)[row];
  }
  return pieces;
}

// What constrains the hypotheses of a slot in this step (BeamSearch._constrain).
Constraint constraint_of(const Slots& slots, int64_t b, int64_t row, bool block_repeats) {
  Constraint constraint;
  int64_t time = *at_slot<int64_t>(slots.time, b), n = *at_slot<int64_t>(slots.no_repeat_ngram, b);
  constraint.allow_unknown = *at_slot<bool>(slots.allow_unknown, b);
  if (time < slots.prefix.size(1)) constraint.forced = at_slot<int64_t>(slots.prefix, b)[time];
  if (!block_repeats || n == 0) return constraint;
  std::vector<int64_t> pieces = walk_back(slots, b, row, time);
  for (int64_t j = n - 1; j < time; ++j)
    if (std::equal(pieces.begin() + (j - n + 1), pieces.begin() + j, pieces.end() - (n - 1)))
      constraint.banned.push_back(pieces[j]);
  return constraint;
}

// Makes the K best continuations of slot b its live hypotheses, finishes those that end among the K best, and records
// the step (BeamSearch._extend, _finish_hypotheses and is_done). Returns whether the slot is done.
bool beam_step(const Slots& slots, int64_t b, const Continuations* rows) {
  int64_t beam = slots.beam(), *time = at_slot<int64_t>(slots.time, b), prefix = 0;
  float *scores = at_slot<float>(slots.scores, b), *pool = at_slot<float>(slots.pool, b);
  auto *parents = at_slot<int64_t>(slots.parents, b, *time), *pieces = at_slot<int64_t>(slots.pieces, b, *time);
  auto *log_probs = at_slot<float>(slots.log_probs, b, *time), *finished = at_slot<float>(slots.finished, b, *time);
  float* eos = at_slot<float>(slots.eos, b, *time);
  int64_t* tokens = at_slot<int64_t>(slots.tokens, b);
  float alpha = *at_slot<float>(slots.length_penalty, b);
  for (int64_t i = 0; i < slots.prefix.size(1); ++i) prefix += at_slot<int64_t>(slots.prefix, b)[i] != kPad;

  std::vector<float> next(beam), contenders;
  std::vector<size_t> used(beam, 0);
  for (int64_t k = 0; k < beam; ++k) {  // each row is sorted, so the best is always the next of some row
    int64_t parent = -1;
    float best = kNever;
    for (int64_t r = 0; r < beam; ++r) {
      if (used[r] == rows[r].values.size()) continue;
      float score = scores[r] + rows[r].values[used[r]];
      if (parent < 0 || better(score, best)) {
        parent = r;
        best = score;
      }
    }
    size_t at = used[parent]++;
    parents[k] = parent;
    pieces[k] = tokens[k] = rows[parent].pieces[at];
    log_probs[k] = rows[parent].values[at];
    next[k] = best;
  }

  bool early = *time + 1 < *at_slot<int64_t>(slots.min_length, b) || *time + 1 <= prefix;
  contenders = next;
  for (int64_t k = 0; k < beam; ++k) {
    eos[k] = rows[k].eos;
    finished[k] = early ? kNever : scores[k] + eos[k];
    contenders.push_back(finished[k]);
  }
  std::nth_element(contenders.begin(), contenders.begin() + (beam - 1), contenders.end(), better);
  float kth_best = contenders[beam - 1], penalty = length_penalty(*time + 1, alpha);
  contenders.assign(pool, pool + beam);
  for (int64_t k = 0; k < beam; ++k) {
    finished[k] = finished[k] < kth_best ? kNever : finished[k] / penalty;
    contenders.push_back(finished[k]);
  }
  std::partial_sort(contenders.begin(), contenders.begin() + beam, contenders.end(), better);
  std::copy_n(contenders.begin(), beam, pool);
  std::copy(next.begin(), next.end(), scores);
  ++*time;

  int64_t max_length = *at_slot<int64_t>(slots.max_length, b);
  float nth_best = pool[*at_slot<int64_t>(slots.n_best, b) - 1];
  int64_t stop_at = *at_slot<int64_t>(slots.stop_at, b);
  if (stop_at > 0 && pool[stop_at - 1] > kNever) return true;
  bool settled = pool[beam - 1] > kNever && scores[0] / length_penalty(*time, alpha) <= nth_best;
  return settled || scores[0] / length_penalty(max_length, alpha) <= nth_best || *time >= max_length;
}

// One hypothesis that `finish` returns.
struct Found {
  float score;
  int64_t row, time;  // row of the beam after `time` pieces
  bool complete;
};

class Search : public torch::CustomClassHolder {
 public:
  Search(Tensors tensors, const Options& options)
      : encoder_(tensors, options),
        bridge_(tensors, "bridge"),
        key_(tensors, "key"),
        value_(tensors, "value"),
        query_(tensors, "query"),
        second_(tensors, "second"),
        second_input_(options.contains("second.input.size") ? Input(tensors, options, "second.input") : Input()),
        readout_(tensors, options, "readout"),
        vocabulary_(tensors, options.at("vocabulary")),
        embedding_(tensors, options, "embedding"),
        energy_(tensors.at("energy")),
        lexicon_(optional_tensor(tensors, "lexicon")),
        frequent_(optional_tensor(tensors, "frequent")),
        wiring_(static_cast<Wiring>(options.at("wiring"))),
        residual_(option(options, "decoder.residual")),
        mean_(option(options, "bridge.mean")),
        hidden_(options.at("decoder.hidden")),
        value_width_(option(options, "value.size")) {
    for (int64_t l = 0; l < options.at("decoder.layers"); ++l) {
      std::string name = "decoder." + std::to_string(l);
      layers_.push_back({Input(tensors, options, name + ".input"), Lstm(tensors, name), Norm(tensors, name + ".norm")});
    }
  }

  // Encodes `src` (B, S) of `lengths` (B). Returns the memory's values and keys (B, S, .), then the hidden state (B, H)
  // of each layer.
  TensorList open(const Tensor& src, const Tensor& lengths) const {
    int64_t sentences = src.size(0), width = src.size(1);
    Tensor values = at::zeros({sentences, width, value_width()}, at::kFloat);
    Tensor keys = at::zeros({sentences, width, energy_.size(0)}, at::kFloat);
    Tensor state = at::zeros({static_cast<int64_t>(layers_.size()), sentences, hidden_}, at::kFloat);
    at::parallel_for(0, sentences, 1, [&](int64_t begin, int64_t end) {
      Products products;
      open_range(src, lengths, begin, end, values, keys, state);
    });
    TensorList result{values, keys};
    for (size_t l = 0; l < layers_.size(); ++l) result.push_back(state[l]);
    return result;
  }

  // Returns the shortlists (B, C) of `src` (B, S) with `prefix` (B, P): BeamSearch.choose_candidates.
  Tensor choose_candidates(const Tensor& src, const Tensor& prefix) const {
    std::vector<std::vector<int64_t>> lists(src.size(0));
    size_t longest = 0;
    for (int64_t b = 0; b < src.size(0); ++b) {
      std::vector<int64_t>& list = lists[b];
      list = {kPad, kUnk, kBos, kEos};
      auto add = [&](const auto* ids, int64_t count) { list.insert(list.end(), ids, ids + count); };
      add(frequent_.const_data_ptr<int32_t>(), frequent_.size(0));
      add(at_slot<int64_t>(prefix, b), prefix.size(1));
      for (int64_t s = 0; s < src.size(1); ++s)
        if (int64_t piece = at_slot<int64_t>(src, b)[s]; piece != kPad) add(at_slot<int32_t>(lexicon_, piece), lexicon_.size(1));
      std::sort(list.begin(), list.end());
      list.erase(std::unique(list.begin(), list.end()), list.end());
      longest = std::max(longest, list.size());
    }
    Tensor candidates = at::zeros({src.size(0), static_cast<int64_t>(longest)}, at::kLong);
    for (size_t b = 0; b < lists.size(); ++b) std::copy(lists[b].begin(), lists[b].end(), at_slot<int64_t>(candidates, b));
    return candidates;
  }

  // Decodes one step of all slots, in place; returns which are done (B).
  Tensor advance(TensorList memory, TensorList limits, TensorList state, TensorList live, TensorList history,
                 TensorList candidates, bool block_repeats) const {
    Slots slots = bundle(memory, limits, state, live, history);
    if (!candidates.empty()) slots.candidates = candidates[0];
    int64_t count = slots.tokens.size(0);
    Tensor done = at::empty({count}, at::kBool);
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      Products products;
      advance_range(slots, begin, end, block_repeats, done.data_ptr<bool>());
    });
    return done;
  }

  // Returns the n best hypotheses of the slots `rows`: the fields of `Finished`.
  TensorList finish(TensorList live, TensorList limits, TensorList history, const Tensor& rows, int64_t n_best) const {
    Slots slots = bundle(TensorList(3), limits, {}, live, history);
    int64_t count = rows.size(0), length = 1;
    for (int64_t r = 0; r < count; ++r) length = std::max(length, *at_slot<int64_t>(slots.time, rows.data_ptr<int64_t>()[r]));
    Tensor tokens = at::zeros({count, n_best, length}, at::kLong), log_probs = at::zeros({count, n_best, length}, at::kFloat);
    Tensor attention = at::zeros({count, n_best, length, slots.attention.size(3)}, at::kFloat);
    Tensor lengths = at::zeros({count, n_best}, at::kLong), scores = at::zeros({count, n_best}, at::kFloat);
    Tensor complete = at::zeros({count, n_best}, at::kBool);
    for (int64_t r = 0; r < count; ++r) {
      int64_t b = rows.data_ptr<int64_t>()[r];
      std::vector<Found> found = best_hypotheses(slots, b, n_best);
      for (int64_t i = 0; i < n_best; ++i) {
        int64_t at = r * n_best + i, row = found[i].row, time = found[i].time;
        auto record = [&](int64_t t, int64_t piece, float log_prob, int64_t before) {
          tokens.data_ptr<int64_t>()[at * length + t] = piece;
          log_probs.data_ptr<float>()[at * length + t] = log_prob;
          const float* weights = at_slot<float>(slots.attention, b, t) + before * slots.attention.stride(2);
          std::copy_n(weights, slots.attention.size(3), attention.data_ptr<float>() + (at * length + t) * slots.attention.size(3));
        };
        if (found[i].complete) record(time, kEos, at_slot<float>(slots.eos, b, time)[row], row);
        for (int64_t t = time - 1; t >= 0; --t) {
          int64_t parent = at_slot<int64_t>(slots.parents, b, t)[row];
          record(t, at_slot<int64_t>(slots.pieces, b, t)[row], at_slot<float>(slots.log_probs, b, t)[row], parent);
          row = parent;
        }
        lengths.data_ptr<int64_t>()[at] = time + found[i].complete;
        scores.data_ptr<float>()[at] = found[i].score;
        complete.data_ptr<bool>()[at] = found[i].complete;
      }
    }
    return {tokens, log_probs, attention, lengths, scores, complete};
  }

 private:
  enum class Wiring : int64_t { Gnmt, Bahdanau, Luong, Conditional };
  struct Layer {
    Input input;
    Lstm cell;
    Norm norm;
  };
  // The state of layer l for all rows of a range: before the step in the slots, after it in scratch memory.
  struct LayerState {
    Segment h, c;
    Rows next_h, next_c;
  };

  static Slots bundle(const TensorList& memory, const TensorList& limits, const TensorList& state,
                      const TensorList& live, const TensorList& history) {
    return {memory[0], memory[1], memory[2], limits[0], limits[1], limits[2], limits[3], limits[4], limits[5],
            limits[6], state, live[0], live[1], live[2], live[3], live[4], history[0], history[1], history[2],
            history[3], history[4], history[5]};
  }

  int64_t value_width() const { return value_.defined() ? value_width_ : encoder_.width(); }

  void open_range(const Tensor& src, const Tensor& lengths, int64_t begin, int64_t end, const Tensor& values,
                  const Tensor& keys, const Tensor& state) const {
    int64_t sentences = end - begin, pieces = 0, width = encoder_.width(), first = 0;
    std::vector<int64_t> sizes(lengths.data_ptr<int64_t>() + begin, lengths.data_ptr<int64_t>() + end);
    std::vector<const int64_t*> ids;
    for (int64_t b = begin; b < end; ++b) ids.push_back(at_slot<int64_t>(src, b));
    for (int64_t size : sizes) pieces += size;
    Rows states = take_rows(pieces, width), summary = take_rows(sentences, width);
    encoder_(ids, sizes, states, summary);
    Rows key_rows = take_rows(pieces, energy_.size(0)), value_rows = states;
    key_({{states.data, states.ld, width}}, pieces, key_rows);
    if (value_.defined()) {
      value_rows = take_rows(pieces, value_width());
      value_({{states.data, states.ld, width}}, pieces, value_rows);
    }
    for (int64_t b = 0; b < sentences; first += sizes[b++]) {
      for (int64_t t = 0; t < sizes[b]; ++t) {
        exponential(key_rows[first + t], energy_.size(0));
        std::copy_n(key_rows[first + t], energy_.size(0), at_slot<float>(keys, begin + b, t));
        std::copy_n(value_rows[first + t], value_width(), at_slot<float>(values, begin + b, t));
      }
      if (!mean_) continue;
      for (int64_t j = 0; j < width; ++j) {
        float sum = 0.f;
        for (int64_t t = 0; t < sizes[b]; ++t) sum += states[first + t][j];
        summary[b][j] = sum / sizes[b];
      }
    }
    if (!bridge_.defined()) return;  // zeros
    Rows initial = take_rows(sentences, bridge_.outputs());
    bridge_({{summary.data, summary.ld, width}}, sentences, initial);
    tanh_rows(initial, sentences, layers_.size() * hidden_);
    for (size_t l = 0; l < layers_.size(); ++l)
      for (int64_t b = 0; b < sentences; ++b) std::copy_n(initial[b] + l * hidden_, hidden_, at_slot<float>(state, l, begin + b));
  }

  void advance_range(const Slots& slots, int64_t begin, int64_t end, bool block_repeats, bool* done) const {
    int64_t beam = slots.beam(), n = (end - begin) * beam;
    const int64_t* tokens = at_slot<int64_t>(slots.tokens, begin);
    std::vector<LayerState> states;
    for (size_t l = 0; l < layers_.size(); ++l) {
      auto before = [&](const Tensor& tensor) { return Segment{at_slot<float>(tensor, begin), hidden_, hidden_}; };
      states.push_back({before(slots.state[2 * l]), before(slots.state[2 * l + 1]), take_rows(n, hidden_), take_rows(n, hidden_)});
    }
    Rows piece_rows = take_rows(n, embedding_.width());
    for (int64_t i = 0; i < n; ++i) embedding_(tokens[i], piece_rows[i]);
    Segment piece{piece_rows.data, piece_rows.ld, embedding_.width()};
    Rows context_rows = take_rows(n, value_width());
    Segment context{context_rows.data, context_rows.ld, value_width()};
    Rows x = take_rows(n, std::max(hidden_, embedding_.width())), below = x, gates = take_rows(n, 4 * hidden_);
    Segment output;
    Scratch::Mark mark(scratch());
    auto attend = [&](Segment query) { this->attend(query, slots, begin, end, context_rows); };
    auto run = [&](size_t l, std::vector<Segment> input) {
      mark.rewind();
      const Layer& layer = layers_[l];
      layer.input(input, context, piece, tokens, n, gates);
      step(layer.cell, states[l].h, states[l].c, n, gates, states[l].next_h, states[l].next_c);
    };
    // The output of layer l as the next one's input: its norm, with a residual connection added to its own input.
    auto connect = [&](size_t l) {
      for (int64_t i = 0; i < n; ++i) {
        if (residual_ && l > 0) {
          Rows normed = gates;  // not needed any more
          layers_[l].norm(states[l].next_h[i], normed[i], hidden_);
          for (int64_t j = 0; j < hidden_; ++j) x[i][j] += normed[i][j];
        } else {
          layers_[l].norm(states[l].next_h[i], x[i], hidden_);
        }
      }
      output = {x.data, x.ld, hidden_};
    };
    if (wiring_ == Wiring::Bahdanau) attend(states.back().h);
    run(0, {});
    if (wiring_ == Wiring::Conditional) {
      attend({states[0].next_h.data, states[0].next_h.ld, hidden_});
      mark.rewind();
      second_input_({}, context, piece, tokens, n, gates);
      Rows h = take_rows(n, hidden_);
      for (int64_t i = 0; i < n; ++i) std::copy_n(states[0].next_h[i], hidden_, h[i]);
      step(second_, {h.data, h.ld, hidden_}, {states[0].next_c.data, states[0].next_c.ld, hidden_}, n, gates,
           states[0].next_h, states[0].next_c);
    }
    connect(0);
    if (wiring_ == Wiring::Gnmt) attend(output);
    for (size_t l = 1; l < layers_.size(); ++l) {
      run(l, {output});
      connect(l);
    }
    if (wiring_ == Wiring::Luong) attend(output);
    mark.rewind();
    int64_t width = readout_.size;
    Rows readout = take_rows(n, width);
    readout_({output}, context, piece, tokens, n, readout);
    tanh_rows(readout, n, width);
    auto best = continuations({readout.data, readout.ld, width}, slots, begin, end, block_repeats);
    for (int64_t b = begin; b < end; ++b) {
      int64_t time = *at_slot<int64_t>(slots.time, b), first = (b - begin) * beam;
      done[b] = beam_step(slots, b, &best[first]);
      const int64_t* parents = at_slot<int64_t>(slots.parents, b, time);
      for (size_t l = 0; l < layers_.size(); ++l)
        for (int64_t k = 0; k < beam; ++k) {
          std::copy_n(states[l].next_h[first + parents[k]], hidden_, at_slot<float>(slots.state[2 * l], b, k));
          std::copy_n(states[l].next_c[first + parents[k]], hidden_, at_slot<float>(slots.state[2 * l + 1], b, k));
        }
    }
  }

  // Computes the best continuations of the rows of a range.
  std::vector<Continuations> continuations(Segment readout, const Slots& slots, int64_t begin, int64_t end,
                                           bool block_repeats) const {
    int64_t beam = slots.beam(), n = (end - begin) * beam;
    std::vector<Constraint> constraints;
    for (int64_t i = 0; i < n; ++i) constraints.push_back(constraint_of(slots, begin + i / beam, i % beam, block_repeats));
    if (!slots.candidates.defined()) return vocabulary_(readout, n, beam, constraints);
    std::vector<Shortlist> shortlists;
    for (int64_t b = begin; b < end; ++b) shortlists.emplace_back(at_slot<int64_t>(slots.candidates, b), slots.candidates.size(1));
    return vocabulary_(readout, n, beam, constraints, shortlists);
  }

  // Computes the next state of n rows from their gates, which hold the input's share.
  static void step(const Lstm& cell, Segment h, Segment c, int64_t n, Rows gates, Rows next_h, Rows next_c) {
    cell.add_hidden(h, n, gates);
    for (int64_t i = 0; i < n; ++i) cell.state(gates[i], c.data + i * c.ld, next_h[i], next_c[i], h.width);
  }

  // Computes the contexts of the rows of a range, and writes the attention weights into the history.
  void attend(Segment states, const Slots& slots, int64_t begin, int64_t end, Rows context) const {
    int64_t beam = slots.beam(), n = (end - begin) * beam, size = energy_.size(0);
    Rows query = take_rows(n, size);
    query_({states}, n, query);
    for (int64_t i = 0; i < n; ++i) exponential(query[i], size);
    AdditiveAttention attention{data_of<float>(energy_), size};
    for (int64_t b = begin; b < end; ++b) {
      const bool* mask = at_slot<bool>(slots.mask, b);
      int64_t length = std::count(mask, mask + slots.mask.size(1), true), first = (b - begin) * beam;
      float* weights = at_slot<float>(slots.attention, b, *at_slot<int64_t>(slots.time, b));
      int64_t ld = slots.attention.stride(2);
      attention({query[first], query.ld}, beam, at_slot<float>(slots.keys, b), at_slot<float>(slots.values, b),
                value_width(), length, weights, ld, {context[first], context.ld});
      for (int64_t k = 0; k < beam; ++k) std::fill(weights + k * ld + length, weights + k * ld + slots.attention.size(3), 0.f);
    }
  }

  // The complete hypotheses of a slot by score, then its live ones.
  static std::vector<Found> best_hypotheses(const Slots& slots, int64_t b, int64_t n_best) {
    int64_t time = *at_slot<int64_t>(slots.time, b), beam = slots.beam();
    std::vector<Found> found;
    for (int64_t t = 0; t < time; ++t)
      for (int64_t k = 0; k < beam; ++k)
        if (float score = at_slot<float>(slots.finished, b, t)[k]; score > kNever) found.push_back({score, k, t, true});
    std::stable_sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.score > b.score; });
    for (int64_t k = 0; static_cast<int64_t>(found.size()) < n_best; ++k) {
      float penalty = length_penalty(time, *at_slot<float>(slots.length_penalty, b));
      found.push_back({at_slot<float>(slots.scores, b)[k] / penalty, k, time, false});
    }
    return found;
  }

  Encoder encoder_;
  Linear bridge_, key_, value_, query_;
  Lstm second_;  // of the conditional wiring
  Input second_input_;
  std::vector<Layer> layers_;
  Input readout_;
  Vocabulary vocabulary_;
  Embedding embedding_;
  Tensor energy_, lexicon_, frequent_;
  Wiring wiring_;
  bool residual_, mean_;
  int64_t hidden_, value_width_;
};

// Whether this machine has products for packed weights of a type, tried out.
bool can_multiply(at::ScalarType type) {
  try {
    alignas(64) static const char zeros[64 * 64 * 4] = {};
    alignas(64) float y[8 * 64];
    Products products;
    if (type == at::kChar)
      at::native::cpublas::brgemm(8, 64, 64, 64, 64, 64, false, reinterpret_cast<const unsigned char*>(zeros),
                                  reinterpret_cast<const signed char*>(zeros), reinterpret_cast<int32_t*>(y));
    else if (type == at::kBFloat16)
      at::native::cpublas::brgemm(8, 64, 64, 64, 64, 64, false, reinterpret_cast<const at::BFloat16*>(zeros),
                                  reinterpret_cast<const at::BFloat16*>(zeros), y);
    else
      at::native::cpublas::brgemm(8, 64, 64, 64, 64, 64, false, reinterpret_cast<const float*>(zeros),
                                  reinterpret_cast<const float*>(zeros), y, false);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nmt, m) {
  m.def("can_multiply(ScalarType type) -> bool", can_multiply);
  m.class_<Search>("Search")
      .def(torch::init<Tensors, Options>())
      .def("open", &Search::open)
      .def("choose_candidates", &Search::choose_candidates)
      .def("advance", &Search::advance)
      .def("finish", &Search::finish);
}

}  // namespace nmt
