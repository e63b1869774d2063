"""A store of Xet, the protocol with which hf_xet uploads and downloads large files: xorbs, shards, reconstructions.

After Hugging Face's specification of the protocol (https://huggingface.co/docs/xet). A xorb is a sequence of chunks,
and a shard says of which chunks a file consists. Clients must not compress, because the standard library has no LZ4:
``HF_XET_XORB_COMPRESSION_POLICY=none``. The store has no upload grants and no shards of version 2, for which a client
uses xorbs and version 1 after a 404, and it finds no chunks of other files.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# sizes and flags of the shard format
HEADER_SIZE = ENTRY_SIZE = 48
HAS_VERIFICATION, HAS_METADATA = 1 << 31, 1 << 30
CHUNK_HEADER_SIZE = 8


@dataclass(frozen=True)
class Term:
    """Consecutive chunks of a xorb."""

    xorb: str
    start: int
    end: int
    size: int


@dataclass
class XetStore:
    """Keeps xorbs by hash, and by a file's hash the terms of which it consists."""

    xorbs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, list[Term]] = field(default_factory=dict)
    # SHA-256 to the hash of the file
    hashes: dict[str, str] = field(default_factory=dict)

    def add_shard(self, shard: bytes) -> Iterator[tuple[str, bytes]]:
        """Store the shard's files, and yield the SHA-256 and the content of each."""
        position = HEADER_SIZE
        while (name := shard[position : position + 32]) != b"\xff" * 32:
            flags, count = struct.unpack_from("<II", shard, position + 32)
            entries = [position + ENTRY_SIZE * (1 + number) for number in range(count)]
            terms = [_term(shard[entry : entry + ENTRY_SIZE]) for entry in entries]
            position += ENTRY_SIZE * (1 + count * (2 if flags & HAS_VERIFICATION else 1))
            assert flags & HAS_METADATA, "a file without its SHA-256"
            sha256 = _hex(shard[position : position + 32])
            position += ENTRY_SIZE
            self.files[_hex(name)] = terms
            self.hashes[sha256] = _hex(name)
            yield sha256, b"".join(self._content(term) for term in terms)

    def reconstruction(self, name: str, url: str) -> dict[str, Any] | None:
        """Return how to download a file: its terms, and the bytes of each xorb at ``url``; None without the file."""
        if name not in self.files:
            return None
        terms = self.files[name]
        return {
            "offset_into_first_range": 0,
            "terms": [
                {"hash": term.xorb, "unpacked_length": term.size, "range": {"start": term.start, "end": term.end}}
                for term in terms
            ],
            "fetch_info": {xorb: [*self._fetches(xorb, terms, url)] for xorb in {term.xorb for term in terms}},
        }

    def _fetches(self, xorb: str, terms: list[Term], url: str) -> Iterator[dict[str, Any]]:
        for term in terms:
            if term.xorb == xorb:
                offsets = self._offsets(xorb)
                yield {
                    "range": {"start": term.start, "end": term.end},
                    "url": f"{url}/{xorb}",
                    "url_range": {"start": offsets[term.start], "end": offsets[term.end] - 1},
                }

    def _content(self, term: Term) -> bytes:
        xorb, offsets = self.xorbs[term.xorb], self._offsets(term.xorb)
        chunks = range(term.start, term.end)
        return b"".join(xorb[offsets[chunk] + CHUNK_HEADER_SIZE : offsets[chunk + 1]] for chunk in chunks)

    def _offsets(self, name: str) -> list[int]:
        """Return where each chunk of a xorb begins, and where the last one ends."""
        xorb, offsets = self.xorbs[name], [0]
        while offsets[-1] < len(xorb):
            start = offsets[-1]
            size, scheme = int.from_bytes(xorb[start + 1 : start + 4], "little"), xorb[start + 4]
            assert scheme == 0, "a compressed chunk"
            offsets.append(start + CHUNK_HEADER_SIZE + size)
        return offsets


def _term(entry: bytes) -> Term:
    _, size, start, end = struct.unpack_from("<IIII", entry, 32)
    return Term(_hex(entry[:32]), start, end, size)


def _hex(name: bytes) -> str:
    """Return a hash in the protocol's spelling: four little-endian numbers of 8 bytes."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", name))
