/** The hash function blake2b (RFC 7693), without a key. */

const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
/** The order of a block's words in each round, as hexadecimal digits. */
const ORDER = [
  "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
  "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
].map((digits) => Array.from(digits, (digit) => parseInt(digit, 16)));
/** The state's words that are mixed together: its columns, then its diagonals. */
const MIXED = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];
const ROUNDS = 12, BLOCK = 128, MASK = 2n ** 64n - 1n;

/**
 * @param {Uint8Array} message
 * @param {number} size of the digest, in bytes: a multiple of 8 up to 64
 * @returns {bigint[]} the digest as little-endian 64-bit words
 */
export function blake2b(message, size) {
  const state = IV.slice();
  state[0] ^= 0x01010000n ^ BigInt(size);
  const blocks = Math.max(1, Math.ceil(message.length / BLOCK)), padded = new Uint8Array(blocks * BLOCK);
  padded.set(message);
  const view = new DataView(padded.buffer);
  for (let block = 0; block < blocks; block++) {
    const words = Array.from({ length: 16 }, (_, i) => view.getBigUint64(block * BLOCK + 8 * i, true)), isLast = block === blocks - 1;
    compress(state, words, BigInt(isLast ? message.length : (block + 1) * BLOCK), isLast);
  }
  return state.slice(0, size / 8);
}

/**
 * @param {bigint[]} state is changed
 * @param {bigint[]} words of the block
 * @param {bigint} count bytes up to the block's end
 * @param {boolean} isLast
 */
function compress(state, words, count, isLast) {
  const v = [...state, ...IV];
  v[12] ^= count;
  if (isLast) v[14] ^= MASK;
  for (let round = 0; round < ROUNDS; round++) {
    const order = ORDER[round % ORDER.length];
    MIXED.forEach(([a, b, c, d], i) => {
      v[a] = (v[a] + v[b] + words[order[2 * i]]) & MASK;
      v[d] = rotated(v[d] ^ v[a], 32n);
      v[c] = (v[c] + v[d]) & MASK;
      v[b] = rotated(v[b] ^ v[c], 24n);
      v[a] = (v[a] + v[b] + words[order[2 * i + 1]]) & MASK;
      v[d] = rotated(v[d] ^ v[a], 16n);
      v[c] = (v[c] + v[d]) & MASK;
      v[b] = rotated(v[b] ^ v[c], 63n);
    });
  }
  for (let i = 0; i < 8; i++) state[i] ^= v[i] ^ v[i + 8];
}

/** @returns {bigint} a 64-bit word rotated to the right */
function rotated(/** @type {bigint} */ word, /** @type {bigint} */ bits) {
  return ((word >> bits) | (word << (64n - bits))) & MASK;
}
