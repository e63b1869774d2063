/**
 * Read a model's files from the Hub, from a URL or from files dropped on the page, with limits on every length.
 *
 * A file is one GET request. Only to skip what is not needed, or to resume after a lost connection, a range is asked
 * for; a server without ranges then sends the file from its start again.
 */
import { ModelError, printable } from "./model_error.js";

export const HUB = "https://huggingface.co";
/** A model of the Hub: org/name, org/name@revision, or the address of its page or of a file at its top. */
const HUB_MODEL = new RegExp(
  "^(?:(?:https?://)?(?:www\\.)?(?:huggingface\\.co|hf\\.co)/)?(?<hub>[\\w-][\\w.-]*(?:/[\\w-][\\w.-]*)?)" +
    "(?:(?:@|/(?:tree|blob|resolve)/)(?<own>[^\\s/@?#]+)(?:/[\\w.-]+\\.(?:json|safetensors|md))?)?/?(?:[?#].*)?$",
  "i",
);
/** Milliseconds without a byte after which a download has failed. */
const READ_TIMEOUT = 60_000;
const MAX_RETRIES = 3;
/** Milliseconds before the first retry; before the second it is twice as many, before the third three times. */
const RETRY_DELAY = 1000;
/** Fewer bytes than these are read and discarded, because a request takes as long as reading them. */
const SKIP = 2 ** 20;
/** Bytes of the buffer that a download fills again and again, because a new one for each chunk would be as much garbage as the file. */
const BUFFER = 2 ** 18;

/**
 * @typedef {object} Source where a model's files are; one of `hub`, `url` and `files` is set
 * @property {string} [hub] id on the Hub, org/name
 * @property {string} [revision] of the Hub: a branch, tag or commit; main if absent
 * @property {string} [endpoint] the Hub's address; https://huggingface.co if absent
 * @property {string} [url] of the folder with the files, absolute
 * @property {File[]} [files] dropped files, named by their path in a dropped folder
 * @property {string} [weights] path of another file with the weights, such as an epoch's; model.safetensors or its shards if absent
 */

/**
 * Read what a visitor typed or a link names: a model of the Hub, or the address of a folder or of a file in it.
 * @param {string} text
 * @param {string} [revision] of the Hub's model, unless the text names one
 * @param {string} [base] what a relative address is relative to
 * @returns {Source}
 * @throws {ModelError} if it is neither
 */
export function parseSource(text, revision, base) {
  const name = text.trim(), { hub, own } = HUB_MODEL.exec(name)?.groups ?? {};
  if (hub && hub.length <= 200) {
    // the Hub's addresses have the revision refs/pr/1 so
    const version = own?.replaceAll(/%2f/gi, "/") ?? revision;
    return version ? { hub, revision: version } : { hub };
  }
  if (/^(https?:)?\/\/|^\.{0,2}\//i.test(name)) {
    const url = URL.canParse(name, base) ? new URL(name, base) : undefined;
    // fetch refuses such an address, and a message that quotes it would show the password
    if (url?.username || url?.password) throw new ModelError("an address with a password can't be read: leave out the part before @");
    if (url && /^https?:$/.test(url.protocol)) return { url: new URL(".", withoutFile(url)).href };
  }
  throw new ModelError(`“${printable(name)}” is no model: type organization/name as on the Hub, or an address`);
}

/** @param {URL} url */
function withoutFile(url) {
  const isFile = /\.(json|safetensors)$/.test(url.pathname);
  return isFile || url.pathname.endsWith("/") ? url : new URL(`${url.origin}${url.pathname}/`);
}

/** The files of one model. */
export class ModelFiles {
  /**
   * @param {Source} source
   * @param {AbortSignal} [signal] ends all downloads
   */
  constructor(source, signal) {
    this.source = source;
    this.signal = signal;
    /** @type {string} what error messages call the model */
    this.name = source.files ? "what was dropped" : (source.hub ?? source.url ?? "");
  }

  /**
   * Read a JSON file.
   * @param {string} name
   * @param {number} limit largest number of bytes
   * @returns {Promise<unknown>} undefined if there is no such file
   * @throws {ModelError} if it can't be read, is larger, or is not JSON
   */
  async json(name, limit) {
    const bytes = await this.bytes(name, limit);
    if (!bytes) return undefined;
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch {
      throw new ModelError(`${name} of ${this.name} is not JSON`);
    }
  }

  /**
   * Read a whole file.
   * @param {string} name
   * @param {number} limit largest number of bytes
   * @returns {Promise<Uint8Array | undefined>} undefined if there is no such file
   * @throws {ModelError} if it can't be read or is larger
   */
  async bytes(name, limit) {
    const stream = await this.open(name);
    try {
      return await stream?.readAll(limit);
    } finally {
      stream?.close();
    }
  }

  /**
   * @param {string} name
   * @returns {Promise<ByteStream | undefined>} undefined if there is no such file
   * @throws {ModelError} if the server can't be reached or refuses
   */
  async open(name) {
    if (this.source.files) {
      const { files } = this.source;
      // what lies deeper in a dropped folder is the model's only if nothing at its top is
      const file = files.find((each) => each.name === name) ?? files.find((each) => each.name.endsWith(`/${name}`));
      return file && ByteStream.open(name, (start) => openLocal(file, start), this.signal);
    }
    const address = this.#address(name);
    return ByteStream.open(name, (start) => this.#openRemote(address, name, start), this.signal);
  }

  /** @param {string} name */
  #address(name) {
    const { hub, revision = "main", endpoint = HUB, url } = this.source;
    return hub ? `${endpoint}/${hub}/resolve/${encodeURIComponent(revision)}/${name}` : new URL(name, url).href;
  }

  /**
   * @param {string} address
   * @param {string} name
   * @param {number} start
   * @returns {Promise<Opened | undefined>}
   */
  async #openRemote(address, name, start) {
    const headers = start ? { Range: `bytes=${start}-` } : undefined;
    const request = fetch(address, { headers, signal: this.signal, credentials: "omit", referrerPolicy: "no-referrer" });
    const response = await withTimeout(request, name).catch((error) => {
      if (error instanceof ModelError || this.signal?.aborted) throw error;
      throw new ModelError(`can't reach ${new URL(address).host} for ${name} of ${this.name}: try again, or check the address`);
    });
    if (response.status === 404) return undefined;
    if (!response.ok || !response.body) throw new ModelError(this.#refusal(response.status, name));
    // no size: another origin hides whether an answer is compressed, and then Content-Length is not the file's size
    return { start: response.status === 206 ? start : 0, size: null, reader: new ChunkReader(response.body) };
  }

  /**
   * @param {number} status
   * @param {string} name
   */
  #refusal(status, name) {
    if (status === 401) return `${this.name} is no public model of the Hub: check the name`;
    if (status === 403) return `${this.name} is gated or private: the explorer reads public models only`;
    if (status === 429) return `the server answers no more requests for now (429): wait a few minutes`;
    return `the server answered ${status} for ${name} of ${this.name}: try again later`;
  }
}

/**
 * @typedef {object} Opened
 * @property {number} start offset of the first byte that comes
 * @property {number | null} size of the whole file, null if unknown
 * @property {ChunkReader} reader
 */

/**
 * @param {File} file
 * @param {number} start
 * @returns {Promise<Opened>}
 */
async function openLocal(file, start) {
  return { start, size: file.size, reader: new ChunkReader(file.slice(start).stream()) };
}

/** Reads a stream chunk by chunk, into one buffer where the browser allows that. */
class ChunkReader {
  /** @type {ReadableStreamBYOBReader | ReadableStreamDefaultReader<Uint8Array>} */ #reader;
  /** @type {ArrayBufferLike | null} null if the stream brings its own buffers */ #buffer = null;

  /** @param {ReadableStream<Uint8Array>} stream */
  constructor(stream) {
    try {
      this.#reader = stream.getReader({ mode: "byob" });
      this.#buffer = new ArrayBuffer(BUFFER);
    } catch {
      this.#reader = stream.getReader();
    }
  }

  /** @returns {Promise<Uint8Array | undefined>} valid until the next call; undefined at the stream's end */
  async read() {
    const { done, value } = await /** @type {any} */ (this.#reader).read(this.#buffer && new Uint8Array(this.#buffer));
    if (this.#buffer && value) this.#buffer = value.buffer;
    return done ? undefined : value;
  }

  /** End the download. */
  cancel() {
    this.#reader.cancel().catch(() => {});
  }
}

/** A file that is read forwards. */
export class ByteStream {
  /** @type {Uint8Array} what was received and not read yet */ #chunk = new Uint8Array(0);
  #position = 0;
  /** The offset behind the last received byte. */ #received = 0;
  /** Whether the server answers a range with it. */ #ranges = true;
  /** @type {(start: number) => Promise<Opened | undefined>} */ #open;
  /** @type {ChunkReader | null} null if the download must be opened again */ #reader;

  /**
   * @private
   * @param {string} name for error messages
   * @param {(start: number) => Promise<Opened | undefined>} open
   * @param {Opened} opened
   * @param {AbortSignal} [signal]
   */
  constructor(name, open, opened, signal) {
    this.name = name;
    this.#open = open;
    this.#reader = opened.reader;
    this.signal = signal;
    /** @type {number | null} the file's number of bytes, null if unknown */
    this.size = opened.size;
  }

  /**
   * @param {string} name for error messages
   * @param {(start: number) => Promise<Opened | undefined>} open
   * @param {AbortSignal} [signal]
   * @returns {Promise<ByteStream | undefined>} undefined if there is no such file
   */
  static async open(name, open, signal) {
    const opened = await open(0);
    return opened && new ByteStream(name, open, opened, signal);
  }

  /** The offset of the next byte. */
  get position() {
    return this.#position;
  }

  /**
   * Fill an array with the next bytes.
   * @param {Uint8Array} bytes
   * @param {(count: number) => void} [onBytes] is given the number of bytes of each chunk
   * @returns {Promise<void>}
   * @throws {ModelError} if the file ends before
   */
  async read(bytes, onBytes) {
    for (let filled = 0; filled < bytes.length; ) {
      const chunk = await this.#next(bytes.length - filled);
      if (!chunk) throw new ModelError(`${this.name} ends too early, after ${this.#received.toLocaleString("en")} bytes`);
      bytes.set(chunk, filled);
      filled += chunk.length;
      onBytes?.(chunk.length);
    }
  }

  /**
   * @param {number} limit
   * @returns {Promise<Uint8Array>} the rest of the file
   * @throws {ModelError} if it has more bytes than the limit
   */
  async readAll(limit) {
    /** @type {Uint8Array[]} */ const chunks = [];
    let length = 0;
    for (let chunk; (chunk = await this.#next(limit + 1 - length)); length += chunk.length) {
      if (length + chunk.length > limit) {
        throw new ModelError(`${this.name} is larger than ${(limit / 1e6).toLocaleString("en")} MB`);
      }
      chunks.push(chunk.slice());
    }
    const all = new Uint8Array(length);
    let filled = 0;
    for (const chunk of chunks) {
      all.set(chunk, filled);
      filled += chunk.length;
    }
    return all;
  }

  /**
   * Continue at a later offset.
   * @param {number} offset
   */
  skipTo(offset) {
    this.#chunk = this.#chunk.subarray(offset - this.#position);
    this.#position = offset;
    if (offset - this.#received > SKIP && this.#ranges) this.close();
  }

  /** End the download. */
  close() {
    this.#reader?.cancel();
    this.#reader = null;
  }

  /**
   * @param {number} most
   * @returns {Promise<Uint8Array | undefined>} at most as many bytes, valid until the next call; undefined at the file's end
   */
  async #next(most) {
    for (let failures = 0; !this.#chunk.length; ) {
      try {
        this.#reader ??= await this.#reopen();
        const chunk = await withTimeout(this.#reader.read(), this.name);
        if (!chunk) return undefined;
        // discard what is skipped, and what a server without ranges sends again
        this.#chunk = chunk.subarray(this.#position - this.#received);
        this.#received += chunk.length;
      } catch (error) {
        if (this.signal?.aborted) throw error;
        if (++failures > MAX_RETRIES) throw error instanceof ModelError ? error : this.#lost();
        this.close();
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY * failures));
      }
    }
    const piece = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(piece.length);
    this.#position += piece.length;
    return piece;
  }

  #lost() {
    return new ModelError(`the connection was lost while ${this.name} was read: try again`);
  }

  /** @returns {Promise<ChunkReader>} of a download from the next byte on, or from the file's start */
  async #reopen() {
    const opened = await this.#open(this.#position);
    if (!opened) throw this.#lost();
    this.#received = opened.start;
    this.#ranges = opened.start === this.#position;
    return opened.reader;
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {string} name
 * @returns {Promise<T>} the promise's value
 * @throws {ModelError} after {@link READ_TIMEOUT}
 */
async function withTimeout(promise, name) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new ModelError(`nothing came of ${name} for ${READ_TIMEOUT / 1000} seconds: try again`)), READ_TIMEOUT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
