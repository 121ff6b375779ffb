// `partialot.kernels.stretch` for the CPU: the sweeps of a problem between two decisions that are not made here.
//
// A small problem is swept by one thread, others beside it; a large one by all, chunk by chunk.

#include "border.hpp"
#include "passes.hpp"

namespace {

constexpr int64_t kSmall = 1 << 18;  // entries of a problem that one thread sweeps
constexpr int64_t kMany = 1 << 15;   // entries of a batch that are worth a second thread for a stretch

// See `Rules` of the primitives.
struct Rules {
  double patience, warm_up, steady, window, largest, suspect, first, probe, half, again, crawling, stuck, rough;
};

// How fast a problem goes, and so how far its updates do: `partialot.solvers.acceleration`.
struct Pace {
  double *omega, *age, *before, *ratio, *anchor;

  void observe(const Rules &rules, int64_t p, double error) const {
    age[p] += 1;
    const double now = error / before[p], left = std::max(1 - now, 1e-3);
    const bool relaxed = omega[p] > 1, measured = relaxed && age[p] >= rules.window;
    bool found = !relaxed && age[p] >= rules.warm_up && std::abs(now - ratio[p]) < rules.steady * left && now > 0.05 &&
                 now < 1;
    const bool started = found || measured;
    double contraction = now, lower = omega[p];
    if (measured) {
      const double pace = std::pow(std::max(error / anchor[p], 1e-300), 1 / age[p]);
      const double root = std::min(pace, 1.0) + omega[p] - 1;
      found = pace > omega[p] - 1 + 0.1 * (2 - omega[p]);
      contraction = root * root / (pace * omega[p] * omega[p]);
      lower = 1 + 0.8 * (omega[p] - 1);
    }
    if (started) {
      const double best = 2 / (1 + std::sqrt(1 - std::min(contraction, 1 - 1e-9)));
      omega[p] = found ? std::min(best, rules.largest) : lower;
      anchor[p] = error;
      age[p] = 0;
    }
    before[p] = error, ratio[p] = now;
  }

  // Goes on plainly, the contraction being measured on.
  void hold(const Rules &rules, int64_t p) const { omega[p] = 1, age[p] = rules.warm_up; }
};

struct Progress { double *best, *stalled, *travelled; };

// Whether a problem stalls, so that another way would be faster: `partialot.solvers.annealing`.
struct Watch {
  double *age, *probed, *halfway;
  const double *watched;

  bool stalls(const Rules &rules, int64_t p, double error, double best) const {
    const double now = age[p] + 1;
    const bool crawls = now == rules.probe && error > rules.crawling * probed[p];
    const bool stuck = now == rules.again && rules.again > rules.probe && best > rules.stuck * halfway[p];
    return watched[p] > 0 && (crawls || stuck) && error > rules.rough;
  }

  void observe(const Rules &rules, int64_t p, double error, double best) const {
    age[p] += 1;
    if (age[p] == rules.first) probed[p] = error;
    if (age[p] == rules.half) halfway[p] = best;
  }
};

struct Limits { const double *tol, *floor, *reach, *settled, *sweeps, *held; };

template <typename T> struct Stretch {
  Matrices<T> matrices;  // their rows and columns are room for those of a pass
  int8_t *mode;          // theirs
  const double *base_f, *base_g;
  double *room_rows, *room_columns, *room_edge;
  RowUpdate rows;
  double *columns;  // their sums
  Border border;
  double *f, *g, *scalars[4];  // the border's own, and its mass, corner, column error and edge share
  double *edge, *error, *moved;
  Update update;
  int8_t *wild;
  Rules rules;
  Pace pace;
  Progress progress;
  Watch watch;
  Limits limits;
  double *made;
  std::vector<T> zeros;

  void run(int64_t p, bool alone) {
    if (mode[p] == kSkip) return;
    for (;;) {
      prepare(p);
      pass(p, alone);
      if (made[p] >= limits.sweeps[p] || !advance(p)) return;
      made[p] += 1;
      if (mode[p] == kStoring) mode[p] = kFromKernel;
    }
  }

  void prepare(int64_t p) const {
    const int64_t n = border.n, m = border.m;
    const double *log_b = border.log_b + p * (m + 1), *from_f = f + p * (n + 1), *from_g = g + p * (m + 1);
    const bool stored = mode[p] == kFromKernel;
    for (int64_t i = 0; i < n; ++i) {
      room_rows[p * n + i] = stored ? from_f[i] - base_f[p * n + i] : from_f[i];
      room_edge[p * n + i] = log_b[m] + from_f[i] + from_g[m];
    }
    for (int64_t j = 0; j < m; ++j)
      room_columns[p * m + j] = stored ? from_g[j] - base_g[p * m + j] : from_g[j] + log_b[j];
  }

  void pass(int64_t p, bool alone) const {
    const int64_t step = matrices.rows_of_chunk(), chunks = matrices.chunks(), n = matrices.n, m = matrices.m;
    std::vector<T> partial(chunks * m);
#pragma omp parallel num_threads(matrices.threads) if (!alone && n * m >= kShared)
    {
      const FlushDenormals flush;
#pragma omp for schedule(dynamic)
      for (int64_t chunk = 0; chunk < chunks; ++chunk)
        pass_over_chunk<T>(matrices, rows, p, chunk * step, std::min(n, (chunk + 1) * step), zeros,
                           partial.data() + chunk * m);
    }
    merge<T>(partial.data(), chunks, m, columns + p * m);
  }

  // Makes the sweep whose pass was made; does not where its outcome, or what is to follow it, is to be decided.
  bool advance(int64_t p) {
    measure_one(border, p, rows.log_total, rows.fraction, edge, error, moved);
    const double wrong = error[p], best = std::min(wrong, progress.best[p]);
    const double stalled = wrong < 0.9 * progress.best[p] ? 0 : progress.stalled[p] + 1;
    if (wrong <= limits.tol[p] || (stalled >= rules.patience && best <= limits.floor[p])) return false;
    if (watch.stalls(rules, p, wrong, best)) return false;
    update_one(border, update, p);
    const double moved = distance(p), travelled = progress.travelled[p] + moved;
    if (wild[p] || !(travelled <= limits.reach[p])) return false;
    if (mode[p] == kFromCost && moved <= limits.settled[p]) return false;
    take(p);
    progress.best[p] = best, progress.stalled[p] = stalled, progress.travelled[p] = travelled;
    pace.observe(rules, p, wrong);
    watch.observe(rules, p, wrong, best);
    if (made[p] + 1 < limits.held[p] && pace.omega[p] > rules.suspect) pace.hold(rules, p);
    return true;
  }

  // By how much any potential of a real node changes.
  double distance(int64_t p) const {
    const int64_t n = border.n, m = border.m;
    double most = 0;
#pragma omp simd reduction(max : most)
    for (int64_t i = p * (n + 1); i < p * (n + 1) + n; ++i) most = std::max(most, std::abs(update.f[i] - f[i]));
#pragma omp simd reduction(max : most)
    for (int64_t j = p * (m + 1); j < p * (m + 1) + m; ++j) most = std::max(most, std::abs(update.g[j] - g[j]));
    return most;
  }

  void take(int64_t p) const {
    const int64_t n = border.n, m = border.m;
    std::copy_n(update.f + p * (n + 1), n + 1, f + p * (n + 1));
    std::copy_n(update.g + p * (m + 1), m + 1, g + p * (m + 1));
    const double *following[4] = {update.mass, update.corner, update.column_error, update.edge_share};
    for (int k = 0; k < 4; ++k) scalars[k][p] = following[k][p];
  }
};

template <typename T> void run(Stretch<T> stretch) {
  const int64_t batch = stretch.border.batch, threads = stretch.border.threads;
  const int64_t entries = stretch.border.n * stretch.border.m * batch;
  const bool alone = batch > 1 && (entries <= batch * kSmall || stretch.matrices.chunks() < 2 * threads);
  if (alone) {
#pragma omp parallel for schedule(dynamic) num_threads(threads) firstprivate(stretch) if (entries >= kMany)
    for (int64_t p = 0; p < batch; ++p) stretch.run(p, true);
  } else {
    for (int64_t p = 0; p < batch; ++p) stretch.run(p, false);
  }
}

// `vectors`: unit, shift; potentials of the stored kernels (2); room for a pass (rows, columns, edge); logarithms of the
// rows' weights; what a pass finds (4); weights and iterate (10); room for a measurement (3) and for an iterate (6);
// pace (5); progress (3); watch (4); limits (6); sweeps made. `rules`: the range of columns' sums, then `Rules`.
template <typename T>
Stretch<T> stretch_of(const void *cost, void *kernel, int8_t *mode, int8_t *wild, double *const *v,
                      const int64_t *size, const double *rules) {
  const double *entries[4] = {v[0], v[1], v[4], v[5]};
  const int64_t border_size[5] = {size[0], size[1], size[2], size[5], size[4]};
  Rules ruled;
  std::copy_n(rules + 2, sizeof ruled / sizeof(double), &ruled.patience);
  return {matrices_of<T>(cost, kernel, mode, entries, size),
          mode,
          v[2], v[3], v[4], v[5], v[6],
          {v[6], v[7], v[31], nullptr, v[8], v[9], v[10]},
          v[11],
          border_of(v + 12, border_size),
          v[16], v[17], {v[18], v[19], v[20], v[21]},
          v[22], v[23], v[24],
          {v[10], v[11], nullptr, v[22], v[31], rules[0], rules[1], v[25], v[26], v[27], v[28], v[29], v[30], wild},
          wild,
          ruled,
          {v[31], v[32], v[33], v[34], v[35]},
          {v[36], v[37], v[38]},
          {v[39], v[40], v[41], v[42]},
          {v[43], v[44], v[45], v[46], v[47], v[48]},
          v[49],
          std::vector<T>(size[2])};
}

} // namespace

#define DEFINE_FOR(T, suffix)                                                                                          \
  extern "C" void stretch_##suffix(const void *cost, void *kernel, int8_t *mode, int8_t *wild, double *const *vectors, \
                                   const int64_t *size, const double *rules) {                                         \
    run<T>(stretch_of<T>(cost, kernel, mode, wild, vectors, size, rules));                                             \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)
