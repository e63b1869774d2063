/** The files that a visitor drops on the page or picks. */

const MOST_FILES = 1000;

/**
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>} the files of a folder, or of what lies in it, named by their path in the folder: "epochs/index.json"
 */
export async function filesOf(transfer) {
  // entries must be read before the event ends
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const files = await fileEntriesOf(entries), folder = modelFolder(files.map(({ fullPath }) => fullPath));
  const ofModel = files.filter(({ fullPath }) => fullPath.startsWith(folder));
  return Promise.all(ofModel.map(async (entry) => {
    /** @type {File} */ const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return new File([file], entry.fullPath.slice(folder.length));
  }));
}

/**
 * @param {string[]} paths of files, those at the top first
 * @returns {string} the folder of the first model, with a slash at its end, because a folder of runs holds several
 */
function modelFolder(paths) {
  const config = paths.find((path) => path.endsWith("/config.json")) ?? "/";
  return config.slice(0, config.lastIndexOf("/") + 1);
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
