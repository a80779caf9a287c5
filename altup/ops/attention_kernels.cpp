// altup::attention for one head and one vector width; the formulas are at the top of attention.cpp.
// Keys and values are packed once, then a block of queries is worked on at a time, whose scores stay
// in the second-level cache. The relative bias is a band, one number a distance, so that adding it
// and summing its gradient stay in the first-level cache. All sums are fp32; with bfloat16 the
// factors of every product are rounded to it.
#include "altup/ops/attention_kernels.h"

#include "altup/ops/attention_dropout.h"
#include "altup/ops/tile_product.h"

namespace altup::internal::ALTUP_VECTOR_NAMESPACE {
namespace {

/// Queries worked on at a time.
constexpr std::int64_t kBlock = 48;
static_assert(kBlock % kTileRows == 0 && kBlock % 2 == 0);

template <typename Scalar>
using Step = typename Packed<Scalar>::Step;

/// Numbers from one row of scores to the next: whole tiles of columns, and a cache line more, so
/// that the rows of a column do not all fall into one set of the cache.
constexpr std::int64_t score_stride(std::int64_t keys) {
  return round_up(keys, kTileColumns) + 16;
}

/// Columns of scores that whole tiles in either direction touch; at most score_stride().
std::int64_t touched_columns(std::int64_t keys) {
  const std::int64_t columns = round_up(keys, kTileColumns);
  const std::int64_t rows = round_up(keys, kTileRows);
  return columns > rows ? columns : rows;
}

/// The buffers of a head, cut from its scratch.
template <typename Scalar>
struct Buffers {
  // Keys and values as the second factor, as they are and transposed.
  Step<Scalar>* keys;               // backward: [S, d]
  Step<Scalar>* keys_transposed;    // [d, S]
  Step<Scalar>* values;             // forward: [S, d]
  Step<Scalar>* values_transposed;  // backward: [d, S]
  // Of a block of queries.
  Step<Scalar>* rows;     // [block, d], the first factor: queries, then output gradients
  Step<Scalar>* queries;  // backward, the second factor: [block, d]
  Step<Scalar>* douts;
  float* scores;          // [block, S]: Q K^T, then the weights
  float* dweights;        // backward, [block, S]: dO V^T, then the scores' gradient
  Step<Scalar>* weights;  // bfloat16: the weights, then the scores' gradient, as a factor
  float* out;             // [block, d]
  float* dkeys;           // backward: [S, d]
  float* dvalues;
  std::int64_t bytes;

  Buffers(std::byte* scratch, std::int64_t num_keys, std::int64_t d) {
    std::int64_t at = 0;
    const auto cut = [&]<typename T>(T*& buffer, std::int64_t count) {
      buffer = scratch == nullptr ? nullptr : reinterpret_cast<T*>(scratch + at);
      at += round_up(count * static_cast<std::int64_t>(sizeof(T)), 64);
    };
    const std::int64_t stride = score_stride(num_keys);
    const std::int64_t columns = round_up(d, kTileColumns);
    const std::int64_t by_key = steps_of<Scalar>(num_keys) * columns;
    const std::int64_t by_width = steps_of<Scalar>(d) * round_up(num_keys, kTileColumns);
    const std::int64_t key_rows = round_up(num_keys, kTileRows);
    cut(keys, by_key);
    cut(keys_transposed, by_width);
    cut(values, by_key);
    cut(values_transposed, by_width);
    cut(rows, kBlock * steps_of<Scalar>(d));
    cut(queries, steps_of<Scalar>(kBlock) * columns);
    cut(douts, steps_of<Scalar>(kBlock) * columns);
    cut(scores, kBlock * stride);
    cut(dweights, kBlock * stride);
    cut(weights, Packed<Scalar>::kPerStep == 1 ? 0 : kBlock * stride);
    cut(out, kBlock * columns);
    cut(dkeys, key_rows * columns);
    cut(dvalues, key_rows * columns);
    bytes = at;
  }
};

/// Keys that the queries up to `query` see.
template <typename Scalar>
std::int64_t seen_keys(const AttentionHead<Scalar>& head, std::int64_t query) {
  return head.causal ? smaller(head.keys, query + 1) : head.keys;
}

/// The missing lanes of a last step hold `value`.
template <bool kWhole>
ALTUP_INLINE void fill_missing(Vector& vector, std::int64_t count, float value) {
  if constexpr (!kWhole) {
    for (std::int64_t lane = count; lane < kLanes; ++lane) vector[lane] = value;
  }
}

void zero(float* from, float* to) {
  for (; from < to; ++from) *from = 0.0F;
}

/// The biases of a query, by key.
template <typename Scalar>
struct Biases {
  const float* relative;
  const float* key;

  Biases(const AttentionHead<Scalar>& head, std::int64_t query)
      : relative(head.relative_bias == nullptr ? nullptr : head.relative_bias - query),
        key(head.key_bias) {}

  template <bool kWhole>
  ALTUP_INLINE Vector add(Vector score, std::int64_t at, std::int64_t count) const {
    if (relative != nullptr) score += load<kWhole>(relative + at, count);
    if (key != nullptr) score += load<kWhole>(key + at, count);
    return score;
  }
};

/// Makes of a query's scores its weights, without their division by their sum, which it returns.
template <typename Scalar>
float weigh(const AttentionHead<Scalar>& head, std::int64_t query, float* scores) {
  const Biases<Scalar> biases(head, query);
  const std::int64_t keys = seen_keys(head, query);
  Vector largest = Vector{} - __builtin_inff();
  along(keys, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    Vector score = biases.template add<kWhole>(load<kWhole>(scores + at, count), at, count);
    store<kWhole>(score, scores + at, count);
    fill_missing<kWhole>(score, count, -__builtin_inff());
    largest = score > largest ? score : largest;
  });
  const float top = max_of_lanes(largest);
  const bool drops = head.dropout.threshold > 0;
  const std::uint32_t row = drops ? dropout_row(head.dropout, query) : 0;
  Vector sums{};
  along(keys, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    Vector power = exp(load<kWhole>(scores + at, count) - top);
    fill_missing<kWhole>(power, count, 0.0F);
    sums += power;
    if (drops) power *= dropout_factors(head.dropout, row, at);
    store<kWhole>(power, scores + at, count);
  });
  const double sum = sum_of_lanes(sums);
  head.lse[query] = top + static_cast<float>(__builtin_log(sum));
  return static_cast<float>(1.0 / sum);
}

/// What a query's weights, made again from `lse`, add up to: 1, but where all its keys are hidden.
/// Their scores, and lse with them, are then so large that the logarithm of the number of keys is
/// lost in it.
template <typename Scalar>
float sum_of_weights(const AttentionHead<Scalar>& head, std::int64_t query, float lse,
                     const float* scores) {
  constexpr float kExact = 1e4F;
  if (lse > -kExact && lse < kExact) return 1.0F;
  const Biases<Scalar> biases(head, query);
  Vector sums{};
  along(seen_keys(head, query),
        [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
          Vector power =
              exp(biases.template add<kWhole>(load<kWhole>(scores + at, count), at, count) - lse);
          fill_missing<kWhole>(power, count, 0.0F);
          sums += power;
        });
  return static_cast<float>(sum_of_lanes(sums));
}

/// Makes of a query's scores its weights, and of their gradient that of the scores.
template <typename Scalar>
void differentiate(const AttentionHead<Scalar>& head, std::int64_t query, float dot, float* scores,
                   float* dweights) {
  const Biases<Scalar> biases(head, query);
  const float lse = head.lse[query];
  float* dbias = head.drelative_bias == nullptr ? nullptr : head.drelative_bias - query;
  const bool drops = head.dropout.threshold > 0;
  const std::uint32_t row = drops ? dropout_row(head.dropout, query) : 0;
  const float share = 1.0F / sum_of_weights(head, query, lse, scores);
  along(seen_keys(head, query), [&]<bool kWhole>(std::int64_t at,
                                                 std::int64_t count) ALTUP_INLINE_LAMBDA {
    const Vector score = biases.template add<kWhole>(load<kWhole>(scores + at, count), at, count);
    const Vector weight = exp(score - lse) * share;
    Vector dweight = load<kWhole>(dweights + at, count);
    Vector used = weight;
    if (drops) {
      const Vector factors = dropout_factors(head.dropout, row, at);
      used *= factors;
      dweight *= factors;
    }
    const Vector dscore = weight * (dweight - dot);
    store<kWhole>(used, scores + at, count);
    store<kWhole>(dscore, dweights + at, count);
    if (dbias != nullptr) {
      store<kWhole>(load<kWhole>(dbias + at, count) + dscore, dbias + at, count);
    }
  });
}

// A block of weights, [rows, columns], as the first factor of a product: by query (rows of weights)
// or by key (their transpose). Floats serve as they are; bfloat16 is rounded into `to`.

Factor<float> by_query(const float* block, std::int64_t stride, std::int64_t, std::int64_t,
                       float*) {
  return {block, stride};
}
Factor<float> by_key(const float* block, std::int64_t stride, std::int64_t, std::int64_t, float*) {
  return {block, stride};
}

using Pair = Step<BFloat16Bits>;
typedef std::uint32_t Words __attribute__((vector_size(ALTUP_VECTOR_BYTES)));

/// Bfloat16 in the lower half of every lane, rounded as Simd<BFloat16Bits>::store does.
ALTUP_INLINE Words rounded(const float* from) {
  BFloat16Bits narrow[kLanes];
  Simd<BFloat16Bits>::store(Simd<float>::load(from), narrow);
  return reinterpret_cast<Words>(Simd<BFloat16Bits>::load(narrow)) >> 16;
}

Factor<BFloat16Bits> by_query(const float* block, std::int64_t stride, std::int64_t rows,
                              std::int64_t columns, Pair* to) {
  for (std::int64_t r = 0; r < rows; ++r) {
    auto* row = reinterpret_cast<BFloat16Bits*>(to + r * (stride / 2));
    for (std::int64_t at = 0; at < columns; at += kLanes) {
      Simd<BFloat16Bits>::store(Simd<float>::load(block + r * stride + at), row + at);
    }
  }
  return {to, stride / 2};
}
Factor<BFloat16Bits> by_key(const float* block, std::int64_t stride, std::int64_t rows,
                            std::int64_t columns, Pair* to) {
  for (std::int64_t r = 0; r < rows; r += 2) {
    for (std::int64_t at = 0; at < columns; at += kLanes) {
      const float* from = block + r * stride + at;
      const Words pairs = rounded(from) | rounded(from + stride) << 16;
      __builtin_memcpy(to + r / 2 * stride + at, &pairs, sizeof(pairs));
    }
  }
  return {to, stride};
}

/// Writes a row of fp32 sums times `factor`.
template <typename Scalar>
void write_row(const float* from, float factor, std::int64_t width, Scalar* to) {
  along(width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    store<kWhole>(load<kWhole>(from + at, count) * factor, to + at, count);
  });
}

template <typename Scalar>
Rows<Scalar> rows_from(HeadRows<const Scalar> x, std::int64_t first) {
  return {x.data + first * x.stride, x.stride};
}

/// A block of queries: which, and how many keys the last of them sees.
struct Block {
  std::int64_t first, count, padded, keys, columns;

  template <typename Scalar>
  Block(const AttentionHead<Scalar>& head, std::int64_t begin)
      : first(begin),
        count(smaller(kBlock, head.queries - begin)),
        padded(round_up(count, kTileRows)),
        keys(seen_keys(head, begin + count - 1)),
        columns(touched_columns(keys)) {}
};

template <typename Scalar>
void forward(const AttentionHead<Scalar>& head) {
  const std::int64_t d = head.width;
  const std::int64_t stride = score_stride(head.keys);
  const std::int64_t out_stride = round_up(d, kTileColumns);
  const Buffers<Scalar> buffers(head.scratch, head.keys, d);
  pack_transposed_panels(rows_from(head.k, 0), head.keys, d, buffers.keys_transposed);
  pack_panels(rows_from(head.v, 0), head.keys, d, buffers.values);
  for (std::int64_t first = 0; first < head.queries; first += kBlock) {
    const Block block(head, first);
    pack_factor(rows_from(head.q, first), block.count, d, buffers.rows);
    product<Scalar, true>({buffers.rows, steps_of<Scalar>(d)}, buffers.keys_transposed,
                          steps_of<Scalar>(d), block.padded, block.keys, steps_of<Scalar>(d), false,
                          buffers.scores, stride);
    float inverse_sums[kBlock];
    for (std::int64_t r = 0; r < block.count; ++r) {
      inverse_sums[r] = weigh(head, first + r, buffers.scores + r * stride);
      zero(buffers.scores + r * stride + seen_keys(head, first + r),
           buffers.scores + r * stride + block.columns);
    }
    const auto weights =
        by_query(buffers.scores, stride, block.padded, block.columns, buffers.weights);
    product<Scalar, true>(weights, buffers.values, steps_of<Scalar>(head.keys), block.padded, d,
                          steps_of<Scalar>(block.keys), false, buffers.out, out_stride);
    for (std::int64_t r = 0; r < block.count; ++r) {
      write_row(buffers.out + r * out_stride, inverse_sums[r], d,
                head.out.data + (first + r) * head.out.stride);
    }
  }
}

template <typename Scalar>
float dot(const Scalar* x, const Scalar* y, std::int64_t width) {
  Vector sums{};
  along(width, [&]<bool kWhole>(std::int64_t at, std::int64_t count) ALTUP_INLINE_LAMBDA {
    sums += load<kWhole>(x + at, count) * load<kWhole>(y + at, count);
  });
  return static_cast<float>(sum_of_lanes(sums));
}

template <typename Scalar>
void backward(const AttentionHead<Scalar>& head) {
  const std::int64_t d = head.width;
  const std::int64_t d_steps = steps_of<Scalar>(d);
  const std::int64_t key_steps = steps_of<Scalar>(head.keys);
  const std::int64_t stride = score_stride(head.keys);
  const std::int64_t wide = round_up(d, kTileColumns);
  const Buffers<Scalar> buffers(head.scratch, head.keys, d);
  pack_panels(rows_from(head.k, 0), head.keys, d, buffers.keys);
  pack_transposed_panels(rows_from(head.k, 0), head.keys, d, buffers.keys_transposed);
  pack_transposed_panels(rows_from(head.v, 0), head.keys, d, buffers.values_transposed);
  const std::int64_t key_rows = round_up(head.keys, kTileRows);
  zero(buffers.dkeys, buffers.dkeys + key_rows * wide);
  zero(buffers.dvalues, buffers.dvalues + key_rows * wide);
  for (std::int64_t first = 0; first < head.queries; first += kBlock) {
    const Block block(head, first);
    const auto queries = rows_from(head.q, first);
    const auto douts = rows_from(head.dout, first);
    pack_factor(queries, block.count, d, buffers.rows);
    product<Scalar, true>({buffers.rows, d_steps}, buffers.keys_transposed, d_steps, block.padded,
                          block.keys, d_steps, false, buffers.scores, stride);
    pack_factor(douts, block.count, d, buffers.rows);
    product<Scalar, true>({buffers.rows, d_steps}, buffers.values_transposed, d_steps, block.padded,
                          block.keys, d_steps, false, buffers.dweights, stride);
    for (std::int64_t r = 0; r < block.padded; ++r) {
      std::int64_t keys = 0;  // a row that is there to fill a tile only is 0
      if (r < block.count) {
        keys = seen_keys(head, first + r);
        const Scalar* out = head.out.data + (first + r) * head.out.stride;
        differentiate(head, first + r, dot(douts.data + r * douts.stride, out, d),
                      buffers.scores + r * stride, buffers.dweights + r * stride);
      }
      zero(buffers.scores + r * stride + keys, buffers.scores + r * stride + block.columns);
      zero(buffers.dweights + r * stride + keys, buffers.dweights + r * stride + block.columns);
    }
    const std::int64_t steps = steps_of<Scalar>(block.count);
    pack_panels(douts, block.count, d, buffers.douts);
    product<Scalar, false>(
        by_key(buffers.scores, stride, block.padded, block.columns, buffers.weights), buffers.douts,
        steps, block.keys, d, steps, true, buffers.dvalues, wide);
    pack_panels(queries, block.count, d, buffers.queries);
    product<Scalar, false>(
        by_key(buffers.dweights, stride, block.padded, block.columns, buffers.weights),
        buffers.queries, steps, block.keys, d, steps, true, buffers.dkeys, wide);
    product<Scalar, true>(
        by_query(buffers.dweights, stride, block.padded, block.columns, buffers.weights),
        buffers.keys, key_steps, block.padded, d, steps_of<Scalar>(block.keys), false, buffers.out,
        wide);
    for (std::int64_t r = 0; r < block.count; ++r) {
      write_row(buffers.out + r * wide, 1.0F, d, head.dq.data + (first + r) * head.dq.stride);
    }
  }
  for (std::int64_t s = 0; s < head.keys; ++s) {
    write_row(buffers.dkeys + s * wide, 1.0F, d, head.dk.data + s * head.dk.stride);
    write_row(buffers.dvalues + s * wide, 1.0F, d, head.dv.data + s * head.dv.stride);
  }
}

template <typename Scalar>
std::int64_t scratch_bytes(std::int64_t keys, std::int64_t width) {
  return Buffers<Scalar>(nullptr, keys, width).bytes;
}

}  // namespace

template <typename Scalar>
AttentionKernels<Scalar> attention_kernels() {
  return {forward<Scalar>, backward<Scalar>, scratch_bytes<Scalar>};
}

template AttentionKernels<float> attention_kernels<float>();
template AttentionKernels<BFloat16Bits> attention_kernels<BFloat16Bits>();

}  // namespace altup::internal::ALTUP_VECTOR_NAMESPACE
