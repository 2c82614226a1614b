// Anti-aliased SnakeBeta (2x up, x + sin^2(a x) / b, 2x down) over rows of T samples, forward and backward.
// The signal at twice the rate is held as its even and odd samples, so that every loop runs over contiguous memory.
// Index arithmetic and padding are those of AntiAliasedSnake.forward in bigvgan.py. kernel.py compiles it; -ffast-math lets the loops with cosines be
// vectorized.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int HALF = 6;   // taps of each phase
constexpr int PAD = 8;    // replicated samples on each side; the filters reach 3

struct BFloat16 { uint16_t bits; };

inline float load(float x) { return x; }
inline float load(BFloat16 x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline void store(float& target, float value) { target = value; }
inline void store(BFloat16& target, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    target.bits = uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);  // round to nearest even
}

struct Row {
    std::vector<float> x, even, odd, grad_even, grad_odd, grad_x;
    explicit Row(int64_t length)
        : x(length + 2 * PAD), even(x.size()), odd(x.size()), grad_even(x.size()), grad_odd(x.size()), grad_x(x.size()) {}
};

// x padded by replication -> even and odd samples at twice the rate
void upsample(const float* taps, int64_t length, Row& row) {
    for (int i = 0; i < PAD; ++i) {
        row.x[i] = row.x[PAD];
        row.x[PAD + length + i] = row.x[PAD + length - 1];
    }
    const float* x = row.x.data() + PAD;
    float *even = row.even.data() + PAD, *odd = row.odd.data() + PAD;
    for (int64_t m = 0; m < length; ++m) {
        float e = 0, o = 0;
        for (int i = 0; i < HALF; ++i) {
            e += taps[2 * i + 1] * x[m + 2 - i];
            o += taps[2 * i] * x[m + 3 - i];
        }
        even[m] = 2 * e;
        odd[m] = 2 * o;
    }
}

template <typename T>
void forward_row(const T* input, T* output, int64_t length, float alpha, float inverse_beta, const float* taps, Row& row) {
    for (int64_t m = 0; m < length; ++m) row.x[PAD + m] = load(input[m]);
    upsample(taps, length, row);
    float *even = row.even.data() + PAD, *odd = row.odd.data() + PAD;
    const float scale = 0.5f * inverse_beta, rate = 2 * alpha;  // sin^2(z) = (1 - cos 2z) / 2
    for (int64_t m = 0; m < length; ++m) even[m] += scale * (1 - std::cos(rate * even[m]));
    for (int64_t m = 0; m < length; ++m) odd[m] += scale * (1 - std::cos(rate * odd[m]));
    const float first = even[0], last = odd[length - 1];
    for (int i = 1; i <= PAD; ++i) {
        even[-i] = odd[-i] = first;
        even[length - 1 + i] = odd[length - 1 + i] = last;
    }
    for (int64_t m = 0; m < length; ++m) {
        float y = 0;
        for (int i = 0; i < HALF; ++i) y += taps[2 * i] * odd[m - 3 + i] + taps[2 * i + 1] * even[m - 2 + i];
        store(output[m], y);
    }
}

template <typename T>
void backward_row(const T* input, const T* grad_output, T* grad_input, int64_t length, float alpha, float inverse_beta,
                  const float* taps, double& grad_alpha, double& grad_inverse_beta, Row& row) {
    for (int64_t m = 0; m < length; ++m) row.x[PAD + m] = load(input[m]);
    upsample(taps, length, row);
    float *even = row.even.data() + PAD, *odd = row.odd.data() + PAD;
    float *ge = row.grad_even.data() + PAD, *go = row.grad_odd.data() + PAD, *gx = row.grad_x.data() + PAD;

    // adjoint of the down filter: gather from the gradient padded with zeros
    for (int64_t m = 0; m < length; ++m) gx[m] = load(grad_output[m]);
    for (int i = 1; i <= PAD; ++i) gx[-i] = gx[length - 1 + i] = 0;
    for (int64_t m = -3; m < length + 3; ++m) {
        float e = 0, o = 0;
        for (int i = 0; i < HALF; ++i) {
            o += taps[2 * i] * gx[m + 3 - i];
            e += taps[2 * i + 1] * gx[m + 2 - i];
        }
        ge[m] = e;
        go[m] = o;
    }
    // what fell on replicated samples belongs to the first and the last
    float first = 0, last = 0;
    for (int i = 1; i <= 3; ++i) {
        first += ge[-i] + go[-i];
        last += ge[length - 1 + i] + go[length - 1 + i];
    }
    ge[0] += first;
    go[length - 1] += last;

    const float rate = 2 * alpha, slope = alpha * inverse_beta;
    const auto through_snake = [&](const float* u, float* g) {
        float sum_alpha = 0, sum_beta = 0;
        for (int64_t m = 0; m < length; ++m) {
            const float sine = std::sin(rate * u[m]), cosine = std::cos(rate * u[m]);
            sum_alpha += g[m] * u[m] * sine;
            sum_beta += g[m] * (1 - cosine);
            g[m] *= 1 + slope * sine;
        }
        grad_alpha += double(sum_alpha) * inverse_beta;
        grad_inverse_beta += double(sum_beta) * 0.5;
    };
    through_snake(even, ge);
    through_snake(odd, go);

    // adjoint of the up filter
    for (int i = 1; i <= PAD; ++i) ge[-i] = go[-i] = ge[length - 1 + i] = go[length - 1 + i] = 0;
    for (int64_t m = -3; m < length + 3; ++m) {
        float g = 0;
        for (int i = 0; i < HALF; ++i) g += taps[2 * i + 1] * ge[m - 2 + i] + taps[2 * i] * go[m - 3 + i];
        gx[m] = 2 * g;
    }
    for (int i = 1; i <= 3; ++i) {
        gx[0] += gx[-i];
        gx[length - 1] += gx[length - 1 + i];
    }
    for (int64_t m = 0; m < length; ++m) store(grad_input[m], gx[m]);
}

template <typename T>
void forward(const T* input, T* output, int64_t batch, int64_t channels, int64_t length, const float* alpha,
             const float* inverse_beta, const float* taps) {
#pragma omp parallel
    {
        Row row(length);
#pragma omp for
        for (int64_t r = 0; r < batch * channels; ++r)
            forward_row(input + r * length, output + r * length, length, alpha[r % channels], inverse_beta[r % channels],
                        taps, row);
    }
}

template <typename T>
void backward(const T* input, const T* grad_output, T* grad_input, int64_t batch, int64_t channels, int64_t length,
              const float* alpha, const float* inverse_beta, const float* taps, float* grad_alpha,
              float* grad_inverse_beta) {
#pragma omp parallel
    {
        Row row(length);
#pragma omp for
        for (int64_t c = 0; c < channels; ++c) {
            double sum_alpha = 0, sum_beta = 0;
            for (int64_t b = 0; b < batch; ++b) {
                const int64_t start = (b * channels + c) * length;
                backward_row(input + start, grad_output + start, grad_input + start, length, alpha[c], inverse_beta[c], taps,
                             sum_alpha, sum_beta, row);
            }
            grad_alpha[c] = float(sum_alpha);
            grad_inverse_beta[c] = float(sum_beta);
        }
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                                              \
    extern "C" void forward_##NAME(const T* x, T* y, int64_t b, int64_t c, int64_t t, const float* alpha,            \
                                   const float* inverse_beta, const float* taps) {                                   \
        forward(x, y, b, c, t, alpha, inverse_beta, taps);                                                           \
    }                                                                                                                \
    extern "C" void backward_##NAME(const T* x, const T* gy, T* gx, int64_t b, int64_t c, int64_t t,                 \
                                    const float* alpha, const float* inverse_beta, const float* taps,                \
                                    float* grad_alpha, float* grad_inverse_beta) {                                   \
        backward(x, gy, gx, b, c, t, alpha, inverse_beta, taps, grad_alpha, grad_inverse_beta);                      \
    }
EXPORT(float, float)
EXPORT(bfloat16, BFloat16)
