// Reads the text of a QR code from its modules, the way a camera does once it has found them, but without mending anything: a
// module that is wrong makes the text wrong. Error correction level M, bytes.

/** By version: how many blocks of how many data codewords. */
const BLOCKS = { 1: [[1, 16]], 2: [[1, 28]], 3: [[1, 44]], 4: [[2, 32]], 5: [[2, 43]], 6: [[4, 27]], 7: [[4, 31]], 8: [[2, 38], [2, 39]], 9: [[3, 36], [2, 37]], 10: [[4, 43], [1, 44]] };
const CENTRES = { 1: [], 2: [6, 18], 3: [6, 22], 4: [6, 26], 5: [6, 30], 6: [6, 34], 7: [6, 22, 38], 8: [6, 24, 42], 9: [6, 26, 46], 10: [6, 28, 50] };
const MASKS = [
  (r, c) => (r + c) % 2, (r) => r % 2, (_, c) => c % 3, (r, c) => (r + c) % 3, (r, c) => ((r >> 1) + Math.floor(c / 3)) % 2,
  (r, c) => ((r * c) % 2) + ((r * c) % 3), (r, c) => (((r * c) % 2) + ((r * c) % 3)) % 2, (r, c) => (((r + c) % 2) + ((r * c) % 3)) % 2,
];

/** Whether a module of a code of this size says nothing of the text. */
function isFrame(r, c, size, version) {
  const corner = (a, b) => a < 9 && b < 9;
  if (corner(r, c) || corner(r, size - 1 - c + 1) || corner(size - 1 - r + 1, c) || r === 6 || c === 6) return true;
  if (version >= 7 && ((r < 6 && c >= size - 11) || (c < 6 && r >= size - 11))) return true;
  const centres = CENTRES[version];
  return centres.some((y) => centres.some((x) => {
    const isCorner = (y === 6 && x === 6) || (y === 6 && x === centres.at(-1)) || (y === centres.at(-1) && x === 6);
    return !isCorner && Math.abs(r - y) <= 2 && Math.abs(c - x) <= 2;
  }));
}

/** The text that `dark(row, column)` modules, `size` a side, stand for. */
export function readQr(size, dark) {
  const version = (size - 17) / 4;
  const format = [0, 1, 2, 3, 4].reduce((bits, at) => (bits << 1) | Number(dark(8, at)), 0) ^ 0b10101;
  if (format >> 3 !== 0) throw new Error(`error correction level ${format >> 3} is not M`);
  const mask = MASKS[format & 7];
  const bits = [];
  for (let pair = size - 1, upward = true; pair > 0; pair -= 2, upward = !upward) {
    if (pair === 6) pair -= 1;
    for (let nth = 0; nth < size; nth += 1) {
      const r = upward ? size - 1 - nth : nth;
      for (const c of [pair, pair - 1]) if (!isFrame(r, c, size, version)) bits.push(Number(dark(r, c) !== (mask(r, c) === 0)));
    }
  }
  const words = Array.from({ length: bits.length >> 3 }, (_, at) => parseInt(bits.slice(at * 8, at * 8 + 8).join(""), 2));
  const blocks = BLOCKS[version].flatMap(([count, length]) => Array.from({ length: count }, () => ({ length, data: [] })));
  const longest = Math.max(...blocks.map(({ length }) => length));
  for (let nth = 0, at = 0; nth < longest; nth += 1) for (const block of blocks) if (nth < block.length) block.data.push(words[at++]);
  const stream = blocks.flatMap(({ data }) => data).map((word) => word.toString(2).padStart(8, "0")).join("");
  const take = (from, count) => parseInt(stream.slice(from, from + count), 2);
  if (take(0, 4) !== 4) throw new Error("these are no bytes");
  const wide = version < 10 ? 8 : 16;
  return Buffer.from(Array.from({ length: take(4, wide) }, (_, at) => take(4 + wide + at * 8, 8))).toString("utf8");
}
