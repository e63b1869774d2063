/** The activation functions of transformers' ACT2FN that have no parameters, by their names there. */

const { exp, tanh, max, min, abs, sqrt, log1p, PI } = Math;
const GELU_FACTOR = sqrt(2 / PI);

/**
 * The error function, with a relative error of erfc below 1.2e-7: Numerical Recipes in C, section 6.2, `erfcc`.
 * @param {number} x
 * @returns {number}
 */
export function erf(x) {
  const t = 1 / (1 + abs(x) / 2);
  const series =
    -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807 +
    t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  const complement = t * exp(-x * x + series);
  return x >= 0 ? 1 - complement : complement - 1;
}

const gelu = (/** @type {number} */ x) => 0.5 * x * (1 + erf(x / Math.SQRT2));
const geluTanh = (/** @type {number} */ x) => 0.5 * x * (1 + tanh(GELU_FACTOR * (x + 0.044715 * x * x * x)));
const sigmoid = (/** @type {number} */ x) => 1 / (1 + exp(-x));
const silu = (/** @type {number} */ x) => x * sigmoid(x);
const softplus = (/** @type {number} */ x) => max(x, 0) + log1p(exp(-abs(x)));

/** @type {Record<string, (x: number) => number>} */
export const ACTIVATIONS = {
  gelu,
  gelu_10: (x) => min(max(gelu(x), -10), 10),
  gelu_accurate: geluTanh,
  gelu_fast: geluTanh,
  gelu_new: geluTanh,
  gelu_python: gelu,
  gelu_python_tanh: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  hardswish: (x) => (x * min(max(x + 3, 0), 6)) / 6,
  laplace: (x) => 0.5 * (1 + erf((x - 0.707107) / (0.282095 * Math.SQRT2))),
  leaky_relu: (x) => (x > 0 ? x : 0.01 * x),
  linear: (x) => x,
  mish: (x) => x * tanh(softplus(x)),
  quick_gelu: (x) => x * sigmoid(1.702 * x),
  relu: (x) => max(x, 0),
  relu2: (x) => max(x, 0) ** 2,
  relu6: (x) => min(max(x, 0), 6),
  sigmoid,
  silu,
  sqrtsoftplus: (x) => sqrt(softplus(x)),
  swish: silu,
  tanh,
};
