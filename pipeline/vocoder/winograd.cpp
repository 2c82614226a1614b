// The two transforms of a convolution over time by Toom-Cook (winograd.py): POINTS products give TILE outputs, where
// TILE x TAPS would be needed. Output t = (q TILE + j) dilation + r is output j of tile u = q dilation + r, so that
// whatever the dilation all loops run over tiles, which are contiguous.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int TILE = 4, TAPS = 4, POINTS = TILE + TAPS - 1;

// m . in, at each of `tiles` places
inline void combine(const float* m, const float* const* in, float add, float* out, int64_t tiles) {
    for (int64_t u = 0; u < tiles; ++u)
        out[u] = add + m[0] * in[0][u] + m[1] * in[1][u] + m[2] * in[2][u] + m[3] * in[3][u] + m[4] * in[4][u] +
                 m[5] * in[5][u] + m[6] * in[6][u];
}

// phases[j][q dilation + r] = row[start + (q TILE + j) dilation + r], zero outside of the row
void spread(const float* row, int64_t length, int64_t start, int64_t dilation, int64_t width, float* phases) {
    if (dilation == 1) {
        const int64_t low = std::clamp<int64_t>((TILE - 1 - start) / TILE, 0, width);
        const int64_t high = std::clamp<int64_t>((length - start) / TILE, low, width);
        float *p0 = phases, *p1 = p0 + width, *p2 = p1 + width, *p3 = p2 + width;
        const float* from = row + start;
        for (int64_t q = low; q < high; ++q) {
            p0[q] = from[4 * q];
            p1[q] = from[4 * q + 1];
            p2[q] = from[4 * q + 2];
            p3[q] = from[4 * q + 3];
        }
        const auto edge = [&](int64_t q) {
            for (int j = 0; j < TILE; ++j) {
                const int64_t t = start + q * TILE + j;
                phases[j * width + q] = t >= 0 && t < length ? row[t] : 0;
            }
        };
        for (int64_t q = 0; q < low; ++q) edge(q);
        for (int64_t q = high; q < width; ++q) edge(q);
        return;
    }
    for (int j = 0; j < TILE; ++j)
        for (int64_t begin = 0; begin < width; begin += dilation) {
            const int64_t from = start + begin * TILE + j * dilation;
            const int64_t low = std::clamp<int64_t>(-from, 0, dilation);
            const int64_t high = std::clamp<int64_t>(length - from, low, dilation);
            float* to = phases + j * width + begin;
            for (int64_t r = 0; r < low; ++r) to[r] = 0;
            for (int64_t r = low; r < high; ++r) to[r] = row[from + r];
            for (int64_t r = high; r < dilation; ++r) to[r] = 0;
        }
}

// what `spread` does, backwards
void gather(const float* phases, int64_t tiles, int64_t start, int64_t dilation, float* row, int64_t length) {
    if (dilation == 1) {
        const int64_t high = std::clamp<int64_t>((length - start) / TILE, 0, tiles);
        const float *p0 = phases, *p1 = p0 + tiles, *p2 = p1 + tiles, *p3 = p2 + tiles;
        float* to = row + start;
        for (int64_t q = 0; q < high; ++q) {
            to[4 * q] = p0[q];
            to[4 * q + 1] = p1[q];
            to[4 * q + 2] = p2[q];
            to[4 * q + 3] = p3[q];
        }
        for (int64_t t = start + high * TILE; t < std::min(length, start + tiles * TILE); ++t)
            row[t] = phases[(t - start) % TILE * tiles + (t - start) / TILE];
        return;
    }
    for (int j = 0; j < TILE; ++j)
        for (int64_t begin = 0; begin < tiles; begin += dilation) {
            const int64_t to = start + begin * TILE + j * dilation;
            const int64_t high = std::clamp<int64_t>(length - to, 0, dilation);
            for (int64_t r = 0; r < high; ++r) row[to + r] = phases[j * tiles + begin + r];
        }
}

}  // namespace

// x [channels, length] -> points [POINTS, groups, channels, tiles]: of group g the points of tiles g further on. Tile 0
// begins at sample `start`. `tiles` is a multiple of `dilation`; matrix [POINTS, POINTS].
extern "C" void winograd_input(const float* x, float* points, int64_t channels, int64_t length, int64_t start,
                               int64_t dilation, int64_t tiles, int64_t groups, const float* matrix) {
    const int64_t reach = tiles + (groups - 1) * dilation, width = reach + dilation;
#pragma omp parallel
    {
        std::vector<float> phases(TILE * width), values(reach);
#pragma omp for
        for (int64_t c = 0; c < channels; ++c) {
            spread(x + c * length, length, start, dilation, width, phases.data());
            const float* in[POINTS];
            for (int j = 0; j < POINTS; ++j) in[j] = phases.data() + (j % TILE) * width + (j / TILE) * dilation;
            for (int i = 0; i < POINTS; ++i) {
                combine(matrix + i * POINTS, in, 0, values.data(), reach);
                for (int64_t g = 0; g < groups; ++g)
                    std::memcpy(points + ((i * groups + g) * channels + c) * tiles, values.data() + g * dilation,
                                tiles * sizeof(float));
            }
        }
    }
}

// POINTS products, each [channels, tiles] -> samples [start, start + TILE tiles) of y [channels, length], as far as it
// goes; matrix [TILE, POINTS], bias [channels].
extern "C" void winograd_output(const float* const* products, float* y, int64_t channels, int64_t length, int64_t start,
                                int64_t dilation, int64_t tiles, const float* matrix, const float* bias) {
#pragma omp parallel
    {
        std::vector<float> phases(TILE * tiles);
#pragma omp for
        for (int64_t c = 0; c < channels; ++c) {
            const float* in[POINTS];
            for (int i = 0; i < POINTS; ++i) in[i] = products[i] + c * tiles;
            for (int j = 0; j < TILE; ++j)
                combine(matrix + j * POINTS, in, bias[c], phases.data() + j * tiles, tiles);
            gather(phases.data(), tiles, start, dilation, y + c * length, length);
        }
    }
}
