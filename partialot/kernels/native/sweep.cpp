// The passes of `partialot.kernels.reference` for the CPU: one read of the matrix, at most one exponential an entry.
//
// Potentials come in double precision. For float32 they are split into a part on a grid so coarse that the sum of two
// is exact, and the rest: f + g - c is then right to the rounding of the *result*, however large f, g and c are, and
// marginals can be met to 1e-6 where the cost spans thousands of `reg`.
//
// Rows are cut into chunks by their number alone and the sums of chunks are merged in order, so that a result depends
// neither on the number of threads nor on the batch that a problem comes in.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

// Numbers too small to be normal are slow on many processors and of no account here; the caller's setting is restored.
class FlushDenormals {
#if defined(__SSE2__)
  const unsigned before_ = _mm_getcsr();

public:
  FlushDenormals() { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }
#else
public:
  FlushDenormals() {}
#endif
};

constexpr int64_t kTile = 4;         // rows that share one load of the vectors over columns
constexpr int64_t kFewestRows = 64;  // of a chunk, fewer where they are so long that the threads would lack work
constexpr int64_t kLongRows = 1 << 20;  // numbers in a chunk that are work enough
constexpr int64_t kMostChunks = 32;  // of a problem
constexpr double kLog2e = 1.44269504088896340736;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

enum Mode : int8_t { kSkip = 0, kFromCost = 1, kFromKernel = 2 };

template <typename T> struct Number;

template <> struct Number<float> {
  using Bits = int32_t;
  static constexpr int kMantissa = 23;
  static constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  static constexpr float kLowest = -125.0f, kHighest = 126.0f;
  // Minimax polynomial of 2^x on [-1/2, 1/2] (coefficients of Cephes' exp2f).
  static inline float polynomial(float x) {
    float p = 1.535336188319500e-4f;
    p = p * x + 1.339887440266574e-3f;
    p = p * x + 9.618437357674640e-3f;
    p = p * x + 5.550332471162809e-2f;
    p = p * x + 2.402264791363012e-1f;
    p = p * x + 6.931472028550421e-1f;
    return p * x + 1.0f;
  }
};

template <> struct Number<double> {
  using Bits = int64_t;
  static constexpr int kMantissa = 52;
  static constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLowest = -1021.0, kHighest = 1022.0;
  // Taylor series of exp(x log 2): on [-1/2, 1/2] the first term left out is below 5e-18.
  static inline double polynomial(double fraction) {
    const double x = fraction * 0.69314718055994530942;
    double p = 1.0 / 6227020800.0;
    p = p * x + 1.0 / 479001600.0;
    p = p * x + 1.0 / 39916800.0;
    p = p * x + 1.0 / 3628800.0;
    p = p * x + 1.0 / 362880.0;
    p = p * x + 1.0 / 40320.0;
    p = p * x + 1.0 / 5040.0;
    p = p * x + 1.0 / 720.0;
    p = p * x + 1.0 / 120.0;
    p = p * x + 1.0 / 24.0;
    p = p * x + 1.0 / 6.0;
    p = p * x + 0.5;
    p = p * x + 1.0;
    return p * x + 1.0;
  }
};

// Sums beyond 2^kWild, up or down, are taken again with their largest term divided out: half of the range that keeps
// all digits, for over-relaxed updates go up to twice as far.
template <typename T> constexpr double kWild = (Number<T>::kHighest - Number<T>::kMantissa) / 2;

// 2^t; 0 where that is below the normal numbers, 2^kHighest where it is above.
template <typename T> inline T exp2_of(T t) {
  const T bounded = std::min(std::max(t, Number<T>::kLowest), Number<T>::kHighest);
  const T shifted = bounded + Number<T>::kRounder;
  const T value = Number<T>::polynomial(bounded - (shifted - Number<T>::kRounder));
  typename Number<T>::Bits exponent, bits;
  std::memcpy(&exponent, &shifted, sizeof(T));
  std::memcpy(&bits, &value, sizeof(T));
  bits += exponent << Number<T>::kMantissa;
  T result;
  std::memcpy(&result, &bits, sizeof(T));
  return t >= Number<T>::kLowest ? result : T(0);
}

double log2_of_sum(double one, double other) {
  const double most = std::max(one, other);
  return std::isinf(most) ? most : most + std::log2(std::exp2(one - most) + std::exp2(other - most));
}

// Natural potentials in base 2, as two numbers of the working type, the first on a grid.
template <typename T> struct Split {
  std::vector<T> high, low;

  Split(const double *values, int64_t count, double grid) : high(count), low(count) {
    for (int64_t k = 0; k < count; ++k) {
      const double value = values[k] * kLog2e;
      const bool finite = std::isfinite(value);
      const double coarse = finite ? std::nearbyint(value / grid) * grid : value;
      high[k] = T(coarse);
      low[k] = finite ? T(value - coarse) : T(0);
    }
  }
};

double largest(const double *values, int64_t count) {
  double most = 1.0;
  for (int64_t k = 0; k < count; ++k)
    if (std::isfinite(values[k])) most = std::max(most, std::abs(values[k]));
  return most;
}

// The finest grid on which the sum of any two potentials has no more digits than the working type.
template <typename T> double grid_of(const double *rows, int64_t n, const double *columns, int64_t m) {
  int exponent;
  std::frexp(kLog2e * std::max(largest(rows, n), largest(columns, m)), &exponent);
  return std::ldexp(1.0, exponent - Number<T>::kMantissa);
}

template <typename T> std::vector<T> exp2_all(const double *values, int64_t count) {
  std::vector<T> result(count);
  for (int64_t k = 0; k < count; ++k) result[k] = T(std::exp2(values[k] * kLog2e));
  return result;
}

// The matrices exp(rows_i + columns_j - unit (cost_ij - shift)), or exp(rows_i + columns_j) kernel_ij.
template <typename T> struct Matrices {
  const T *cost;
  T *kernel;
  const int8_t *mode;
  const double *unit, *shift, *rows, *columns;
  int64_t batch, n, m, cost_stride;
  int threads;

  int64_t rows_of_chunk() const {
    const int64_t even = (n + kMostChunks - 1) / kMostChunks;
    const int64_t fewest = std::min(kFewestRows, std::max(4 * kTile, kLongRows / std::max<int64_t>(1, m)));
    return (std::max(fewest, even) + kTile - 1) / kTile * kTile;
  }
  int64_t chunks() const { return std::max<int64_t>(1, (n + rows_of_chunk() - 1) / rows_of_chunk()); }
  double grid(int64_t problem) const { return grid_of<T>(rows + problem * n, n, columns + problem * m, m); }
  const T *cost_row(int64_t problem, int64_t i) const { return cost + problem * cost_stride + i * m; }
  T *kernel_row(int64_t problem, int64_t i) const { return kernel + (problem * n + i) * m; }
};

template <typename T> struct Affine { T unit, shift; };

// entries_j = exp(row + column_j - unit (cost_j - shift)); gives their sum.
template <typename T>
T exponentials(const T *cost, Affine<T> price, T high, T low, const Split<T> &columns, int64_t m, T *entries) {
  const T *column_high = columns.high.data(), *column_low = columns.low.data();
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < m; ++j) {
    const T coarse = (high + column_high[j]) - price.unit * (cost[j] - price.shift);
    const T entry = exp2_of<T>(coarse + (low + column_low[j]));
    entries[j] = entry;
    sum += entry;
  }
  return sum;
}

// entries_j = the exponents in base 2; gives the logarithm of the sum with the largest term divided out.
template <typename T>
double stable_sum(const T *cost, Affine<T> price, T high, T low, const Split<T> &columns, int64_t m, T *entries) {
  T most = -std::numeric_limits<T>::infinity();
  for (int64_t j = 0; j < m; ++j) {
    entries[j] = ((high + columns.high[j]) - price.unit * (cost[j] - price.shift)) + (low + columns.low[j]);
    most = std::max(most, entries[j]);
  }
  if (!(most > -std::numeric_limits<T>::infinity())) return -kInfinity;
  double sum = 0;
  for (int64_t j = 0; j < m; ++j) sum += exp2_of<T>(entries[j] - most);
  return double(most) + std::log2(sum);
}

// How much of the way to go: omega, unless the dual would gain too little by it. `log_total` is the natural logarithm of
// a sum over its weight; see `partialot.kernels.reference.safe_relaxation`.
double safe_relaxation(double log_total, double omega) {
  if (omega == 1.0 || !(log_total < 0)) return omega;
  const double x = std::exp(-log_total), gain = 1 - omega * x * log_total - std::exp(-omega * log_total);
  return gain >= 0.5 * omega * (2 - omega) * (1 - x * log_total - x) ? omega : 1.0;
}

// What a row's update needs and gives; natural logarithms.
struct RowUpdate {
  const double *edge, *log_weight, *relaxation, *ceiling;
  double *log_total, *fraction, *moved;

  // Record the sums of a row and how far its potential moves; give that in base 2.
  double finish(int64_t index, double row, double log_sum, double log_total, double omega, double top) const {
    const bool found = std::isfinite(log_total);
    this->log_total[index] = found ? log_total / kLog2e : -kInfinity;
    fraction[index] = found ? std::exp2(log_sum - log_total) : 0.0;
    // A row that sees nothing stays where it is.
    const double natural = log_total / kLog2e;
    const double step = found ? std::min(top - row, -safe_relaxation(natural, omega) * natural) : 0.0;
    moved[index] = step;
    return step * kLog2e;
  }
};

double with_edge(double sum, double log_sum, double edge) {
  edge *= kLog2e;
  if (edge == -kInfinity) return log_sum;
  return std::abs(edge) < 1000 ? std::log2(sum + std::exp2(edge)) : log2_of_sum(log_sum, edge);
}

// One row from the cost: fills `entries` and gives the factor that makes them its updated plan.
template <typename T>
T update_from_cost(const Matrices<T> &matrices, const RowUpdate &update, int64_t problem, int64_t i, T high, T low,
                   const Split<T> &columns, T *entries) {
  const int64_t index = problem * matrices.n + i, m = matrices.m;
  const T *cost = matrices.cost_row(problem, i);
  const Affine<T> price{T(matrices.unit[problem] * kLog2e), T(matrices.shift[problem])};
  const double row = matrices.rows[index], top = update.ceiling[index];
  const double sum = exponentials<T>(cost, price, high, low, columns, m, entries);
  const double log_sum = std::log2(sum), log_total = with_edge(sum, log_sum, update.edge[index]);
  const double weight = update.log_weight[index] * kLog2e;
  if (std::abs(log_total) < kWild<T>) {
    const double moved = update.finish(index, row, log_sum, log_total, update.relaxation[problem], top);
    return T(std::exp2(weight + moved));
  }
  const double stable = stable_sum<T>(cost, price, high, low, columns, m, entries);
  const double whole = log2_of_sum(stable, update.edge[index] * kLog2e);
  const T moved = T(update.finish(index, row, stable, whole, 1.0, top));
  for (int64_t j = 0; j < m; ++j) entries[j] = exp2_of<T>(entries[j] + moved);
  return T(std::exp2(weight));
}

template <typename T> void add_rows(const T *const *rows, const T *scale, int64_t m, T *into) {
  const T *p0 = rows[0], *p1 = rows[1], *p2 = rows[2], *p3 = rows[3];
  const T s0 = scale[0], s1 = scale[1], s2 = scale[2], s3 = scale[3];
#pragma omp simd
  for (int64_t j = 0; j < m; ++j) into[j] += (s0 * p0[j] + s1 * p1[j]) + (s2 * p2[j] + s3 * p3[j]);
}

template <typename T> void dot_rows(const T *const *rows, const T *x, int64_t m, T *sums) {
  const T *p0 = rows[0], *p1 = rows[1], *p2 = rows[2], *p3 = rows[3];
  T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
  for (int64_t j = 0; j < m; ++j) {
    s0 += p0[j] * x[j];
    s1 += p1[j] * x[j];
    s2 += p2[j] * x[j];
    s3 += p3[j] * x[j];
  }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

// The addresses of a tile's rows; those past the end point at zeros.
template <typename T> struct Tile {
  const T *row[kTile];
  int64_t height;

  Tile(const T *first, int64_t stride, int64_t left, const std::vector<T> &zeros) : height(std::min(kTile, left)) {
    for (int64_t r = 0; r < kTile; ++r) row[r] = r < height ? first + r * stride : zeros.data();
  }
};

template <typename T>
void chunk_from_cost(const Matrices<T> &matrices, const RowUpdate &update, int64_t problem, int64_t first,
                     int64_t last, const std::vector<T> &zeros, T *into) {
  const int64_t n = matrices.n, m = matrices.m;
  const double grid = matrices.grid(problem);
  const Split<T> columns(matrices.columns + problem * m, m, grid);
  const Split<T> rows(matrices.rows + problem * n + first, last - first, grid);
  std::vector<T> entries(kTile * m);
  for (int64_t i = first; i < last; i += kTile) {
    const Tile<T> tile(entries.data(), m, last - i, zeros);
    T scale[kTile] = {};
    for (int64_t r = 0; r < tile.height; ++r)
      scale[r] = update_from_cost<T>(matrices, update, problem, i + r, rows.high[i + r - first],
                                     rows.low[i + r - first], columns, entries.data() + r * m);
    add_rows<T>(tile.row, scale, m, into);
  }
}

template <typename T>
void chunk_from_kernel(const Matrices<T> &matrices, const RowUpdate &update, int64_t problem, int64_t first,
                       int64_t last, const std::vector<T> &zeros, T *into) {
  const int64_t n = matrices.n, m = matrices.m;
  const std::vector<T> columns = exp2_all<T>(matrices.columns + problem * m, m);
  for (int64_t i = first; i < last; i += kTile) {
    const Tile<T> tile(matrices.kernel_row(problem, i), m, last - i, zeros);
    T sums[kTile], scale[kTile] = {};
    dot_rows<T>(tile.row, columns.data(), m, sums);
    for (int64_t r = 0; r < tile.height; ++r) {
      const int64_t index = problem * n + i + r;
      const double factor = std::exp2(matrices.rows[index] * kLog2e), sum = sums[r] * factor;
      const double log_sum = std::log2(sum), log_total = with_edge(sum, log_sum, update.edge[index]);
      const double moved = update.finish(index, matrices.rows[index], log_sum, log_total, update.relaxation[problem],
                                         update.ceiling[index]);
      scale[r] = T(std::exp2(update.log_weight[index] * kLog2e + moved) * factor);
    }
    add_rows<T>(tile.row, scale, m, into);
  }
  for (int64_t j = 0; j < m; ++j) into[j] *= columns[j];
}

template <typename T>
void merge(const std::vector<T> &partial, int64_t chunks, int64_t m, int64_t problem, double *sums) {
  double *total = sums + problem * m;
  std::fill(total, total + m, 0.0);
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const T *part = partial.data() + (problem * chunks + chunk) * m;
    for (int64_t j = 0; j < m; ++j) total[j] += part[j];
  }
}

// Calls work(problem, first row, last row, sums over columns) for each chunk; merges the sums.
template <typename T, typename Work> void over_chunks(const Matrices<T> &matrices, double *sums, Work work) {
  const int64_t step = matrices.rows_of_chunk(), chunks = matrices.chunks(), m = matrices.m;
  std::vector<T> partial(sums ? matrices.batch * chunks * m : 0);
#pragma omp parallel num_threads(matrices.threads)
  {
    const FlushDenormals flush;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < matrices.batch * chunks; ++task) {
      const int64_t problem = task / chunks, first = task % chunks * step;
      if (matrices.mode[problem] == kSkip) continue;
      work(problem, first, std::min(matrices.n, first + step), sums ? partial.data() + task * m : nullptr);
    }
    if (sums) {
#pragma omp for schedule(static)
      for (int64_t problem = 0; problem < matrices.batch; ++problem)
        if (matrices.mode[problem] != kSkip) merge<T>(partial, chunks, m, problem, sums);
    }
  }
}

template <typename T> void row_pass(const Matrices<T> &matrices, const RowUpdate &update, double *sums) {
  const std::vector<T> zeros(matrices.m);
  over_chunks<T>(matrices, sums, [&](int64_t problem, int64_t first, int64_t last, T *into) {
    if (matrices.mode[problem] == kFromKernel)
      chunk_from_kernel<T>(matrices, update, problem, first, last, zeros, into);
    else
      chunk_from_cost<T>(matrices, update, problem, first, last, zeros, into);
  });
}

// Writes the matrices out over `kernel`.
template <typename T> void write_out(const Matrices<T> &matrices) {
  const int64_t n = matrices.n, m = matrices.m;
  over_chunks<T>(matrices, nullptr, [&](int64_t problem, int64_t first, int64_t last, T *) {
    if (matrices.mode[problem] == kFromKernel) {
      const std::vector<T> columns = exp2_all<T>(matrices.columns + problem * m, m);
      const std::vector<T> rows = exp2_all<T>(matrices.rows + problem * n + first, last - first);
      for (int64_t i = first; i < last; ++i) {
        T *kernel = matrices.kernel_row(problem, i);
        const T row = rows[i - first];
#pragma omp simd
        for (int64_t j = 0; j < m; ++j) kernel[j] *= row * columns[j];
      }
      return;
    }
    const double grid = matrices.grid(problem);
    const Split<T> columns(matrices.columns + problem * m, m, grid);
    const Split<T> rows(matrices.rows + problem * n + first, last - first, grid);
    const Affine<T> price{T(matrices.unit[problem] * kLog2e), T(matrices.shift[problem])};
    for (int64_t i = first; i < last; ++i)
      exponentials<T>(matrices.cost_row(problem, i), price, rows.high[i - first], rows.low[i - first], columns, m,
                      matrices.kernel_row(problem, i));
  });
}

// y = K x, then z = transpose(K) (scale y + offset).
template <typename T>
void sandwich(const Matrices<T> &matrices, const double *x, const double *scale, const double *offset, double *y,
              double *z) {
  const int64_t n = matrices.n, m = matrices.m;
  const std::vector<T> zeros(m);
  over_chunks<T>(matrices, z, [&](int64_t problem, int64_t first, int64_t last, T *into) {
    const std::vector<T> right(x + problem * m, x + (problem + 1) * m);
    for (int64_t i = first; i < last; i += kTile) {
      const Tile<T> tile(matrices.kernel_row(problem, i), m, last - i, zeros);
      T sums[kTile], left[kTile] = {};
      dot_rows<T>(tile.row, right.data(), m, sums);
      for (int64_t r = 0; r < tile.height; ++r) {
        const int64_t index = problem * n + i + r;
        y[index] = sums[r];
        left[r] = T(scale[index] * sums[r] + offset[index]);
      }
      add_rows<T>(tile.row, left, m, into);
    }
  });
}

template <typename T>
Matrices<T> matrices_of(const void *cost, void *kernel, const int8_t *mode, const double *const *vectors,
                        const int64_t *size) {
  return {static_cast<const T *>(cost), static_cast<T *>(kernel), mode,    vectors[0], vectors[1], vectors[2],
          vectors[3],                   size[0],                  size[1], size[2],    size[3],    int(size[4])};
}

} // namespace

// `vectors`: unit, shift, rows, columns; `size`: batch, n, m, elements between two problems' costs, threads.
#define DEFINE_FOR(T, suffix)                                                                                          \
  extern "C" void row_pass_##suffix(const void *cost, void *kernel, const int8_t *mode, const double *const *vectors,  \
                                    const int64_t *size, const double *const *given, double *const *found) {           \
    row_pass<T>(matrices_of<T>(cost, kernel, mode, vectors, size),                                                     \
                {given[0], given[1], given[2], given[3], found[0], found[1], found[2]}, found[3]);                               \
  }                                                                                                                    \
  extern "C" void write_out_##suffix(const void *cost, void *kernel, const int8_t *mode,                               \
                                     const double *const *vectors, const int64_t *size) {                              \
    write_out<T>(matrices_of<T>(cost, kernel, mode, vectors, size));                                                   \
  }                                                                                                                    \
  extern "C" void sandwich_##suffix(const void *cost, void *kernel, const int8_t *mode, const double *const *vectors,  \
                                    const int64_t *size, const double *const *given, double *const *found) {           \
    sandwich<T>(matrices_of<T>(cost, kernel, mode, vectors, size), given[0], given[1], given[2], found[0], found[1]);  \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)
