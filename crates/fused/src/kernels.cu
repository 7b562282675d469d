// GPU kernels that libtorch does not have. NVRTC compiles this file when a GPU is first used, for that GPU and for
// one number format (NUMBER: 0 fp32, 1 bf16, 2 fp16), so that no CUDA compiler is needed to build Lookout.
// Built without fused multiply-add: boxes are rounded as on the CPU.

typedef unsigned char u8;
typedef unsigned long long u64;

#if NUMBER == 0
typedef float number;
__device__ __forceinline__ float load(number x) { return x; }
__device__ __forceinline__ number store(float x) { return x; }
#elif NUMBER == 1
typedef unsigned short number;
__device__ __forceinline__ float load(number x) { return __uint_as_float((unsigned)x << 16); }
__device__ __forceinline__ number store(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return 0x7fc0;
  return (number)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to nearest, ties to even
}
#else
typedef unsigned short number;
__device__ __forceinline__ float load(number x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
__device__ __forceinline__ number store(float x) {
  number y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
#endif

// ---- A decoded frame in NV12 to RGB in the size of the input -------------------------------------------------------

struct Nv12 {
  const u8 *y, *uv;
  long long y_stride, uv_stride;                 // bytes
  int width, height;                             // of the plane of Y; that of U and V has half of both, rounded up
  float left, top, seen_width, seen_height;      // what is seen, in parts of the width and height
  int to_x, to_y, to_width, to_height;           // where it lies in the output, which is black elsewhere
  int out_width, out_height;
  int black, y_factor, v_to_red, u_to_green, v_to_green, u_to_blue;  // factors of 2^16
  u8* out;                                       // [out_height, out_width, 3]
};

// The samples of a plane that an output pixel is made of, and their weights: a triangle as wide as two output pixels,
// as on the CPU and in Pillow.
struct Taps {
  int from, to;
  float center, reach;
};

__device__ __forceinline__ Taps taps(float start, float length, int size, int count, int i) {
  const float scale = length * size / count, reach = fmaxf(scale, 1.0f);
  const float center = start * size + (i + 0.5f) * scale;
  Taps taps;
  taps.from = max(0, (int)floorf(center - reach));
  taps.to = min(size, (int)ceilf(center + reach));
  taps.center = center;
  taps.reach = reach;
  return taps;
}

__device__ __forceinline__ float weight(const Taps& taps, int i) {
  return fmaxf(0.0f, 1.0f - fabsf((float)i + 0.5f - taps.center) / taps.reach);
}

// Samples of a plane with `samples` bytes a pixel, scaled and rounded.
template <int samples>
__device__ __forceinline__ void scaled(const u8* plane, long long stride, const Taps& across, const Taps& down, int* out) {
  float sums[samples] = {}, weights = 0.0f;
  for (int y = down.from; y < down.to; ++y) {
    const float row_weight = weight(down, y);
    const u8* row = plane + (long long)y * stride;
    float row_sums[samples] = {}, row_weights = 0.0f;
    for (int x = across.from; x < across.to; ++x) {
      const float w = weight(across, x);
      row_weights += w;
#pragma unroll
      for (int s = 0; s < samples; ++s) row_sums[s] += w * (float)row[x * samples + s];
    }
    weights += row_weight * row_weights;
#pragma unroll
    for (int s = 0; s < samples; ++s) sums[s] += row_weight * row_sums[s];
  }
#pragma unroll
  for (int s = 0; s < samples; ++s) out[s] = (int)rintf(sums[s] / weights);
}

__device__ __forceinline__ u8 byte(int value) { return (u8)min(max(value >> 16, 0), 255); }

extern "C" __global__ void scale_nv12(const Nv12 in) {
  const int out_x = blockIdx.x * blockDim.x + threadIdx.x, out_y = blockIdx.y;
  if (out_x >= in.out_width) return;
  u8* out = in.out + ((size_t)out_y * in.out_width + out_x) * 3;
  const int x = out_x - in.to_x, y = out_y - in.to_y;
  if (x < 0 || y < 0 || x >= in.to_width || y >= in.to_height) {
    out[0] = out[1] = out[2] = 0;
    return;
  }
  int luma, chroma[2];
  scaled<1>(in.y, in.y_stride, taps(in.left, in.seen_width, in.width, in.to_width, x),
            taps(in.top, in.seen_height, in.height, in.to_height, y), &luma);
  scaled<2>(in.uv, in.uv_stride, taps(in.left, in.seen_width, (in.width + 1) / 2, in.to_width, x),
            taps(in.top, in.seen_height, (in.height + 1) / 2, in.to_height, y), chroma);
  luma = (luma - in.black) * in.y_factor + 32768;
  const int u = chroma[0] - 128, v = chroma[1] - 128;
  out[0] = byte(luma + v * in.v_to_red);
  out[1] = byte(luma + u * in.u_to_green + v * in.v_to_green);
  out[2] = byte(luma + u * in.u_to_blue);
}

// ---- Input: bytes [N, height, width, 3] to normalized numbers ---------------------------------------------------

struct Input {
  const u8* bytes;
  number* out;
  int images, height, width;
  int padded_height, padded_width;  // the rest below and to the right is zero, the color of the mean
  float mean[3], deviation[3];
};

__device__ __forceinline__ number normalized(const Input& in, int image, int y, int x, int channel) {
  if (y < 0 || x < 0 || y >= in.height || x >= in.width) return store(0.0f);
  const u8 byte = in.bytes[(((size_t)image * in.height + y) * in.width + x) * 3 + channel];
  return store(((float)byte / 255.0f - in.mean[channel]) / in.deviation[channel]);
}

// To [N, padded_height, padded_width, 3].
extern "C" __global__ void normalize(const Input in) {
  const size_t pixels = (size_t)in.images * in.padded_height * in.padded_width;
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < pixels; i += (size_t)gridDim.x * blockDim.x) {
    const int x = i % in.padded_width, y = i / in.padded_width % in.padded_height;
    const int image = i / ((size_t)in.padded_width * in.padded_height);
    for (int channel = 0; channel < 3; ++channel) in.out[i * 3 + channel] = normalized(in, image, y, x, channel);
  }
}

// To [N, padded_height / 2 + 3, padded_width / 2 + 3, 16]: blocks of 2x2 pixels in 12 channels, and four that are zero,
// with a border of two blocks above and to the left and one below and to the right. A 7x7 convolution with stride 2 on
// 3 channels is a 4x4 one with stride 1 on these, which tensor cores are fast at.
extern "C" __global__ void normalize_blocks(const Input in) {
  const int height = in.padded_height / 2 + 3, width = in.padded_width / 2 + 3;
  const size_t blocks = (size_t)in.images * height * width;
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < blocks; i += (size_t)gridDim.x * blockDim.x) {
    const int x = ((int)(i % width) - 2) * 2, y = ((int)(i / width % height) - 2) * 2;
    const int image = i / ((size_t)width * height);
    union {
      number numbers[16];
      uint4 words[sizeof(number)];
    } out;
#pragma unroll
    for (int c = 0; c < 12; ++c) out.numbers[c] = normalized(in, image, y + c / 6, x + c / 3 % 2, c % 3);
#pragma unroll
    for (int c = 12; c < 16; ++c) out.numbers[c] = store(0.0f);
    uint4* to = (uint4*)(in.out + i * 16);
#pragma unroll
    for (int word = 0; word < (int)sizeof(number); ++word) to[word] = out.words[word];
  }
}

// ---- Max pooling 3x3, stride 2, padding 1, behind a ReLU -----------------------------------------------------------

#if NUMBER != 0
// The bits of numbers that are not negative are in the numbers' order, also as signed integers of 16 bits; a negative
// zero is below all of them. x [N, height, width, channels], channels a multiple of 8.
extern "C" __global__ void max_pool(const number* x, number* out, int images, int height, int width, int channels) {
  const int to_height = (height + 1) / 2, to_width = (width + 1) / 2, words = channels / 8;
  const size_t count = (size_t)images * to_height * to_width * words;
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < count; i += (size_t)gridDim.x * blockDim.x) {
    const int word = i % words, to_x = i / words % to_width;
    const int to_y = i / ((size_t)words * to_width) % to_height;
    const int image = i / ((size_t)words * to_width * to_height);
    uint4 most = make_uint4(0x80008000u, 0x80008000u, 0x80008000u, 0x80008000u);
#pragma unroll
    for (int dy = -1; dy <= 1; ++dy) {
#pragma unroll
      for (int dx = -1; dx <= 1; ++dx) {
        const int y = 2 * to_y + dy, from_x = 2 * to_x + dx;
        if (y < 0 || from_x < 0 || y >= height || from_x >= width) continue;
        const uint4 next = ((const uint4*)x)[(((size_t)image * height + y) * width + from_x) * words + word];
        most.x = __vmaxs2(most.x, next.x);
        most.y = __vmaxs2(most.y, next.y);
        most.z = __vmaxs2(most.z, next.z);
        most.w = __vmaxs2(most.w, next.w);
      }
    }
    ((uint4*)out)[i] = most;
  }
}
#endif

// ---- Reading a dense detector's outputs: the best candidates of each level, then non-maximum suppression -----------

// cuda.cpp defines MAX_LEVELS, LEVEL_CAPACITY and BINS.
#define CHUNK 64  // candidates that are compared with the kept ones at a time

struct Level {
  const number* logits;   // [images, count, classes]
  const number* boxes;    // [images, count, 4]
  const number* centers;  // [images, count], or null
  const float* anchors;   // [count, 4]
  int count;
};

struct Reading {
  Level level[MAX_LEVELS];
  int levels, images, classes;
  int distances;          // whether boxes are distances from an anchor's center rather than shifts of the anchor
  float threshold;        // a score has to be above this
  float least_logit;      // below the logit of the threshold: most logits are passed over by it
  int per_level, max_detections;
  double iou;
  float height, width;    // of the image
  unsigned* histogram;    // [images, levels, BINS], zero at the start
  int* cutoff;            // [images, levels]
  int* count;             // [images, levels], zero at the start
  u64* candidates;        // [images, levels, LEVEL_CAPACITY]
  u64* keys;              // [images, levels * per_level]
  float* rows;            // [images, levels * per_level, 5]: box and class
  float* out;             // [images, 1 + max_detections * 6]: a count; box, score and class of each
};

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// The score, or a negative number where it is not above the threshold.
__device__ __forceinline__ float score_of(const Reading& r, const Level& level, size_t anchor, int cls) {
  const float logit = load(level.logits[anchor * r.classes + cls]);
  if (!(logit > r.least_logit)) return -1.0f;
  float score = sigmoid(logit);
  if (level.centers) score = sqrtf(score * sigmoid(load(level.centers[anchor])));
  return score > r.threshold ? score : -1.0f;
}

__device__ __forceinline__ int bin_of(float score) {
  const int bin = ((int)__float_as_uint(score) - 0x3a000000) >> 14;
  return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
}

// A warp for each anchor, a lane for each class.
template <typename Take>
__device__ __forceinline__ void for_each_candidate(const Reading& r, Take take) {
  const Level& level = r.level[blockIdx.y];
  const int image = blockIdx.z, lane = threadIdx.x & 31;
  const int warps = gridDim.x * (blockDim.x >> 5);
  for (int anchor = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); anchor < level.count; anchor += warps) {
    for (int cls = lane; cls < r.classes; cls += 32) {
      const float score = score_of(r, level, (size_t)image * level.count + anchor, cls);
      if (score > 0.0f) take(image * r.levels + (int)blockIdx.y, anchor * r.classes + cls, score);
    }
  }
}

extern "C" __global__ void count_scores(const Reading r) {
  for_each_candidate(r, [&](int slot, int, float score) {
    atomicAdd(&r.histogram[(size_t)slot * BINS + bin_of(score)], 1u);
  });
}

// The lowest bin that candidates may be in for the best per_level to be among them.
extern "C" __global__ void find_cutoff(const Reading r) {
  __shared__ unsigned sums[256];
  const int slot = blockIdx.y * r.levels + blockIdx.x;
  const unsigned* histogram = r.histogram + (size_t)slot * BINS;
  const int each = (BINS + 255) / 256;
  unsigned sum = 0;
  for (int i = 0; i < each; ++i) {
    const int bin = BINS - 1 - ((int)threadIdx.x * each + i);
    if (bin >= 0) sum += histogram[bin];
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  unsigned above = 0;
  int group = 0;
  while (group < 256 && above + sums[group] < (unsigned)r.per_level) above += sums[group++];
  int cutoff = 0;
  if (group < 256) {
    cutoff = BINS - 1 - group * each;
    while (cutoff > 0 && (above += histogram[cutoff]) < (unsigned)r.per_level) --cutoff;
  }
  r.cutoff[slot] = cutoff > 0 ? cutoff : 0;
}

extern "C" __global__ void select_candidates(const Reading r) {
  for_each_candidate(r, [&](int slot, int pair, float score) {
    if (bin_of(score) < r.cutoff[slot]) return;
    const int at = atomicAdd(&r.count[slot], 1);
    if (at >= LEVEL_CAPACITY) return;
    // Of equal scores the first is the best.
    r.candidates[(size_t)slot * LEVEL_CAPACITY + at] =
        (u64)__float_as_uint(score) << 32 | (0xffffffffu - (unsigned)pair);
  });
}

// Sorts `size` keys, a power of two, the greatest first.
__device__ void sort_keys(u64* keys, int size) {
  for (int k = 2; k <= size; k <<= 1) {
    for (int j = k >> 1; j > 0; j >>= 1) {
      for (int i = threadIdx.x; i < size; i += blockDim.x) {
        const int other = i ^ j;
        if (other <= i) continue;
        const u64 a = keys[i], b = keys[other];
        if ((a < b) == ((i & k) == 0)) {
          keys[i] = b;
          keys[other] = a;
        }
      }
      __syncthreads();
    }
  }
}

__device__ __forceinline__ int power_of_two(int count) {
  int size = 1;
  while (size < count) size <<= 1;
  return size;
}

__device__ __forceinline__ float4 decoded(const Reading& r, const Level& level, int image, int anchor) {
  const float* a = level.anchors + (size_t)anchor * 4;
  const number* d = level.boxes + ((size_t)image * level.count + anchor) * 4;
  const float width = a[2] - a[0], height = a[3] - a[1];
  const float d0 = load(d[0]), d1 = load(d[1]), d2 = load(d[2]), d3 = load(d[3]);
  float4 box;
  if (r.distances) {
    const float x = 0.5f * (a[0] + a[2]), y = 0.5f * (a[1] + a[3]);
    box = make_float4(x - d0 * width, y - d1 * height, x + d2 * width, y + d3 * height);
  } else {
    const float most = 4.135166556742356f;  // ln(1000 / 16)
    const float x = d0 * width + (a[0] + 0.5f * width), y = d1 * height + (a[1] + 0.5f * height);
    const float half_width = 0.5f * (expf(fminf(d2, most)) * width);
    const float half_height = 0.5f * (expf(fminf(d3, most)) * height);
    box = make_float4(x - half_width, y - half_height, x + half_width, y + half_height);
  }
  box.x = fminf(fmaxf(box.x, 0.0f), r.width);
  box.y = fminf(fmaxf(box.y, 0.0f), r.height);
  box.z = fminf(fmaxf(box.z, 0.0f), r.width);
  box.w = fminf(fmaxf(box.w, 0.0f), r.height);
  return box;
}

// The best per_level candidates of a level of an image, decoded.
extern "C" __global__ void decode_level(const Reading r) {
  __shared__ u64 keys[LEVEL_CAPACITY];
  const int image = blockIdx.y, slot = image * r.levels + blockIdx.x;
  const int count = min(r.count[slot], LEVEL_CAPACITY), size = power_of_two(count);
  for (int i = threadIdx.x; i < size; i += blockDim.x) {
    keys[i] = i < count ? r.candidates[(size_t)slot * LEVEL_CAPACITY + i] : 0;
  }
  __syncthreads();
  sort_keys(keys, size);
  for (int i = threadIdx.x; i < r.per_level; i += blockDim.x) {
    const int row = blockIdx.x * r.per_level + i;
    const size_t at = (size_t)image * r.levels * r.per_level + row;
    if (i >= count) {
      r.keys[at] = 0;
      continue;
    }
    const int pair = (int)(0xffffffffu - (unsigned)keys[i]);
    const float4 box = decoded(r, r.level[blockIdx.x], image, pair / r.classes);
    float* to = r.rows + at * 5;
    to[0] = box.x, to[1] = box.y, to[2] = box.z, to[3] = box.w, to[4] = (float)(pair % r.classes);
    r.keys[at] = (keys[i] >> 32 << 32) | (0xffffffffu - (unsigned)row);
  }
}

__device__ __forceinline__ bool overlap(const float4& a, const float4& b, double most) {
  const float width = fmaxf(fminf(a.z, b.z) - fmaxf(a.x, b.x), 0.0f);
  const float height = fmaxf(fminf(a.w, b.w) - fmaxf(a.y, b.y), 0.0f);
  const float shared = width * height;
  const float both = (b.z - b.x) * (b.w - b.y) + (a.z - a.x) * (a.w - a.y) - shared;
  return (double)(shared / both) > most;
}

// One block for an image. Dynamic shared memory: keys of the next power of two of levels * per_level, then max_detections
// boxes, then as many classes.
extern "C" __global__ void suppress(const Reading r) {
  extern __shared__ u64 shared[];
  __shared__ float4 boxes[CHUNK];
  __shared__ float classes[CHUNK];
  __shared__ u64 overlaps[CHUNK];
  __shared__ u64 suppressed;
  __shared__ int kept, total;
  const int image = blockIdx.x, rows = r.levels * r.per_level, capacity = power_of_two(rows);
  u64* keys = shared;
  float4* kept_boxes = (float4*)(keys + capacity);
  float* kept_classes = (float*)(kept_boxes + r.max_detections);
  if (threadIdx.x == 0) kept = total = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < rows; i += blockDim.x) {
    const u64 key = r.keys[(size_t)image * rows + i];
    if (key) keys[atomicAdd(&total, 1)] = key;
  }
  __syncthreads();
  const int count = total, size = power_of_two(count);
  for (int i = count + threadIdx.x; i < size; i += blockDim.x) keys[i] = 0;
  __syncthreads();
  sort_keys(keys, size);
  float* out = r.out + (size_t)image * (1 + r.max_detections * 6);
  for (int base = 0; base < count && kept < r.max_detections; base += CHUNK) {
    const int chunk = min(CHUNK, count - base);
    if (threadIdx.x < CHUNK) {
      overlaps[threadIdx.x] = 0;
      if ((int)threadIdx.x < chunk) {
        const unsigned row = 0xffffffffu - (unsigned)keys[base + threadIdx.x];
        const float* from = r.rows + ((size_t)image * rows + row) * 5;
        boxes[threadIdx.x] = make_float4(from[0], from[1], from[2], from[3]);
        classes[threadIdx.x] = from[4];
      }
    }
    if (threadIdx.x == 0) suppressed = 0;
    __syncthreads();
    const int mine = threadIdx.x % CHUNK, part = threadIdx.x / CHUNK, parts = blockDim.x / CHUNK;
    if (mine < chunk) {
      for (int i = part; i < kept; i += parts) {
        if (kept_classes[i] == classes[mine] && overlap(boxes[mine], kept_boxes[i], r.iou)) {
          atomicOr(&suppressed, 1ull << mine);
          break;
        }
      }
      for (int i = part; i < mine; i += parts) {
        if (classes[i] == classes[mine] && overlap(boxes[mine], boxes[i], r.iou)) {
          atomicOr(&overlaps[mine], 1ull << i);
        }
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      u64 taken = 0;
      for (int i = 0; i < chunk && kept < r.max_detections; ++i) {
        if (suppressed >> i & 1 || overlaps[i] & taken) continue;
        taken |= 1ull << i;
        kept_boxes[kept] = boxes[i];
        kept_classes[kept] = classes[i];
        float* to = out + 1 + kept * 6;
        to[0] = boxes[i].x, to[1] = boxes[i].y, to[2] = boxes[i].z, to[3] = boxes[i].w;
        to[4] = __uint_as_float((unsigned)(keys[base + i] >> 32));
        to[5] = classes[i];
        ++kept;
      }
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) out[0] = (float)kept;
}
