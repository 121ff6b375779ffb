// The passes of `partialot.kernels.reference` one by one: for the CPU, every problem of a batch at once.

#include "passes.hpp"

namespace {

template <typename T> void row_pass(const Matrices<T> &matrices, const RowUpdate &update, double *sums) {
  const std::vector<T> zeros(matrices.m);
  over_chunks<T>(matrices, sums, [&](int64_t problem, int64_t first, int64_t last, T *into) {
    pass_over_chunk<T>(matrices, update, problem, first, last, zeros, into);
  });
}

// Writes the matrices out over `kernel`.
template <typename T> void write_out(const Matrices<T> &matrices) {
  const int64_t n = matrices.n, m = matrices.m;
  over_chunks<T>(matrices, nullptr, [&](int64_t problem, int64_t first, int64_t last, T *) {
    if (matrices.mode[problem] == kFromKernel) {
      const std::vector<T> columns = exp_all<T>(matrices.columns + problem * m, m);
      const std::vector<T> rows = exp_all<T>(matrices.rows + problem * n + first, last - first);
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
    write_rows<T>(matrices, problem, first, last - first, rows, 0, columns);
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

} // namespace

// `vectors`: unit, shift, rows, columns; `size`: batch, n, m, elements between two problems' costs, threads.
#define DEFINE_FOR(T, suffix)                                                                                          \
  extern "C" void row_pass_##suffix(const void *cost, void *kernel, const int8_t *mode, const double *const *vectors,  \
                                    const int64_t *size, const double *const *given, double *const *found) {           \
    row_pass<T>(matrices_of<T>(cost, kernel, mode, vectors, size),                                                     \
                {given[0], given[1], given[2], given[3], found[0], found[1], found[2]}, found[3]);                 \
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
