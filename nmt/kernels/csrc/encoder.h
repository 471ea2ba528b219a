// The encoder of nmt/model/encoder.py, without work on padding: all pieces of a batch are rows, one sentence after another.

#pragma once

#include <algorithm>
#include <numeric>

#include "layers.h"

namespace nmt {

class Encoder {
 public:
  Encoder() = default;
  Encoder(const Tensors& tensors, const Options& options)
      : embedding_(tensors, options, "source_embedding"),
        reverse_(option(options, "reverse")),
        residual_(option(options, "encoder.residual")),
        hidden_(options.at("encoder.hidden")) {
    for (int64_t l = 0; l < options.at("encoder.layers"); ++l) {
      std::string name = "encoder." + std::to_string(l);
      cells_.emplace_back();
      for (const char* direction : {".forward", ".backward"})
        if (tensors.contains(name + direction + ".input.bias")) cells_.back().emplace_back(tensors, name + direction);
      norms_.emplace_back(tensors, name + ".norm");
    }
  }

  int64_t width() const { return hidden_ * static_cast<int64_t>(cells_[0].size()); }

  // Computes the states (pieces, D) of sentences whose pieces follow each other in `ids`, and their summary (B, D): the
  // final state of each direction.
  void operator()(const std::vector<const int64_t*>& ids, const std::vector<int64_t>& lengths, Rows states,
                  Rows summary) const {
    std::vector<int64_t> first(lengths.size() + 1, 0);
    std::partial_sum(lengths.begin(), lengths.end(), first.begin() + 1);
    int64_t count = first.back(), width = this->width(), below = embedding_.width();
    Rows x = take_rows(count, std::max(below, width)), y = take_rows(count, width);
    for (size_t b = 0; b < lengths.size(); ++b)
      for (int64_t t = 0; t < lengths[b]; ++t) embedding_(ids[b][reverse_ ? lengths[b] - 1 - t : t], x[first[b] + t]);
    for (size_t l = 0; l < cells_.size(); ++l) {
      for (size_t d = 0; d < cells_[l].size(); ++d)
        direction(cells_[l][d], {x.data, x.ld, below}, first, lengths, d == 1, {y.data + d * hidden_, y.ld});
      for (int64_t i = 0; i < count; ++i) {
        norms_[l](y[i], y[i], width);
        if (residual_ && l > 0)
          for (int64_t j = 0; j < width; ++j) y[i][j] += x[i][j];
        std::memcpy(x[i], y[i], width * sizeof(float));
      }
      below = width;
    }
    for (size_t b = 0; b < lengths.size(); ++b) {
      const int64_t length = lengths[b];
      std::memcpy(summary[b], y[first[b] + length - 1], width * sizeof(float));
      if (cells_[0].size() == 2) std::memcpy(summary[b] + hidden_, y[first[b]] + hidden_, hidden_ * sizeof(float));
      for (int64_t t = 0; t < length; ++t)
        std::memcpy(states[first[b] + t], y[first[b] + (reverse_ ? length - 1 - t : t)], width * sizeof(float));
    }
  }

 private:
  // Runs a cell along all sentences. Those that still have pieces are the first of `order` in every step.
  void direction(const Lstm& cell, Segment x, const std::vector<int64_t>& first, const std::vector<int64_t>& lengths,
                 bool backward, Rows y) const {
    int64_t sentences = lengths.size();
    std::vector<int64_t> order(sentences);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
    Rows inputs = take_rows(first.back(), 4 * hidden_);
    cell.input({x}, first.back(), inputs);
    Rows gates = take_rows(sentences, 4 * hidden_), h = take_rows(sentences, hidden_), c = take_rows(sentences, hidden_);
    for (int64_t i = 0; i < sentences; ++i)
      for (Rows state : {h, c}) std::fill(state[i], state[i] + hidden_, 0.f);
    int64_t active = sentences;
    Scratch::Mark mark(scratch());
    for (int64_t t = 0; t < lengths[order[0]]; ++t) {
      while (lengths[order[active - 1]] <= t) --active;
      auto piece = [&](int64_t i) { return first[order[i]] + (backward ? lengths[order[i]] - 1 - t : t); };
      for (int64_t i = 0; i < active; ++i) std::memcpy(gates[i], inputs[piece(i)], 4 * hidden_ * sizeof(float));
      mark.rewind();
      cell.add_hidden({h.data, h.ld, hidden_}, active, gates);
      for (int64_t i = 0; i < active; ++i) {
        cell.state(gates[i], c[i], h[i], c[i], hidden_);
        std::memcpy(y[piece(i)], h[i], hidden_ * sizeof(float));
      }
    }
  }

  Embedding embedding_;
  bool reverse_ = false, residual_ = false;
  int64_t hidden_ = 0;
  std::vector<std::vector<Lstm>> cells_;
  std::vector<Norm> norms_;
};

}  // namespace nmt
