/** Matrix products, layer normalization and softmax over Float32Arrays, in loops that V8 compiles well. */

/**
 * y = x · weightᵀ + bias. Sums are in double precision.
 *
 * Several outputs are computed together, because each loaded x then serves several products.
 * @param {Float32Array} x (rows, inputs)
 * @param {number} rows
 * @param {Float32Array} weight (outputs, inputs)
 * @param {Float32Array | null} bias (outputs)
 * @param {Float32Array} y (rows, outputs), overwritten
 */
export function multiply(x, rows, weight, bias, y) {
  const outputs = y.length / rows, inputs = weight.length / outputs;
  let row = 0;
  // two rows together, because each loaded weight then serves both
  for (; row + 2 <= rows; row += 2) twoRows(x, row * inputs, weight, bias, inputs, outputs, y, row * outputs);
  if (row < rows) oneRow(x, row * inputs, weight, bias, inputs, outputs, y, row * outputs);
}

/**
 * Multiply one row of x, eight outputs together.
 * @param {Float32Array} x
 * @param {number} from offset of the row in x
 * @param {Float32Array} weight (outputs, inputs)
 * @param {Float32Array | null} bias (outputs)
 * @param {number} inputs
 * @param {number} outputs
 * @param {Float32Array} y
 * @param {number} to offset of the row in y
 */
function oneRow(x, from, weight, bias, inputs, outputs, y, to) {
  let out = 0;
  for (; out + 8 <= outputs; out += 8) {
    let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
    for (let i = 0, w = out * inputs; i < inputs; i++, w++) {
      const value = x[from + i];
      a += weight[w] * value;
      b += weight[w + inputs] * value;
      c += weight[w + 2 * inputs] * value;
      d += weight[w + 3 * inputs] * value;
      e += weight[w + 4 * inputs] * value;
      f += weight[w + 5 * inputs] * value;
      g += weight[w + 6 * inputs] * value;
      h += weight[w + 7 * inputs] * value;
    }
    y.set([a, b, c, d, e, f, g, h], to + out);
  }
  for (; out < outputs; out++) y[to + out] = dot(x, from, weight, out * inputs, inputs);
  if (bias) for (let i = 0; i < outputs; i++) y[to + i] += bias[i];
}

/**
 * Multiply two adjacent rows of x, four outputs together.
 * @param {Float32Array} x
 * @param {number} from offset of the first row in x
 * @param {Float32Array} weight (outputs, inputs)
 * @param {Float32Array | null} bias (outputs)
 * @param {number} inputs
 * @param {number} outputs
 * @param {Float32Array} y
 * @param {number} to offset of the first row in y
 */
function twoRows(x, from, weight, bias, inputs, outputs, y, to) {
  const second = from + inputs, toSecond = to + outputs;
  let out = 0;
  for (; out + 4 <= outputs; out += 4) {
    const a = out * inputs, b = a + inputs, c = b + inputs, d = c + inputs;
    let a0 = 0, b0 = 0, c0 = 0, d0 = 0, a1 = 0, b1 = 0, c1 = 0, d1 = 0;
    for (let i = 0; i < inputs; i++) {
      const u = x[from + i], v = x[second + i];
      const wa = weight[a + i], wb = weight[b + i], wc = weight[c + i], wd = weight[d + i];
      a0 += wa * u;
      b0 += wb * u;
      c0 += wc * u;
      d0 += wd * u;
      a1 += wa * v;
      b1 += wb * v;
      c1 += wc * v;
      d1 += wd * v;
    }
    y[to + out] = a0;
    y[to + out + 1] = b0;
    y[to + out + 2] = c0;
    y[to + out + 3] = d0;
    y[toSecond + out] = a1;
    y[toSecond + out + 1] = b1;
    y[toSecond + out + 2] = c1;
    y[toSecond + out + 3] = d1;
  }
  for (; out < outputs; out++) {
    y[to + out] = dot(x, from, weight, out * inputs, inputs);
    y[toSecond + out] = dot(x, second, weight, out * inputs, inputs);
  }
  if (!bias) return;
  for (let i = 0; i < outputs; i++) {
    y[to + i] += bias[i];
    y[toSecond + i] += bias[i];
  }
}

/**
 * The dot product of `count` elements of a and b from two offsets.
 * @param {Float32Array} a
 * @param {number} fromA
 * @param {Float32Array} b
 * @param {number} fromB
 * @param {number} count
 * @returns {number}
 */
export function dot(a, fromA, b, fromB, count) {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += a[fromA + i] * b[fromB + i];
  return sum;
}

/**
 * Normalize each row to mean 0 and variance 1, then scale and shift, as torch's LayerNorm does.
 * @param {Float32Array} x (rows, width)
 * @param {Float32Array} scale (width)
 * @param {Float32Array} shift (width)
 * @param {number} epsilon
 * @returns {Float32Array} (rows, width)
 */
export function layerNorm(x, scale, shift, epsilon) {
  const width = scale.length, y = new Float32Array(x.length);
  for (let from = 0; from < x.length; from += width) {
    let sum = 0, squares = 0;
    for (let i = 0; i < width; i++) sum += x[from + i];
    const mean = sum / width;
    for (let i = 0; i < width; i++) squares += (x[from + i] - mean) ** 2;
    const factor = 1 / Math.sqrt(squares / width + epsilon);
    for (let i = 0; i < width; i++) y[from + i] = (x[from + i] - mean) * factor * scale[i] + shift[i];
  }
  return y;
}

/**
 * Replace the first `count` scores from an offset by their softmax.
 * @param {Float32Array} scores
 * @param {number} from
 * @param {number} count
 */
export function softmax(scores, from, count) {
  let largest = -Infinity, sum = 0;
  for (let i = from; i < from + count; i++) if (scores[i] > largest) largest = scores[i];
  for (let i = from; i < from + count; i++) sum += scores[i] = Math.exp(scores[i] - largest);
  for (let i = from; i < from + count; i++) scores[i] /= sum;
}

/**
 * @param {Float32Array} values
 * @returns {boolean} whether none is NaN or infinite
 */
export function areFinite(values) {
  let sum = 0;
  // 0 times NaN or infinity is NaN
  for (let i = 0; i < values.length; i++) sum += values[i] * 0;
  return sum === 0;
}
