/**
 * Read tensors from a safetensors file, whose header is checked before anything of its size is allocated.
 *
 * Format: https://huggingface.co/docs/safetensors, section "Format".
 */
import { areFinite } from "./linear_algebra.js";
import { ModelError, printable } from "./model_error.js";

/** @typedef {import("./model_files.js").ByteStream} ByteStream */

const MOST_HEADER_BYTES = 10e6;
/** The number of elements that are read at once. */
const PIECE = 2 ** 16;
/**
 * Bytes of an element, for the types that are read.
 * @type {Record<string, number>}
 */
const BYTES = { F32: 4, F16: 2, BF16: 2 };

/**
 * @typedef {object} TensorEntry
 * @property {string} name
 * @property {"F32" | "F16" | "BF16" | string} dtype
 * @property {number[]} shape
 * @property {number} begin offset of the first byte in the file
 * @property {number} end offset behind the last byte in the file
 */

/**
 * Read and check a file's header.
 * @param {ByteStream} stream at the file's start
 * @returns {Promise<{metadata: any, entries: TensorEntry[]}>} the file's `__metadata__`, which is not checked, and the tensors
 *   in the order of their bytes
 * @throws {ModelError} if the header is no valid one or the file is shorter than it says
 */
export async function readHeader(stream) {
  const wrong = (/** @type {string} */ what) => new ModelError(`${stream.name} is no valid safetensors file: ${what}`);
  const prefix = new Uint8Array(8);
  await stream.read(prefix);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > MOST_HEADER_BYTES || (stream.size !== null && 8 + length > stream.size)) {
    throw wrong(`its header would have ${length.toLocaleString("en")} bytes`);
  }
  const bytes = new Uint8Array(length);
  await stream.read(bytes);
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw wrong("its header is not JSON");
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) throw wrong("its header is no object");
  const { __metadata__: metadata, ...tensors } = header;
  const entries = Object.entries(tensors)
    .map(([name, entry]) => parseEntry(name, entry, 8 + length, wrong))
    .sort((one, other) => one.begin - other.begin || one.end - other.end);
  let end = 8 + length;
  for (const entry of entries) {
    if (entry.begin < end) throw wrong(`the bytes of ${printable(entry.name)} overlap with another tensor's`);
    end = entry.end;
  }
  if (stream.size !== null && end > stream.size) {
    throw wrong(`it has ${stream.size.toLocaleString("en")} bytes, and its header describes ${end.toLocaleString("en")}`);
  }
  return { metadata, entries };
}

/**
 * @param {string} name
 * @param {any} entry
 * @param {number} start offset of the tensors' bytes in the file
 * @param {(what: string) => ModelError} wrong
 * @returns {TensorEntry}
 */
function parseEntry(name, entry, start, wrong) {
  const isCount = (/** @type {unknown} */ value) => Number.isSafeInteger(value) && /** @type {number} */ (value) >= 0;
  const { dtype, shape, data_offsets: offsets } = entry ?? {};
  const valid =
    typeof dtype === "string" && Array.isArray(shape) && shape.every(isCount) && Array.isArray(offsets) &&
    offsets.length === 2 && offsets.every(isCount) && offsets[0] <= offsets[1];
  if (!valid) throw wrong(`the entry of ${printable(name)} is malformed`);
  const [begin, end] = offsets;
  const size = shape.reduce((product, count) => product * count, Object.hasOwn(BYTES, dtype) ? BYTES[dtype] : NaN);
  if (size !== end - begin && !Number.isNaN(size)) {
    throw wrong(`${printable(name)} has the shape ${printable(shape)} in ${dtype} and ${(end - begin).toLocaleString("en")} bytes`);
  }
  return { name, dtype, shape, begin: start + begin, end: start + end };
}

/**
 * Read one tensor, piece by piece, so that memory is needed for its elements only.
 * @param {ByteStream} stream before the tensor's first byte
 * @param {TensorEntry} entry of at least one dimension
 * @param {boolean} isTransposed whether to transpose a matrix
 * @param {(count: number, size: number) => void} [onBytes] is given the number of bytes of each chunk, and of an element
 * @returns {Promise<Float32Array>} its elements, row by row, or column by column if transposed
 * @throws {ModelError} if its type is not read, the file ends too early, or a value is NaN or infinite
 */
export async function readTensor(stream, entry, isTransposed, onBytes) {
  const { dtype, begin, end, name, shape } = entry;
  if (!Object.hasOwn(BYTES, dtype)) {
    throw new ModelError(`${stream.name}: ${printable(name)} is of type ${printable(dtype)}; the explorer reads F32, F16 and BF16`);
  }
  stream.skipTo(begin);
  const columns = shape[shape.length - 1], values = new Float32Array((end - begin) / BYTES[dtype]);
  const rows = values.length / columns, most = Math.max(1, Math.floor(PIECE / columns));
  const bytes = new Uint8Array(Math.min(most, rows) * columns * BYTES[dtype]);
  for (let row = 0; row < rows; row += most) {
    const read = bytes.subarray(0, Math.min(most, rows - row) * columns * BYTES[dtype]);
    await stream.read(read, (count) => onBytes?.(count, BYTES[dtype]));
    const piece = widen(read, dtype);
    if (!areFinite(piece)) throw new ModelError(`${stream.name}: ${printable(name)} has values that are NaN or infinite`);
    if (isTransposed) placeTransposed(piece, row, columns, values, rows);
    else values.set(piece, row * columns);
  }
  return values;
}

/**
 * @param {Float32Array} piece whole rows of a matrix
 * @param {number} first index of the first of them
 * @param {number} columns of the matrix
 * @param {Float32Array} transposed (columns, rows), into which the piece is written
 * @param {number} rows of the matrix
 */
function placeTransposed(piece, first, columns, transposed, rows) {
  const count = piece.length / columns;
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < count; row++) transposed[column * rows + first + row] = piece[row * columns + column];
  }
}

/**
 * @param {Uint8Array} bytes at the start of their buffer
 * @param {string} dtype F32, F16 or BF16
 * @returns {Float32Array} of the same buffer for F32
 */
function widen(bytes, dtype) {
  const length = bytes.length / BYTES[dtype];
  if (dtype === "F32") return new Float32Array(bytes.buffer, 0, length);
  const halves = new Uint16Array(bytes.buffer, 0, length), values = new Float32Array(length);
  if (dtype === "BF16") {
    const bits = new Uint32Array(values.buffer);
    for (let i = 0; i < length; i++) bits[i] = halves[i] << 16;
    return values;
  }
  const table = float16Table();
  for (let i = 0; i < length; i++) values[i] = table[halves[i]];
  return values;
}

/** @type {Float32Array | undefined} */
let float16Values;

/** @returns {Float32Array} the value of each of the 65,536 bit patterns of float16 */
function float16Table() {
  float16Values ??= Float32Array.from({ length: 2 ** 16 }, (_, bits) => {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -14 * (fraction / 1024);
  });
  return float16Values;
}
