// The vectors of a sweep: `partialot.kernels.border` for the CPU, one problem a thread.
//
// Logarithms are natural. Vectors over nodes carry the border's entry last, those over real nodes have none.

#pragma once

#include "numbers.hpp"

#include <vector>

namespace {

constexpr int64_t kWorth = 1 << 12;  // nodes that are worth a second thread

// Weights with their logarithms, and what a sweep changes; see `Marginals` and `Iterate` of the primitives.
struct Border {
  const double *a, *log_a, *b, *log_b;
  const double *f, *g, *mass, *corner, *column_error, *edge_share;
  int64_t batch, n, m;
  bool priced;
  int threads;

  bool parallel() const { return batch > 1 && batch * (n + m) >= kWorth; }
};

// log of the sum of exp(one + other); 0 of nothing.
double log_sum_exp(const double *one, const double *other, int64_t count) {
  double most = -kInfinity;
#pragma omp simd reduction(max : most)
  for (int64_t k = 0; k < count; ++k) most = std::max(most, one[k] + other[k]);
  if (!(std::abs(most) < kInfinity)) return 0.0;
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t k = 0; k < count; ++k) sum += exp_of(one[k] + other[k] - most);
  return most + std::log(sum);
}

// How far a sum over its weight is from 1; one far above 1 counts more, a missing one as 1.
inline double off(double log_total) {
  const double above = expm1_of(log_total);
  return std::abs(above) * std::max(above + 1, 1.0);
}

double step(double log_total, double omega) {
  return -(omega > 1 ? safe_relaxation(log_total, omega) : 1.0) * log_total;
}

void measure_one(const Border &border, int64_t p, const double *log_total, const double *fraction, double *edge,
                 double *error, double *moved) {
  const int64_t n = border.n, m = border.m;
  const double *a = border.a + p * (n + 1), *f = border.f + p * (n + 1), *g = border.g + p * (m + 1);
  log_total += p * n, fraction += p * n;
  edge[p] = f[n] + log_sum_exp(border.log_b + p * (m + 1), g, m + border.priced);
  double wrong = 0, amount = 0;
#pragma omp simd reduction(+ : wrong, amount)
  for (int64_t i = 0; i < n; ++i) {
    const double carried = a[i] * fraction[i], above = expm1_of(log_total[i]);
    wrong += carried * std::abs(above) * std::max(above + 1, 1.0);
    amount += carried * (above + 1);
  }
  if (a[n] > 0) wrong += (border.edge_share[p] + border.corner[p]) * off(edge[p]);
  const double found = wrong / border.mass[p] + border.column_error[p];
  error[p] = std::isnan(found) ? kInfinity : found;
  moved[p] = amount;
}

// What a sweep makes of one problem; sums over the columns come by their logarithms.
struct Update {
  const double *row_moved, *columns, *log_columns, *edge, *omega;  // `log_columns` may be missing
  double least, most;  // logarithms between which a column's sum is to be
  double *f, *g, *mass, *corner, *column_error, *edge_share;
  int8_t *wild;
};

// The columns' sums with the border, over their weights, and how far their potentials move.
struct Columns {
  std::vector<double> log_real, log_total, share, moved;

  explicit Columns(int64_t m) : log_real(m), log_total(m), share(m), moved(m) {}
};

// Gives whether a sum is out of the range in which it was taken.
bool update_columns(const Border &border, const Update &update, int64_t p, double log_edge, Columns &columns) {
  const int64_t m = border.m;
  const double *b = border.b + p * (m + 1), *log_b = border.log_b + p * (m + 1), *g = border.g + p * (m + 1);
  const double *sums = update.columns + p * m;
  double *log_real = columns.log_real.data(), *log_totals = columns.log_total.data();
  double *share = columns.share.data(), *moved = columns.moved.data();
  const double omega = update.omega[p], least = update.least, most = update.most;
  if (update.log_columns)
    std::copy_n(update.log_columns + p * m, m, log_real);
  else
#pragma omp simd
    for (int64_t j = 0; j < m; ++j) log_real[j] = log_of(sums[j]);
  double wild = 0, total_real = 0, total_b = 0;
#pragma omp simd reduction(+ : wild, total_real, total_b)
  for (int64_t j = 0; j < m; ++j) {
    const double real = log_real[j], lacking = log_edge + g[j] + log_b[j];
    const double high = std::max(real, lacking), low = std::min(real, lacking);
    const double ratio = exp_of(low - high), log_sum = high + log_of(1 + ratio);
    const bool taking = b[j] > 0, found = taking && std::abs(log_sum) < kInfinity;
    wild += taking && !(log_sum > least && log_sum < most) ? 1.0 : 0.0;
    total_real += exp_of(real);
    total_b += b[j];
    log_real[j] = found ? real : -kInfinity;
    log_totals[j] = found ? log_sum - log_b[j] : 0.0;
    share[j] = found ? (real >= lacking ? 1.0 : ratio) / (1 + ratio) : 0.0;
    moved[j] = -log_totals[j];
  }
  if (omega > 1)
#pragma omp simd
    for (int64_t j = 0; j < m; ++j) moved[j] *= safe_relaxation(log_totals[j], omega);
  return wild > 0 || (total_b > 0 && !(total_real >= std::exp(least)));
}

// What columns are off by, without differences of like numbers: the mass may be minute.
void remeasure_columns(const Border &border, const Update &update, int64_t p, double rise, const Columns &columns) {
  const int64_t m = border.m;
  const double *b = border.b + p * (m + 1), *log_real = columns.log_real.data(), *share = columns.share.data();
  const double *log_total = columns.log_total.data(), *moved = columns.moved.data();
  const double raised = expm1_of(rise);
  double wrong = update.corner[p] * std::abs(raised), edge_share = 0;
#pragma omp simd reduction(+ : wrong, edge_share)
  for (int64_t j = 0; j < m; ++j) {
    const double real = exp_of(log_real[j] + moved[j]);
    wrong += std::abs(b[j] * expm1_of(log_total[j] + moved[j]) + real * raised) * share[j];
    edge_share += real * (1 - share[j]);
  }
  update.column_error[p] = wrong / update.mass[p];
  update.edge_share[p] = edge_share;
}

void update_one(const Border &border, const Update &update, int64_t p) {
  const int64_t n = border.n, m = border.m;
  const double *log_a = border.log_a + p * (n + 1), *log_b = border.log_b + p * (m + 1), omega = update.omega[p];
  const double *old_f = border.f + p * (n + 1), *old_g = border.g + p * (m + 1);
  double *f = update.f + p * (n + 1), *g = update.g + p * (m + 1);
  for (int64_t i = 0; i < n; ++i) f[i] = old_f[i] + update.row_moved[p * n + i];
  f[n] = old_f[n] + step(update.edge[p], omega);
  Columns columns(m);
  update.wild[p] = update_columns(border, update, p, log_a[n] + f[n], columns);
  const double log_mass = log_sum_exp(columns.log_real.data(), columns.moved.data(), m);
  g[m] = old_g[m] + step(old_g[m] + log_sum_exp(log_a, f, n + border.priced), omega);
  double rise = std::log(border.mass[p]) - log_mass;
  update.mass[p] = border.mass[p], update.corner[p] = border.corner[p];
  if (border.priced) {
    // Raised by t, the real block grows by e^t and the corner falls by as much; the dual wants them equal.
    const double log_corner = log_a[n] + log_b[m] + f[n] + g[m];
    rise = (log_corner - log_mass) / 2;
    update.mass[p] = std::max(std::exp((log_corner + log_mass) / 2), std::numeric_limits<double>::min());
    update.corner[p] = update.mass[p];
  }
  for (int64_t i = 0; i < n; ++i) f[i] += rise;
  for (int64_t j = 0; j < m; ++j) g[j] = old_g[j] + columns.moved[j];
  g[m] -= rise;
  remeasure_columns(border, update, p, rise, columns);
}

Border border_of(const double *const *vectors, const int64_t *size) {
  return {vectors[0], vectors[1], vectors[2], vectors[3], vectors[4], vectors[5],   vectors[6],  vectors[7],
          vectors[8], vectors[9], size[0],    size[1],    size[2],    size[3] != 0, int(size[4])};
}

} // namespace
