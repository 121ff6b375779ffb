// `partialot.kernels.border` for the CPU, one problem a thread.

#include "border.hpp"

// `vectors`: a, log a, b, log b, f, g, mass, corner, column error, edge share; `size`: batch, n, m, priced, threads.
extern "C" void measure(const double *const *vectors, const int64_t *size, const double *const *rows,
                        double *const *found) {
  const Border border = border_of(vectors, size);
#pragma omp parallel for schedule(static) num_threads(border.threads) if (border.parallel())
  for (int64_t p = 0; p < border.batch; ++p)
    measure_one(border, p, rows[0], rows[1], found[0], found[1], found[2]);
}

// `given`: rows' moves, columns, log columns, edge, omega, the range of columns' sums; `running`: problems to be updated.
extern "C" void update(const double *const *vectors, const int64_t *size, const double *const *given,
                       const int8_t *running, double *const *found, int8_t *wild) {
  const Border border = border_of(vectors, size);
  const Update update{given[0], given[1], given[2], given[3], given[4], given[5][0], given[5][1], found[0],
                      found[1], found[2], found[3], found[4], found[5], wild};
#pragma omp parallel for schedule(static) num_threads(border.threads) if (border.parallel())
  for (int64_t p = 0; p < border.batch; ++p) {
    wild[p] = 0;
    if (running[p]) update_one(border, update, p);
  }
}
