/** The files that a visitor drops on the page or picks. */

/**
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>} the files; those of a dropped folder are named by their path in it, "epochs/index.json"
 */
export async function filesOf(transfer) {
  // entries must be read before the event ends
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  return (await Promise.all(entries.map(filesOfEntry))).flat();
}

/**
 * @param {any} entry
 * @returns {Promise<File[]>}
 */
async function filesOfEntry(entry) {
  if (entry.isFile) {
    /** @type {File} */ const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    // the full path begins with a slash and the name of what was dropped
    const path = entry.fullPath.split("/").slice(2).join("/");
    return [path ? new File([file], path) : file];
  }
  const reader = entry.createReader();
  /** @type {any[]} */ const files = [];
  // a reader gives a folder's entries in parts
  for (let part; (part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length; ) {
    files.push(...part.filter((/** @type {any} */ each) => each.isFile));
    if (files.length > 1000) break;
  }
  return (await Promise.all(files.map(filesOfEntry))).flat();
}
