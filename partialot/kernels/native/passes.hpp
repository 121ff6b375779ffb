// The passes of `partialot.kernels.reference` for the CPU: one read of the matrix, at most one exponential an entry.
//
// Potentials come in double precision. For float32 they are split into a part on a grid so coarse that the sum of two
// is exact, and the rest: f + g - c is then right to the rounding of the *result*, however large f, g and c are, and
// marginals can be met to 1e-6 where the cost spans thousands of `reg`.
//
// Rows are cut into chunks by their number alone and the sums of chunks are merged in order, so that a result depends
// neither on the number of threads nor on the batch that a problem comes in.

#pragma once

#include "numbers.hpp"

#include <vector>

namespace {

constexpr int64_t kTile = 4;         // rows that share one load of the vectors over columns
constexpr int64_t kFewestRows = 64;  // of a chunk, fewer where they are so long that the threads would lack work
constexpr int64_t kLongRows = 1 << 20;  // numbers in a chunk that are work enough
constexpr int64_t kMostChunks = 32;  // of a problem
constexpr int64_t kMostRows = 64;    // of a group, whose entries are to stay in cache:
constexpr int64_t kGroupBytes = 1 << 16;
constexpr int64_t kShared = 1 << 17;  // entries of a pass that are worth a second thread: 50 microseconds

enum Mode : int8_t { kSkip = 0, kFromCost = 1, kFromKernel = 2, kStoring = 3 };

// Sums beyond 2^kWild, up or down, are taken again with their largest term divided out: half of the range that keeps
// all digits, for over-relaxed updates go up to twice as far.
template <typename T> constexpr double kWild = (Number<T>::kHighest - Number<T>::kMantissa) / 2;

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
#pragma omp simd reduction(max : most)
  for (int64_t k = 0; k < count; ++k) {
    const double size = std::abs(values[k]);
    most = std::max(most, size < kInfinity ? size : 0.0);
  }
  return most;
}

// The finest grid on which the sum of any two potentials has no more digits than the working type.
template <typename T> double grid_of(const double *rows, int64_t n, const double *columns, int64_t m) {
  int exponent;
  std::frexp(kLog2e * std::max(largest(rows, n), largest(columns, m)), &exponent);
  return std::ldexp(1.0, exponent - Number<T>::kMantissa);
}

template <typename T> std::vector<T> exp_all(const double *values, int64_t count) {
  std::vector<T> result(count);
#pragma omp simd
  for (int64_t k = 0; k < count; ++k) result[k] = T(exp_of(values[k]));
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
  int64_t rows_of_group() const {
    const int64_t fitting = kGroupBytes / int64_t(sizeof(T)) / std::max<int64_t>(1, m);
    return std::min(kMostRows, std::max(kTile, fitting / kTile * kTile));
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

// The rows that are updated together: their sums are taken, then all potentials in vector instructions, then the sums
// over columns while the entries are in cache.
struct Group {
  double sum[kMostRows], log_total[kMostRows], fraction[kMostRows], omega[kMostRows], scale[kMostRows];
};

// What the update of rows needs and gives; natural logarithms. `ceiling` may be missing.
struct RowUpdate {
  const double *edge, *log_weight, *relaxation, *ceiling;
  double *log_total, *fraction, *moved;

  // Take sums to logarithms in base 2, the border added; tell whether any of them is beyond 2^limit, up or down.
  bool total(Group &group, int64_t index, int64_t count, double omega, double limit) const {
    int wild = 0;
#pragma omp simd reduction(| : wild)
    for (int64_t r = 0; r < count; ++r) {
      const double whole = group.sum[r] + exp_of(edge[index + r]), log_total = log2_of(whole);
      group.log_total[r] = log_total;
      group.fraction[r] = group.sum[r] / whole;
      group.omega[r] = omega;
      wild |= !(std::abs(log_total) < limit);
    }
    return wild;
  }

  // The same for one row whose real part is given by its logarithm, whatever that is.
  void total_of(Group &group, int64_t index, int64_t r, double log_sum, double omega) const {
    const double log_total = log2_of_sum(log_sum, edge[index + r] * kLog2e);
    group.log_total[r] = log_total;
    group.fraction[r] = std::exp2(log_sum - log_total);
    group.omega[r] = omega;
  }

  // Record what was found and how far potentials move; `scale` becomes the factor that makes entries the updated plan.
  void finish(Group &group, int64_t index, int64_t count, const double *rows, bool relaxed) const {
    if (relaxed)
#pragma omp simd
      for (int64_t r = 0; r < count; ++r)
        group.omega[r] = safe_relaxation(group.log_total[r] / kLog2e, group.omega[r]);
#pragma omp simd
    for (int64_t r = 0; r < count; ++r) {
      const double natural = group.log_total[r] / kLog2e, wanted = -group.omega[r] * natural;
      const bool found = std::abs(natural) < kInfinity;
      log_total[index + r] = found ? natural : -kInfinity;
      fraction[index + r] = found ? group.fraction[r] : 0.0;
      // A row that sees nothing stays where it is.
      moved[index + r] = found ? wanted : 0.0;
    }
    if (ceiling)
      for (int64_t r = 0; r < count; ++r) moved[index + r] = std::min(ceiling[index + r] - rows[r], moved[index + r]);
#pragma omp simd
    for (int64_t r = 0; r < count; ++r) group.scale[r] = exp_of(log_weight[index + r] + moved[index + r]);
  }
};

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

// Takes a group's rows of the kernel into `into`, each times its scale.
template <typename T>
void add_group(const T *entries, const Group &group, int64_t count, int64_t m, const std::vector<T> &zeros, T *into) {
  for (int64_t r = 0; r < count; r += kTile) {
    const Tile<T> tile(entries + r * m, m, count - r, zeros);
    T scale[kTile] = {};
    for (int64_t k = 0; k < tile.height; ++k) scale[k] = T(group.scale[r + k]);
    add_rows<T>(tile.row, scale, m, into);
  }
}

// One group of rows from the costs; `entries` is its room. Gives whether any row in it is no longer the kernel's.
template <typename T>
bool group_from_cost(const Matrices<T> &matrices, const RowUpdate &update, int64_t problem, int64_t i, int64_t count,
                     const Split<T> &rows, int64_t offset, const Split<T> &columns, Group &group, T *entries) {
  const int64_t index = problem * matrices.n + i, m = matrices.m;
  const double omega = update.relaxation[problem];
  const Affine<T> price{T(matrices.unit[problem] * kLog2e), T(matrices.shift[problem])};
  for (int64_t r = 0; r < count; ++r)
    group.sum[r] = exponentials<T>(matrices.cost_row(problem, i + r), price, rows.high[offset + r],
                                   rows.low[offset + r], columns, m, entries + r * m);
  const bool wild = update.total(group, index, count, omega, kWild<T>);
  bool anchored[kMostRows] = {};
  if (wild)
    for (int64_t r = 0; r < count; ++r) {
      if (std::abs(group.log_total[r]) < kWild<T>) continue;
      const double stable = stable_sum<T>(matrices.cost_row(problem, i + r), price, rows.high[offset + r],
                                          rows.low[offset + r], columns, m, entries + r * m);
      update.total_of(group, index, r, stable, 1.0);
      anchored[r] = true;
    }
  update.finish(group, index, count, matrices.rows + index, omega != 1.0);
  if (wild)
    for (int64_t r = 0; r < count; ++r)
      if (anchored[r]) {
        const T moved = T(update.moved[index + r] * kLog2e);
        for (int64_t j = 0; j < m; ++j) entries[r * m + j] = exp2_of<T>(entries[r * m + j] + moved);
        group.scale[r] = exp_of(update.log_weight[index + r]);
      }
  return wild;
}

// Writes some rows of the kernel out over what is stored.
template <typename T>
void write_rows(const Matrices<T> &matrices, int64_t problem, int64_t i, int64_t count, const Split<T> &rows,
                int64_t offset, const Split<T> &columns) {
  const Affine<T> price{T(matrices.unit[problem] * kLog2e), T(matrices.shift[problem])};
  for (int64_t r = 0; r < count; ++r)
    exponentials<T>(matrices.cost_row(problem, i + r), price, rows.high[offset + r], rows.low[offset + r], columns,
                    matrices.m, matrices.kernel_row(problem, i + r));
}

template <typename T>
void chunk_from_cost(const Matrices<T> &matrices, const RowUpdate &update, int64_t problem, int64_t first,
                     int64_t last, const std::vector<T> &zeros, T *into) {
  const int64_t n = matrices.n, m = matrices.m, height = matrices.rows_of_group();
  const double grid = matrices.grid(problem);
  const Split<T> columns(matrices.columns + problem * m, m, grid);
  const Split<T> rows(matrices.rows + problem * n + first, last - first, grid);
  const bool storing = matrices.mode[problem] == kStoring;
  std::vector<T> room(storing ? 0 : height * m);
  Group group;
  for (int64_t i = first; i < last; i += height) {
    const int64_t count = std::min(height, last - i);
    T *entries = storing ? matrices.kernel_row(problem, i) : room.data();
    const bool spoilt =
        group_from_cost<T>(matrices, update, problem, i, count, rows, i - first, columns, group, entries);
    add_group<T>(entries, group, count, m, zeros, into);
    if (storing && spoilt) write_rows<T>(matrices, problem, i, count, rows, i - first, columns);
  }
}

template <typename T>
void chunk_from_kernel(const Matrices<T> &matrices, const RowUpdate &update, int64_t problem, int64_t first,
                       int64_t last, const std::vector<T> &zeros, T *into) {
  const int64_t n = matrices.n, m = matrices.m, height = matrices.rows_of_group();
  const std::vector<T> columns = exp_all<T>(matrices.columns + problem * m, m);
  const double omega = update.relaxation[problem];
  Group group;
  double factor[kMostRows];
  for (int64_t i = first; i < last; i += height) {
    const int64_t count = std::min(height, last - i), index = problem * n + i;
    const double *rows = matrices.rows + index;
    const T *entries = matrices.kernel_row(problem, i);
    for (int64_t r = 0; r < count; r += kTile) {
      const Tile<T> tile(entries + r * m, m, count - r, zeros);
      T sums[kTile];
      dot_rows<T>(tile.row, columns.data(), m, sums);
      for (int64_t k = 0; k < tile.height; ++k) group.sum[r + k] = sums[k];
    }
#pragma omp simd
    for (int64_t r = 0; r < count; ++r) {
      factor[r] = exp_of(rows[r]);
      group.sum[r] *= factor[r];
    }
    if (update.total(group, index, count, omega, kWild<double>))
      for (int64_t r = 0; r < count; ++r)
        if (!(std::abs(group.log_total[r]) < kWild<double>))
          update.total_of(group, index, r, std::log2(group.sum[r]), omega);
    update.finish(group, index, count, rows, omega != 1.0);
    for (int64_t r = 0; r < count; ++r) group.scale[r] *= factor[r];
    add_group<T>(entries, group, count, m, zeros, into);
  }
  for (int64_t j = 0; j < m; ++j) into[j] *= columns[j];
}

// Adds the sums of a problem's chunks up, in order.
template <typename T> void merge(const T *partial, int64_t chunks, int64_t m, double *total) {
  std::fill(total, total + m, 0.0);
  for (int64_t chunk = 0; chunk < chunks; ++chunk)
    for (int64_t j = 0; j < m; ++j) total[j] += partial[chunk * m + j];
}

// Calls work(problem, first row, last row, sums over columns) for each chunk; merges the sums.
template <typename T, typename Work> void over_chunks(const Matrices<T> &matrices, double *sums, Work work) {
  const int64_t step = matrices.rows_of_chunk(), chunks = matrices.chunks(), m = matrices.m;
  std::vector<T> partial(sums ? matrices.batch * chunks * m : 0);
#pragma omp parallel num_threads(matrices.threads) if (matrices.batch * matrices.n * m >= kShared)
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
        if (matrices.mode[problem] != kSkip) merge<T>(partial.data() + problem * chunks * m, chunks, m, sums + problem * m);
    }
  }
}

template <typename T>
void pass_over_chunk(const Matrices<T> &matrices, const RowUpdate &update, int64_t problem, int64_t first, int64_t last,
                     const std::vector<T> &zeros, T *into) {
  if (matrices.mode[problem] == kFromKernel)
    chunk_from_kernel<T>(matrices, update, problem, first, last, zeros, into);
  else
    chunk_from_cost<T>(matrices, update, problem, first, last, zeros, into);
}

template <typename T>
Matrices<T> matrices_of(const void *cost, void *kernel, const int8_t *mode, const double *const *vectors,
                        const int64_t *size) {
  return {static_cast<const T *>(cost), static_cast<T *>(kernel), mode,    vectors[0], vectors[1], vectors[2],
          vectors[3],                   size[0],                  size[1], size[2],    size[3],    int(size[4])};
}

} // namespace
