// Numbers: exponentials and logarithms that compilers turn into vector instructions.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace {

constexpr double kLog2e = 1.44269504088896340736;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

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

inline double exp_of(double x) { return exp2_of<double>(x * kLog2e); }

// log2(x) for normal x; -inf for 0 and what is smaller than normal, NaN below and for infinity.
inline double log2_of(double x) {
  constexpr uint64_t kFraction = (uint64_t(1) << 52) - 1, kOne = uint64_t(1023) << 52, kMagic = uint64_t(1075) << 52;
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof x);
  const uint64_t whole_bits = kMagic | (bits >> 52), part_bits = kOne | (bits & kFraction);
  double whole, part;
  std::memcpy(&whole, &whole_bits, sizeof whole);
  std::memcpy(&part, &part_bits, sizeof part);
  // 2^52 with the exponent in its last digits, less 2^52 and the exponent's bias.
  whole -= 4503599627370496.0 + 1023.0;
  const bool high = part > 1.41421356237309504880;
  part = high ? 0.5 * part : part;
  whole = high ? whole + 1.0 : whole;
  // 2 artanh(s) in powers of s = (x - 1) / (x + 1), |s| < 0.1716: the first term left out is below 1e-18.
  const double s = (part - 1.0) / (part + 1.0), q = s * s;
  double p = 1.0 / 21;
  p = p * q + 1.0 / 19;
  p = p * q + 1.0 / 17;
  p = p * q + 1.0 / 15;
  p = p * q + 1.0 / 13;
  p = p * q + 1.0 / 11;
  p = p * q + 1.0 / 9;
  p = p * q + 1.0 / 7;
  p = p * q + 1.0 / 5;
  p = p * q + 1.0 / 3;
  const double result = whole + 2.0 * kLog2e * (s + s * q * p);
  const double least = std::numeric_limits<double>::min(), most = std::numeric_limits<double>::max();
  const double outside = x >= 0 && x < least ? -kInfinity : std::numeric_limits<double>::quiet_NaN();
  return x >= least && x <= most ? result : outside;
}

inline double log_of(double x) { return log2_of(x) / kLog2e; }

// exp(x) - 1, right to the last digits near 0; -1 for -inf, and 2^1021 for what is beyond it.
inline double expm1_of(double x) {
  const double scaled = x * kLog2e;
  double bounded = scaled < -1000.0 ? -1000.0 : scaled;
  bounded = bounded > 1021.0 ? 1021.0 : bounded;
  const double shifted = bounded + Number<double>::kRounder;
  const double whole = shifted - Number<double>::kRounder;
  const double small = scaled >= -1000.0 && scaled <= 1021.0 ? x : bounded / kLog2e;
  // log 2 in two parts, the first with so few digits that its product with a whole number is exact.
  const double r = (small - whole * 0.693147180369123816490) - whole * 1.90821492927058770002e-10;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r * r + r;
  const double power = exp2_of<double>(whole);
  return power * p + (power - 1.0);
}

// How much of the way to go: omega, unless the dual would gain too little by it. `log_total` is the natural logarithm of
// a sum over its weight; see `partialot.kernels.reference.safe_relaxation`.
inline double safe_relaxation(double log_total, double omega) {
  const double low = log_total < 0 ? log_total : 0.0, x = exp_of(-low);
  const double gain = 1 - omega * x * low - exp_of(-omega * low);
  return gain >= 0.5 * omega * (2 - omega) * (1 - x * low - x) ? omega : 1.0;
}

} // namespace
