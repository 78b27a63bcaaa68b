// One token more in every row of a batch, all layers in one call, by a team of threads that stays awake.
//
// Writing token by token is bound by how fast the weights can be read: each is used once a row and step. So
// the weights are read where torch has them (no copy), each thread follows several rows of a matrix at once
// (the processor fetches ahead in each of them, which one stream does not exhaust), and everything between two
// matrices is done in cache. Sums are made in float32, in an order that does not depend on the batch.
// Compiled on first use by limner/text/fast_decode.py, which mirrors the structs below. Plain C++20 elsewhere,
// AVX-512, its bfloat16 products and AMX tiles where the compiler is told the processor has them.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>
#include <dlfcn.h>
#include <unistd.h>
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define WIDE 1
#include <immintrin.h>
#endif
#if defined(WIDE) && defined(__AVX512BF16__)
#define PAIRS 1
#endif
#if defined(WIDE) && defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__linux__)
#define TILES 1
#include <sys/syscall.h>
#endif

typedef int64_t i64;
typedef uint16_t bf16;

// ── what Python hands over; the order of the fields is the contract ────────────────────────────────────────

struct Norm { const float *weight, *bias; i64 kind; double eps; };  // kind 0: none, 1: LayerNorm, 2: RMSNorm
struct Linear { const void *weight; const float *bias; i64 out, in; };
struct Layer {
  Norm attention_norm, attention_norm_after, feed_forward_norm, feed_forward_norm_after, query_norm, key_norm;
  Linear query, key, value, output, gate, up, down;
  const float *cos, *sin;  // (positions, pairs)
  i64 pairs, heads, kv_heads, head_dim, activation, post;
  double scale, softcap, residual_scale;
};
struct Model {
  i64 half;  // weights and cache are bfloat16, not float32
  i64 dim, num_layers;
  const Layer *layers;
  const void *embedding;
  const float *positions;  // (positions, dim) or null
  double embedding_scale;
  Norm embedding_norm, final_norm;
  Linear head;
  double head_softcap;
};
struct State {  // one batch
  i64 batch, start, mask_stride;
  const i64 *ids, *positions;
  const uint8_t *mask;   // (batch, tokens so far), 1 = real; or null
  void *const *keys;     // a layer: (batch, kv_heads, slots, head_dim)
  void *const *values;
  const i64 *slots;      // a layer: how many tokens its cache holds; the newest overwrites the oldest
  float *logits;         // (batch, vocabulary)
};

// ── numbers ────────────────────────────────────────────────────────────────────────────────────────────────

static inline float widen(bf16 h) { uint32_t u = (uint32_t)h << 16; float f; memcpy(&f, &u, 4); return f; }
static inline float widen(float f) { return f; }
static inline bf16 narrow(float f) {  // to the nearest, ties to even
  uint32_t u; memcpy(&u, &f, 4);
  if ((u & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;
  return (bf16)((u + 0x7fffu + ((u >> 16) & 1)) >> 16);
}
static inline void put(float &to, float f) { to = f; }
static inline void put(bf16 &to, float f) { to = narrow(f); }

static inline float exponential(float x) {  // without branches, so that loops over it use the vector unit
  x = x < -87.f ? -87.f : (x > 88.f ? 88.f : x);
  float n = x * 1.44269504f + 12582912.f;
  int32_t bits; memcpy(&bits, &n, 4);
  n -= 12582912.f;
  float r = x - n * 0.693359375f + n * 2.12194440e-4f, p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f; p = p * r + 8.3334519073e-3f; p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f; p = p * r + 5.0000001201e-1f; p = p * r * r + r + 1.f;
  bits = (int32_t)((uint32_t)(bits + 127) << 23);
  float power; memcpy(&power, &bits, 4);
  return p * power;
}
static inline float tangent(float x) { return 1.f - 2.f / (exponential(2.f * x) + 1.f); }

static void activate(float *x, i64 n, i64 kind) {
  switch (kind) {
    case 0: for (i64 i = 0; i < n; i++) x[i] = x[i] > 0 ? x[i] : 0.f; break;
    case 1: for (i64 i = 0; i < n; i++) { float r = x[i] > 0 ? x[i] : 0.f; x[i] = r * r; } break;
    case 2: for (i64 i = 0; i < n; i++) x[i] = 0.5f * x[i] * (1.f + erff(x[i] * 0.70710678f)); break;
    case 3:
      for (i64 i = 0; i < n; i++)
        x[i] = 0.5f * x[i] * (1.f + tangent(0.79788456f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
      break;
    case 5: for (i64 i = 0; i < n; i++) x[i] = x[i] / (1.f + exponential(-1.702f * x[i])); break;
    default: for (i64 i = 0; i < n; i++) x[i] = x[i] / (1.f + exponential(-x[i]));
  }
}

static void normalize(const Norm &norm, const float *x, float *y, i64 n) {
  float mean = 0, square = 0;
  if (norm.kind == 1) {
#pragma omp simd reduction(+ : mean)
    for (i64 i = 0; i < n; i++) mean += x[i];
    mean /= n;
  }
#pragma omp simd reduction(+ : square)
  for (i64 i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
  float factor = 1.f / std::sqrt(square / n + (float)norm.eps);
  for (i64 i = 0; i < n; i++) y[i] = (x[i] - mean) * factor * norm.weight[i];
  if (norm.bias) for (i64 i = 0; i < n; i++) y[i] += norm.bias[i];
}

// ── products: R rows of a matrix with C vectors ────────────────────────────────────────────────────────────

#if WIDE
static inline __m512 load(const float *p, __mmask16 m) { return _mm512_maskz_loadu_ps(m, p); }
static inline __m512 load(const bf16 *p, __mmask16 m) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
}
static inline __m512 multiply(const float *w, __m512 x, __m512 sum, i64 left) {
  return _mm512_fmadd_ps(load(w, left >= 16 ? 0xffff : (1u << left) - 1), x, sum);
}
template <class T> struct In { typedef float type; static const i64 step = 16; };
static inline __m512 input(const float *x) { return _mm512_loadu_ps(x); }
#if PAIRS
template <> struct In<bf16> { typedef bf16 type; static const i64 step = 32; };
static inline __m512bh input(const bf16 *x) { return (__m512bh)_mm512_loadu_si512(x); }
static inline __m512 multiply(const bf16 *w, __m512bh x, __m512 sum, i64 left) {
  __m512i v = left >= 32 ? _mm512_loadu_si512(w) : _mm512_maskz_loadu_epi16((1u << left) - 1, w);
  return _mm512_dpbf16_ps(sum, (__m512bh)v, x);
}
#else
static inline __m512 multiply(const bf16 *w, __m512 x, __m512 sum, i64 left) {
  return _mm512_fmadd_ps(load(w, left >= 16 ? 0xffff : (1u << left) - 1), x, sum);
}
#endif
#else
template <class T> struct In { typedef float type; static const i64 step = 16; };
#endif

static inline i64 padded(i64 n) { return (n + 63) / 64 * 64; }  // inputs are followed by zeros up to here

// y[c][r] = w[r] · x[c]. Row r is at w + r·stride; `ahead` bytes further on, memory is asked for early.
template <class T, int R, int C>
static inline void dots(const T *w, i64 stride, const typename In<T>::type *x, i64 x_stride, i64 n, float *y,
                        i64 row_step, i64 y_stride, i64 ahead, int part, int parts) {
#if WIDE
  __m512 sum[R][C];
  const i64 step = In<T>::step;
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sum[r][c] = _mm512_setzero_ps();
  for (i64 i = 0; i < n; i += step) {
    decltype(input(x)) v[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) v[c] = input(x + c * x_stride + i);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const T *p = w + r * stride + i;
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) sum[r][c] = multiply(p, v[c], sum[r][c], n - i);
      if (parts == 1 || r % parts == part) _mm_prefetch((const char *)p + ahead, _MM_HINT_T0);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++)
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) y[c * y_stride + r * row_step] = _mm512_reduce_add_ps(sum[r][c]);
#else
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) {
      float sum = 0;
      const T *p = w + r * stride;
      const float *v = x + c * x_stride;
#pragma omp simd reduction(+ : sum)
      for (i64 i = 0; i < n; i++) sum += widen(p[i]) * v[i];
      y[c * y_stride + r * row_step] = sum;
    }
#endif
}

template <class T, int R>
static void columns(const T *w, i64 stride, const typename In<T>::type *x, i64 x_stride, i64 batch, i64 n, float *y,
                    i64 row_step, i64 y_stride) {
  if (batch == 1) return dots<T, R, 1>(w, stride, x, x_stride, n, y, row_step, y_stride, 1024, 0, 1);
  int parts = (int)((batch + 3) / 4);
  i64 next = n * (i64)sizeof(T);  // the first passes bring in the row after this one
  for (int part = 0; part < parts; part++) {
    i64 c = part * 4;
    const auto *v = x + c * x_stride;
    float *to = y + c * y_stride;
    switch (batch - c) {
      case 1: dots<T, R, 1>(w, stride, v, x_stride, n, to, row_step, y_stride, next, part, parts); break;
      case 2: dots<T, R, 2>(w, stride, v, x_stride, n, to, row_step, y_stride, next, part, parts); break;
      case 3: dots<T, R, 3>(w, stride, v, x_stride, n, to, row_step, y_stride, next, part, parts); break;
      default: dots<T, R, 4>(w, stride, v, x_stride, n, to, row_step, y_stride, next, part, parts);
    }
  }
}

// Rows from…to of y = x wᵀ + bias; y is (batch, out).
template <class T, int R>
static void rows(const Linear &f, const typename In<T>::type *x, i64 batch, i64 from, i64 to, float *y) {
  const T *w = (const T *)f.weight;
  i64 n = f.in, x_stride = padded(n), each = (to - from) / R;
  for (i64 r = from; r < from + each; r++)
    columns<T, R>(w + r * n, each * n, x, x_stride, batch, n, y + r, each, f.out);
  for (i64 r = from + each * R; r < to; r++) columns<T, 1>(w + r * n, 0, x, x_stride, batch, n, y + r, 1, f.out);
}

#if TILES
struct alignas(64) TileShapes { uint8_t palette = 1, start = 0, unused[14] = {}; uint16_t width[16] = {}; uint8_t height[16] = {}; };
static void open_tiles() {
  TileShapes shapes;
  for (int i = 0; i < 8; i++) { shapes.width[i] = 64; shapes.height[i] = 16; }
  _tile_loadconfig(&shapes);
}
// The same with tiles: 16 rows of weights at a time, 32 columns of each, with 16 texts laid out in pairs. The
// rows of a tile are far apart, so that the processor follows 16 streams; not so that all fall on one cache set.
static void tiles(const Linear &f, const uint32_t *x, i64 batch, i64 from, i64 to, float *y) {
  const bf16 *w = (const bf16 *)f.weight;
  i64 n = f.in, chunk = n / 2 * 16, each = (to - from) / 16;
  while (each > 1 && each * n * 2 % 1024 == 0) each--;
  alignas(64) float sums[16][16];
  auto block = [&](i64 first, i64 apart) {
    i64 stride = apart * n * 2;
    for (i64 c = 0; c < batch; c += 16) {
      const uint32_t *in = x + c / 16 * chunk;
      const char *p = (const char *)(w + first * n);
      _tile_zero(0);
      for (i64 i = 0; i < n; i += 32) {
        _tile_loadd(4, in + i / 2 * 16, 64);
        _tile_loadd(2, p + i * 2, stride);
        _tile_dpbf16ps(0, 2, 4);
      }
      _tile_stored(0, sums, 64);
      i64 count = batch - c < 16 ? batch - c : 16;
      for (i64 m = 0; m < count; m++)
        for (i64 j = 0; j < 16; j++) y[(c + m) * f.out + first + j * apart] = sums[j][m];
    }
  };
  for (i64 r = from; r < from + each; r++) block(r, each);
  for (i64 r = from + each * 16; r < to; r += 16) block(to - r >= 16 ? r : to - 16, 1);  // some are done twice
}
#endif

// ── the team ───────────────────────────────────────────────────────────────────────────────────────────────

static inline void pause_briefly() {
#if WIDE
  _mm_pause();
#endif
}

// torch's own threads where they can be reached: a second set would have to share the cores with them, for they
// stay awake for a while after each of torch's parallel loops. Where torch is built otherwise, threads of our own.
struct OpenMP {
  void (*parallel)(void (*)(void *), void *, unsigned, unsigned) = (decltype(parallel))dlsym(RTLD_DEFAULT, "GOMP_parallel");
  int (*number)() = (int (*)())dlsym(RTLD_DEFAULT, "omp_get_thread_num");
  int (*count)() = (int (*)())dlsym(RTLD_DEFAULT, "omp_get_num_threads");
  bool there = parallel && number && count;
};
static const OpenMP openmp;

struct Team {
  std::atomic<int> size;
  std::vector<std::thread> threads;
  alignas(64) std::atomic<int> arrived{0};
  alignas(64) std::atomic<uint32_t> turn{0};
  alignas(64) std::atomic<uint32_t> job{0};
  void (*work)(void *, int) = nullptr;
  void *argument = nullptr;
  explicit Team(int n) : size(n) {
    for (int t = 1; t < n && !openmp.there; t++) threads.emplace_back([this, t] {
      for (uint32_t seen = 0;;) {
        for (int i = 0; i < 2000 && job.load(std::memory_order_acquire) == seen; i++) pause_briefly();
        job.wait(seen, std::memory_order_acquire);
        seen = job.load(std::memory_order_acquire);
        work(argument, t);
        meet();
      }
    });
  }
  void meet() {  // returns once all have come here
    int all = size.load(std::memory_order_relaxed);
    if (all == 1) return;
    uint32_t now = turn.load(std::memory_order_relaxed);
    if (arrived.fetch_add(1, std::memory_order_acq_rel) == all - 1) {
      arrived.store(0, std::memory_order_relaxed);
      turn.store(now + 1, std::memory_order_release);
    } else {
      for (int i = 0; turn.load(std::memory_order_acquire) == now; i++)
        if (i < 4000) pause_briefly(); else std::this_thread::yield();  // a core may be shared
    }
  }
  void run(int wanted, void (*f)(void *, int), void *a) {
    work = f; argument = a;
    if (openmp.there && wanted > 1) {
      openmp.parallel([](void *self) {
        Team &crew = *(Team *)self;
        crew.size.store(openmp.count(), std::memory_order_relaxed);  // may be fewer than wanted; the same for all
        crew.work(crew.argument, openmp.number());
      }, this, wanted, 0);
      return;
    }
    if (wanted > 1) { job.fetch_add(1, std::memory_order_release); job.notify_all(); }
    f(a, 0);
    meet();
  }
};

static Team &team(int size) {  // one a process and size; threads do not survive a fork, so then a new one
  static std::vector<std::pair<int, Team *>> all;
  static pid_t owner = 0;
  if (owner != getpid()) { owner = getpid(); all.clear(); }
  for (auto &[n, crew] : all) if (n == size) return *crew;
  all.push_back({size, new Team(size)});
  return *all.back().second;
}

// ── one step ───────────────────────────────────────────────────────────────────────────────────────────────

struct Step {
  const Model &model;
  const State &state;
  Team &crew;
  bool tiled;
  float *x, *y, *h, *q, *k, *v, *up, *gate, *mixed, *scores;
  uint32_t *packed;  // the input of the next product, as that wants it
  i64 widest = 0, score_length = 0;

  Step(const Model &m, const State &s, Team &c, bool tiles) : model(m), state(s), crew(c), tiled(tiles) {
    i64 b = s.batch, wide = 0, narrow = 0, hidden = 0, group = 1;
    for (i64 i = 0; i < m.num_layers; i++) {
      const Layer &l = m.layers[i];
      wide = std::max(wide, l.query.out); narrow = std::max(narrow, l.key.out); hidden = std::max(hidden, l.up.out);
      group = std::max(group, l.heads / l.kv_heads);
    }
    widest = padded(std::max({m.dim, wide, hidden}));
    score_length = padded(s.start + 1 + 16);
    struct { void *to; i64 size; } parts[] = {
      {&x, b * m.dim}, {&y, b * m.dim}, {&h, c.size * (widest + 64)}, {&q, b * wide}, {&k, b * narrow},
      {&v, b * narrow}, {&mixed, b * wide}, {&up, b * hidden}, {&gate, b * hidden},
      {&scores, c.size * group * score_length}, {&packed, (b + 15) / 16 * 16 * widest}};
    i64 total = 0;
    for (auto &part : parts) total += padded(part.size);
    static std::vector<float> memory;  // kept from step to step; steps are made one at a time
    if ((i64)memory.size() < total + 16) memory.resize(total + 16);
    float *free = (float *)(((uintptr_t)memory.data() + 63) / 64 * 64);
    for (auto &part : parts) { memcpy(part.to, &free, sizeof free); free += padded(part.size); }
  }

  // Lay out part of one text's vector as the input of the next product, n numbers long.
  void pack(i64 text, i64 from, i64 to, const float *values, i64 n) {
    if (tiled) {
      uint32_t *p = packed + text / 16 * (n / 2 * 16) + text % 16;
      for (i64 i = from; i < to; i += 2)
        p[i / 2 * 16] = (uint32_t)narrow(values[i - from]) | (uint32_t)narrow(values[i - from + 1]) << 16;
      return;
    }
#if PAIRS
    if (model.half) {
      bf16 *p = (bf16 *)packed + text * padded(n);
      for (i64 i = from; i < to; i++) p[i] = narrow(values[i - from]);
      if (to == n) for (i64 i = n; i < padded(n); i++) p[i] = 0;
      return;
    }
#endif
    float *p = (float *)packed + text * padded(n);
    memcpy(p + from, values, (to - from) * 4);
    if (to == n) for (i64 i = n; i < padded(n); i++) p[i] = 0;
  }

  void share(i64 n, int t, i64 &from, i64 &to) const {  // whole tiles, so that threads do not share cache lines
    i64 blocks = (n + 15) / 16;
    from = std::min(n, blocks * t / crew.size * 16);
    to = std::min(n, blocks * (t + 1) / crew.size * 16);
  }

  void linear(const Linear &f, float *out, int t, i64 &from, i64 &to) {
    share(f.out, t, from, to);
    if (from == to) return;
#if TILES
    if (tiled) tiles(f, packed, state.batch, from, to, out);
    else
#endif
    if (model.half) {
      auto *in = (const In<bf16>::type *)packed;
      if (state.batch == 1) rows<bf16, 8>(f, in, 1, from, to, out); else rows<bf16, 6>(f, in, state.batch, from, to, out);
    } else {
      auto *in = (const float *)packed;
      if (state.batch == 1) rows<float, 8>(f, in, 1, from, to, out); else rows<float, 6>(f, in, state.batch, from, to, out);
    }
    if (f.bias)
      for (i64 b = 0; b < state.batch; b++)
        for (i64 r = from; r < to; r++) out[b * f.out + r] += f.bias[r];
  }
  void linear(const Linear &f, float *out, int t) { i64 from, to; linear(f, out, t, from, to); }

  // Between two sub-layers: add what the last one made, and lay out what the next one reads.
  void join(const Layer *last, const Norm *after, const Norm *own, const Norm *next, bool post, int t) {
    i64 d = model.dim;
    for (i64 b = t; b < state.batch; b += crew.size) {
      float *stream = &x[b * d], *made = &y[b * d], *scratch = &h[t * (widest + 64)];
      if (last) {
        if (after->kind) normalize(*after, made, made, d);
        float scale = (float)last->residual_scale;
        for (i64 i = 0; i < d; i++) stream[i] += made[i] * scale;
        if (last->post) normalize(*own, stream, stream, d);
      }
      if (next && next->kind && !post) { normalize(*next, stream, scratch, d); pack(b, 0, d, scratch, d); }
      else pack(b, 0, d, stream, d);
    }
    crew.meet();
  }

  void turn(const Layer &l, float *p, i64 position) const {
    const float *cos = l.cos + position * l.pairs, *sin = l.sin + position * l.pairs;
    for (i64 i = 0; i < l.pairs; i++) {
      float first = p[i], second = p[i + l.pairs];
      p[i] = first * cos[i] - second * sin[i];
      p[i + l.pairs] = second * cos[i] + first * sin[i];
    }
  }

  template <class T> void attend(const Layer &l, i64 index, int t) {
    i64 hd = l.head_dim, group = l.heads / l.kv_heads, start = state.start, slots = state.slots[index];
    i64 held = std::min(start + 1, slots), at = start % slots;
    float *score = &scores[t * group * score_length];
    for (i64 unit = t; unit < state.batch * l.kv_heads; unit += crew.size) {
      i64 b = unit / l.kv_heads, kv = unit % l.kv_heads, position = state.positions[b];
      T *keys = (T *)state.keys[index] + unit * slots * hd, *values = (T *)state.values[index] + unit * slots * hd;
      float *key = &k[b * l.key.out + kv * hd], *value = &v[b * l.value.out + kv * hd];
      if (l.key_norm.kind) normalize(l.key_norm, key, key, hd);
      if (l.pairs) turn(l, key, position);
      for (i64 i = 0; i < hd; i++) { put(keys[at * hd + i], key[i]); put(values[at * hd + i], value[i]); }
      const uint8_t *real = state.mask ? state.mask + b * state.mask_stride : nullptr;
      i64 first = 0;
      if (real && held == start + 1) while (first < start && !real[first]) first++;
      for (i64 g = 0; g < group; g++) {
        i64 head = kv * group + g;
        float *query = &q[b * l.query.out + head * hd], *s = score + g * score_length, top = -1e30f, sum = 0;
        if (l.query_norm.kind) normalize(l.query_norm, query, query, hd);
        if (l.pairs) turn(l, query, position);
        for (i64 i = 0; i < hd; i++) query[i] *= (float)l.scale;
        for (i64 j = first; j < held; j++) {
          fetch(keys + (j + 12) * hd, hd);
          fetch(values + j * hd, hd);
          s[j] = dot(keys + j * hd, query, hd);
        }
        if (l.softcap > 0) {
          float cap = (float)l.softcap;
          for (i64 j = first; j < held; j++) s[j] = cap * tangent(s[j] / cap);
        }
        if (real) for (i64 j = first; j < held; j++) {
          i64 stands = held == start + 1 ? j : start - (start - j) % slots;
          if (!real[stands] && stands != start) s[j] = -1e30f;
        }
#pragma omp simd reduction(max : top)
        for (i64 j = first; j < held; j++) top = s[j] > top ? s[j] : top;
        for (i64 j = first; j < held; j++) s[j] = exponential(s[j] - top);
#pragma omp simd reduction(+ : sum)
        for (i64 j = first; j < held; j++) sum += s[j];
        float *out = &mixed[b * l.query.out + head * hd];
        weigh(values, s, first, held, 1.f / sum, out, hd);
        pack(b, head * hd, head * hd + hd, out, l.query.out);
      }
    }
    crew.meet();
  }

  template <class T> static inline void fetch(const T *p, i64 n) {
    for (i64 i = 0; i < n; i += 64 / (i64)sizeof(T)) __builtin_prefetch(p + i);
  }

  template <class T> static inline float dot(const T *a, const float *b, i64 n) {
#if WIDE
    __m512 sum = _mm512_setzero_ps();
    for (i64 i = 0; i < n; i += 16) {
      __mmask16 m = n - i >= 16 ? 0xffff : (1u << (n - i)) - 1;
      sum = _mm512_fmadd_ps(load(a + i, m), load(b + i, m), sum);
    }
    return _mm512_reduce_add_ps(sum);
#else
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (i64 i = 0; i < n; i++) sum += widen(a[i]) * b[i];
    return sum;
#endif
  }

  template <class T>
  static inline void weigh(const T *values, const float *s, i64 first, i64 held, float factor, float *out, i64 n) {
#if WIDE
    for (i64 i = 0; i < n; i += 64) {
      __m512 sum[4];
      __mmask16 m[4];
#pragma GCC unroll 4
      for (int c = 0; c < 4; c++) {
        i64 left = n - i - c * 16;
        m[c] = left >= 16 ? 0xffff : left > 0 ? (1u << left) - 1 : 0;
        sum[c] = _mm512_setzero_ps();
      }
      for (i64 j = first; j < held; j++) {
        __m512 p = _mm512_set1_ps(s[j]);
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) sum[c] = _mm512_fmadd_ps(load(values + j * n + i + c * 16, m[c]), p, sum[c]);
      }
#pragma GCC unroll 4
      for (int c = 0; c < 4; c++) _mm512_mask_storeu_ps(out + i + c * 16, m[c], _mm512_mul_ps(sum[c], _mm512_set1_ps(factor)));
    }
#else
    for (i64 i = 0; i < n; i++) out[i] = 0;
    for (i64 j = first; j < held; j++)
      for (i64 i = 0; i < n; i++) out[i] += widen(values[j * n + i]) * s[j];
    for (i64 i = 0; i < n; i++) out[i] *= factor;
#endif
  }

  void work(int t) {
#if TILES
    if (tiled) open_tiles();
#endif
    i64 d = model.dim;
    for (i64 b = t; b < state.batch; b += crew.size) {
      float *stream = &x[b * d];
      for (i64 i = 0; i < d; i++)
        stream[i] = model.half ? widen(((const bf16 *)model.embedding)[state.ids[b] * d + i])
                               : ((const float *)model.embedding)[state.ids[b] * d + i];
      for (i64 i = 0; i < d; i++) stream[i] *= (float)model.embedding_scale;
      if (model.positions) for (i64 i = 0; i < d; i++) stream[i] += model.positions[state.positions[b] * d + i];
      if (model.embedding_norm.kind) normalize(model.embedding_norm, stream, stream, d);
    }
    const Layer *l = model.layers;
    join(nullptr, nullptr, nullptr, &l->attention_norm, l->post, t);
    for (i64 i = 0; i < model.num_layers; i++, l++) {
      linear(l->query, q, t); linear(l->key, k, t); linear(l->value, v, t);
      crew.meet();
      if (model.half) attend<bf16>(*l, i, t); else attend<float>(*l, i, t);
      linear(l->output, y, t);
      crew.meet();
      join(l, &l->attention_norm_after, &l->attention_norm, &l->feed_forward_norm, l->post, t);
      i64 from, to, n = l->up.out;
      linear(l->up, up, t, from, to);
      if (l->gate.weight) linear(l->gate, gate, t, from, to);
      crew.meet();  // nobody reads the input any more: the hidden part takes its place
      for (i64 b = 0; b < state.batch && from < to; b++) {
        float *a = &(l->gate.weight ? gate : up)[b * n + from];
        activate(a, to - from, l->activation);
        if (l->gate.weight) for (i64 r = from; r < to; r++) a[r - from] *= up[b * n + r];
        pack(b, from, to, a, n);
      }
      crew.meet();
      linear(l->down, y, t);
      crew.meet();
      const Layer *next = i + 1 < model.num_layers ? l + 1 : nullptr;
      join(l, &l->feed_forward_norm_after, &l->feed_forward_norm, next ? &next->attention_norm : &model.final_norm,
           next ? next->post : false, t);
    }
    i64 from, to;
    linear(model.head, state.logits, t, from, to);
    if (model.head_softcap > 0) {
      float cap = (float)model.head_softcap;
      for (i64 b = 0; b < state.batch; b++)
        for (i64 r = from; r < to; r++) { float &z = state.logits[b * model.head.out + r]; z = cap * tangent(z / cap); }
    }
#if TILES
    if (tiled) _tile_release();
#endif
  }
};

static bool tiles_fit(const Model &m) {
#if TILES
  static const bool allowed = syscall(SYS_arch_prctl, 0x1023, 18) == 0;  // ask Linux for the tile registers
  if (!allowed || !m.half || m.head.out < 16) return false;
  auto fits = [](const Linear &f) { return !f.weight || (f.in % 32 == 0 && f.out >= 16); };
  for (i64 i = 0; i < m.num_layers; i++) {
    const Layer &l = m.layers[i];
    for (const Linear *f : {&l.query, &l.key, &l.value, &l.output, &l.gate, &l.up, &l.down}) if (!fits(*f)) return false;
    if (l.head_dim % 2) return false;
  }
  return fits(m.head);
#else
  return false;
#endif
}

extern "C" {

// 1: plain C++, 2: AVX-512, 3: with bfloat16 products, 4: with tiles
int limner_abilities() {
#if TILES
  return 4;
#elif PAIRS
  return 3;
#elif WIDE
  return 2;
#else
  return 1;
#endif
}

void limner_step(const Model *model, const State *state, int threads, int tiled) {
  static std::mutex one;
  std::lock_guard<std::mutex> lock(one);
  Step step(*model, *state, team(threads), tiled && state->batch > 1 && tiles_fit(*model));
  step.crew.run(threads, [](void *s, int t) { ((Step *)s)->work(t); }, &step);
}

// Bytes read per call by the same team, to know what the machine can do at most. Returns a sum, so that it is done.
struct Read { const uint64_t *from; i64 words; std::atomic<uint64_t> sum; int size; };
uint64_t limner_read(const uint64_t *from, i64 words, int threads) {
  static std::mutex one;
  std::lock_guard<std::mutex> lock(one);
  Read job{from, words, {0}, threads};
  team(threads).run(threads, [](void *a, int t) {
    Read &r = *(Read *)a;
    const i64 streams = 8;
    i64 each = r.words / r.size / streams / 8 * 8;
    const uint64_t *p = r.from + t * each * streams;
    uint64_t sum[8] = {};
    for (i64 i = 0; i < each; i += 8)
      for (i64 s = 0; s < streams; s++)
        {
          __builtin_prefetch(p + s * each + i + 128);
          for (int j = 0; j < 8; j++) sum[j] += p[s * each + i + j];
        }
    for (int j = 1; j < 8; j++) sum[0] += sum[j];
    r.sum += sum[0];
  }, &job);
  return job.sum;
}
}
