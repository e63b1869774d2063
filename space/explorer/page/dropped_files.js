/** The files that a visitor drops on the page or picks. */

const MOST_FILES = 1000;

/**
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>} the files of a folder, or of what lies in it, named by their path in the folder: "epochs/index.json"
 */
export async function filesOf(transfer) {
  // entries must be read before the event ends
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  // the full path of what lies in a dropped folder begins with a slash and the folder's name
  const skipped = entries.length === 1 && entries[0].isDirectory ? 2 : 1;
  const files = (await fileEntriesOf(entries)).map(async (entry) => {
    /** @type {File} */ const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return new File([file], entry.fullPath.split("/").slice(skipped).join("/"));
  });
  return Promise.all(files);
}

/**
 * @param {any[]} entries
 * @returns {Promise<any[]>} the files among the entries and in their folders, those at the top first
 */
async function fileEntriesOf(entries) {
  /** @type {any[]} */ const files = [];
  for (let level = entries; level.length && files.length < MOST_FILES; ) {
    files.push(...level.filter(({ isFile }) => isFile));
    level = (await Promise.all(level.filter(({ isDirectory }) => isDirectory).map(entriesIn))).flat();
  }
  return files.slice(0, MOST_FILES);
}

/**
 * @param {any} folder
 * @returns {Promise<any[]>}
 */
async function entriesIn(folder) {
  const reader = folder.createReader();
  /** @type {any[]} */ const entries = [];
  // a reader gives a folder's entries in parts, and an empty one at the end
  for (let part; (part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length; ) entries.push(...part);
  return entries;
}
