/** Project vectors onto the plane in which they differ most: principal components by power iteration. */

const ITERATIONS = 60;

/**
 * @typedef {object} Plane
 * @property {Float64Array} mean (width)
 * @property {Float64Array[]} axes two unit vectors, (width) each
 */

/**
 * @param {Float32Array} rows (count, width)
 * @param {number} width
 * @returns {Plane}
 */
export function principalPlane(rows, width) {
  const count = rows.length / width, mean = new Float64Array(width);
  for (let i = 0; i < rows.length; i++) mean[i % width] += rows[i] / count;
  /** @type {Float64Array[]} */ const axes = [];
  for (let axis = 0; axis < 2; axis++) {
    // any start will do that is not at a right angle to the axis
    let vector = Float64Array.from({ length: width }, (_, i) => Math.sin(1 + (axis + 1) * i));
    for (let turn = 0; turn < ITERATIONS; turn++) {
      const next = timesCovariance(rows, width, mean, vector);
      for (const found of axes) subtractProjection(next, found);
      vector = normalized(next);
    }
    axes.push(vector);
  }
  return { mean, axes };
}

/**
 * @param {Float32Array} rows (count, width)
 * @param {Plane} plane
 * @returns {[number, number][]} the coordinates of each row
 */
export function project(rows, { mean, axes }) {
  const width = mean.length;
  return Array.from({ length: rows.length / width }, (_, row) => {
    const coordinate = (/** @type {Float64Array} */ axis) => axis.reduce((sum, value, i) => sum + value * (rows[row * width + i] - mean[i]), 0);
    return [coordinate(axes[0]), coordinate(axes[1])];
  });
}

/** @returns {Float64Array} the covariance matrix, which is never built, times a vector */
function timesCovariance(/** @type {Float32Array} */ rows, /** @type {number} */ width, /** @type {Float64Array} */ mean, /** @type {Float64Array} */ vector) {
  const product = new Float64Array(width), shift = mean.reduce((sum, value, i) => sum + value * vector[i], 0);
  for (let from = 0; from < rows.length; from += width) {
    let along = -shift;
    for (let i = 0; i < width; i++) along += rows[from + i] * vector[i];
    for (let i = 0; i < width; i++) product[i] += along * (rows[from + i] - mean[i]);
  }
  return product;
}

function subtractProjection(/** @type {Float64Array} */ vector, /** @type {Float64Array} */ axis) {
  const along = vector.reduce((sum, value, i) => sum + value * axis[i], 0);
  for (let i = 0; i < vector.length; i++) vector[i] -= along * axis[i];
}

function normalized(/** @type {Float64Array} */ vector) {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)) || 1;
  return vector.map((value) => value / length);
}
